//! Namespaces as the place of other objects.

use api::{
    Kind, Reason, Resource, cause,
    kinds::Namespace,
    names::{label, namespace::BUILT_IN},
};
use keyspace::Compare;
use serde_json::json;

use super::store::{Registry, key};
use crate::{
    api_error::{ApiError, Result},
    object,
    query::options::WriteOptions,
};

impl Registry {
    /// The kind Namespace itself.
    fn namespaces(&self) -> Result<&Kind> {
        self.kind(Namespace::PLURAL)
    }

    /// The condition under which an object may be created in a namespace: that the namespace does not change meanwhile.
    ///
    /// Fails with 404 when there is no such namespace, and with 403 when it is going away.
    pub(super) async fn namespace_open(&self, namespace: &str) -> Result<Compare> {
        let kind = self.namespaces()?;
        let Some(found) = self.find(kind, None, namespace).await? else {
            return Err(ApiError::not_found(kind, namespace)
                .remedy(format!("make it first: kubectl create namespace {namespace}")));
        };
        if object::is_deleting(&found.object) {
            let message = format!("namespace {namespace} is being terminated, so nothing new is made in it");
            return Err(ApiError::forbidden(&message)
                .with_cause(cause::NAMESPACE_TERMINATING, message)
                .remedy("wait until it is gone, or use another namespace"));
        }
        Ok(Compare::unchanged(key(kind, None, namespace), found.revision))
    }

    /// Makes the namespaces that always exist.
    pub(crate) async fn ensure_namespaces(&self) -> Result<()> {
        let kind = self.namespaces()?;
        for name in BUILT_IN {
            if self.find(kind, None, name).await?.is_some() {
                continue;
            }
            let object = json!({"metadata": {"name": name, "labels": {label::NAMESPACE_NAME: name}}});
            match self.create(kind, None, object, &WriteOptions::default()).await {
                Err(failure) if failure.status.reason == Reason::AlreadyExists => {}
                other => drop(other?),
            }
        }
        Ok(())
    }
}
