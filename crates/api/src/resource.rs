//! The one trait every kind implements, and the visitor that makes registration a single line.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{field_error::FieldError, fields::Shape, meta::NameRule, table::Column};

/// Whether objects of a kind live in a namespace or belong to the whole cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Addressed by namespace and name.
    Namespaced,
    /// Addressed by name alone.
    Cluster,
}

/// A part of an object with an endpoint of its own, in the words of discovery and authorisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// Last segment of its path, such as `log`.
    pub name: &'static str,
    /// What can be done with it, such as `get`.
    pub verbs: &'static [&'static str],
    /// Group, version and kind of what is sent and answered, if they are not the object's own.
    pub shape: Option<(&'static str, &'static str, &'static str)>,
}

impl Subresource {
    /// The status, of a kind whose status has its own writers.
    pub const STATUS: Self = Self::own("status", &["get", "patch", "update"]);
    /// The number of replicas, of a kind that has `spec.replicas`, `spec.selector` and `status.replicas`.
    pub const SCALE: Self =
        Self { shape: Some(("autoscaling", "v1", "Scale")), ..Self::own("scale", &["get", "patch", "update"]) };

    /// A part that is sent and answered as the object itself.
    pub const fn own(name: &'static str, verbs: &'static [&'static str]) -> Self {
        Self { name, verbs, shape: None }
    }

    /// A part with a kind of its own in the group `v1`.
    pub const fn core(name: &'static str, verbs: &'static [&'static str], kind: &'static str) -> Self {
        Self { name, verbs, shape: Some(("", "v1", kind)) }
    }
}

/// A kind of object the API serves, after the Kubernetes API conventions.
///
/// The Rust type holds `metadata` and the fields of the kind; `apiVersion` and `kind` are added by
/// [`crate::encode`], so they cannot be wrong.
pub trait Resource: Serialize + DeserializeOwned + JsonSchema + Clone + Debug + Send + Sync + 'static {
    /// API group, empty for Kubernetes' core group.
    const GROUP: &'static str;
    /// API version, such as `v1`.
    const VERSION: &'static str;
    /// Kind in CamelCase, such as `StatefulSet`.
    const KIND: &'static str;
    /// Lower-case plural used in URLs, such as `statefulsets`.
    const PLURAL: &'static str;
    /// Lower-case singular, such as `statefulset`.
    const SINGULAR: &'static str;
    /// Abbreviations people type, such as `sts`.
    const SHORT_NAMES: &'static [&'static str] = &[];
    /// Groups of kinds people list together, such as `all`.
    const CATEGORIES: &'static [&'static str] = &[];
    /// Namespaced or cluster-wide.
    const SCOPE: Scope;
    /// Whether the kind has a `/status` subresource of its own writers.
    const HAS_STATUS: bool = false;
    /// Parts with endpoints of their own, beside the status.
    const SUBRESOURCES: &'static [Subresource] = &[];
    /// Whether objects can be deleted all at once.
    const DELETES_COLLECTION: bool = true;
    /// Whether a deletion is answered with the last state of the object, and not with a `Status`. Typed clients read
    /// what OpenAPI of Kubernetes says of each kind, and nothing else.
    const SHOWN_WHEN_DELETED: bool = false;
    /// How many seconds objects are kept after they were made; forever without.
    const TTL_SECONDS: Option<i64> = None;
    /// Whether values are confidential and must be sealed before they are stored.
    const CONFIDENTIAL: bool = false;
    /// Which names objects of the kind may have.
    const NAMES: NameRule = NameRule::Subdomain;
    /// Whether tables begin with the name and end with the age. Without, [`Resource::columns`] are all there are.
    const NAMED_ROWS: bool = true;
    /// Whether unknown fields are refused always, and not only under `fieldValidation=Strict`.
    const STRICT: bool = false;
    /// What becomes of each field.
    const FIELDS: &'static Shape;

    /// The object's metadata.
    fn meta(&self) -> &ObjectMeta;

    /// The object's metadata, to change it.
    fn meta_mut(&mut self) -> &mut ObjectMeta;

    /// Fills omitted fields. Pure and idempotent: `default(default(x)) == default(x)`.
    fn apply_defaults(&mut self) {}

    /// Checks what the schema cannot say. Pure; `old` is set on update.
    fn validate(&self, _old: Option<&Self>) -> Vec<FieldError> {
        Vec::new()
    }

    /// What the client should know about an object that is accepted, beside what [`Resource::FIELDS`] says of single
    /// fields. Pure; `old` is set on update.
    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        Vec::new()
    }

    /// The columns of a table of this kind, between Name and Age if the rows are named.
    fn columns() -> Vec<Column<Self>> {
        Vec::new()
    }

    /// Values of fields that field selectors may name, beside `metadata.name` and
    /// `metadata.namespace`.
    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// `group/version`, or `version` alone in the core group.
    fn api_version() -> String {
        if Self::GROUP.is_empty() { Self::VERSION.to_owned() } else { format!("{}/{}", Self::GROUP, Self::VERSION) }
    }
}

/// Whatever must happen once per kind: mount routes, print a schema, run the conformance suite.
pub trait KindVisitor {
    /// Called once for each kind.
    fn visit<R: Resource>(&mut self);
}
