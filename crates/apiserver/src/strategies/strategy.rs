//! What a kind's strategy is asked, and what it may look at.

use api::Kind;
use async_trait::async_trait;
use ipnet::Ipv4Net;
use jiff::Timestamp;
use keyspace::{Compare, Keyspace, Op};
use serde_json::Value;

use crate::{
    api_error::{ApiError, Result},
    authorizer::Author,
    object,
    query::{event_filter::EventFilter, params::Query},
};

/// The objects beside the one that a strategy is asked about.
#[async_trait]
pub(crate) trait Objects: Send + Sync {
    /// The keyspace underneath.
    fn keyspace(&self) -> &dyn Keyspace;

    /// Addresses that services get.
    fn service_cidr(&self) -> Ipv4Net;

    /// One object of a kind, which is named by its plural.
    async fn find(&self, plural: &str, namespace: Option<&str>, name: &str) -> Result<Option<Value>>;

    /// An object of a kind without namespaces, and the condition that it stays as it is.
    async fn pinned(&self, plural: &str, name: &str) -> Result<Option<(Value, Compare)>>;

    /// All objects of a kind in a namespace.
    async fn list(&self, plural: &str, namespace: &str) -> Result<Vec<Value>>;
}

/// What an object's transaction writes beside the object.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    pub(crate) compares: Vec<Compare>,
    pub(crate) ops: Vec<Op>,
}

/// What a node wants with an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeAccess<'a> {
    pub(crate) node: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// Whether it may change the object.
    pub(crate) changes: bool,
    /// Whether it is a conversation with a running pod.
    pub(crate) is_session: bool,
}

impl NodeAccess<'_> {
    /// The refusal of what no pod on the node justifies.
    pub(super) fn refused(&self, singular: &str) -> ApiError {
        let Self { node, namespace, name, .. } = self;
        let what = format!("{singular} {namespace}/{name}");
        ApiError::forbidden(format!("node {node:?} may not reach {what}: no pod on this node says so"))
    }
}

/// What is particular to a kind. Every function has the answer of kinds without particularities.
#[async_trait]
pub(crate) trait Strategy: Send + Sync {
    /// Refuses a new object for what other objects say, or fills it from them. Before admission.
    async fn fill(&self, _objects: &dyn Objects, _namespace: Option<&str>, _document: &mut Value) -> Result<()> {
        Ok(())
    }

    /// Refuses what the author may not write although it may write objects of the kind. After admission.
    async fn permit(
        &self,
        _objects: &dyn Objects,
        _kind: &Kind,
        _author: &Author,
        _object: &Value,
        _old: Option<&Value>,
    ) -> Result<()> {
        Ok(())
    }

    /// The namespace whose roles say what may be done to an object.
    fn place<'a>(&self, namespace: &'a str, _name: &'a str) -> &'a str {
        namespace
    }

    /// Completes a new object after admission.
    fn complete(&self, _object: &mut Value) {}

    /// What a new object takes of what all objects of the kind share, and writes into itself.
    async fn claim(&self, _objects: &dyn Objects, _kind: &Kind, _object: &mut Value) -> Result<Claim> {
        Ok(Claim::default())
    }

    /// The operations that give back what the object took.
    fn release(&self, _object: &Value) -> Vec<Op> {
        Vec::new()
    }

    /// The operations that give back what an object took whose record is lost.
    async fn release_lost(&self, _objects: &dyn Objects, _namespace: Option<&str>, _name: &str) -> Result<Vec<Op>> {
        Ok(Vec::new())
    }

    /// Puts back what clients cannot change by writing the object itself.
    fn keep(&self, _document: &mut Value, _current: &Value) {}

    /// Fields of the metadata that a write of the status changes, too, unless a node writes it.
    fn metadata_with_status(&self) -> &'static [&'static str] {
        &[]
    }

    /// Takes over what the subresource `finalize` may change.
    fn finalize(&self, _object: &mut Value, _document: &Value) {}

    /// What keeps an object from going.
    fn all_finalizers<'a>(&self, object: &'a Value) -> Vec<&'a str> {
        object::finalizers(object)
    }

    /// Refuses the deletion of an object that must stay.
    fn check_delete(&self, _name: &str) -> Result<()> {
        Ok(())
    }

    /// Marks an object whose deletion begins.
    fn begin_deletion(&self, _object: &mut Value) {}

    /// Seconds that the object has to end; `asked` are those of the request.
    fn grace_seconds(&self, _object: &Value, _asked: Option<i64>) -> i64 {
        0
    }

    /// Completes the last state of an object that was removed.
    fn last_state(&self, _object: &mut Value, _now: Timestamp) {}

    /// What a list or watch selects beside labels and fields.
    fn filter(&self, _query: &Query, _now: Timestamp) -> Result<Option<EventFilter>> {
        Ok(None)
    }

    /// Keeps a node to what is its own, beyond what its role says of the kind.
    async fn confine(&self, _objects: &dyn Objects, _access: NodeAccess<'_>) -> Result<()> {
        Ok(())
    }
}
