//! Reading one object.

use api::Kind;
use keyspace::KeyspaceExt;

use super::store::{Registry, Stored, key};
use crate::failure::{Failure, Outcome};

impl Registry {
    /// One object, or 404.
    pub(crate) async fn get(&self, kind: &Kind, namespace: Option<&str>, name: &str) -> Outcome<Stored> {
        self.find(kind, namespace, name).await?.ok_or_else(|| Failure::not_found(kind, name))
    }

    /// One object, if it exists.
    pub(crate) async fn find(&self, kind: &Kind, namespace: Option<&str>, name: &str) -> Outcome<Option<Stored>> {
        match self.keyspace.get(key(kind, namespace, name)).await? {
            Some(kv) => self.stored(kind, &kv).map(Some),
            None => Ok(None),
        }
    }
}
