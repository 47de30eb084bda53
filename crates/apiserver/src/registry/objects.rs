//! The registry as strategies see it.

use api::Kind;
use async_trait::async_trait;
use ipnet::Ipv4Net;
use keyspace::{Compare, Keyspace};
use serde_json::Value;

use super::store::{Registry, key};
use crate::{
    api_error::{ApiError, Result},
    query::options::Selection,
    strategies::Objects,
};

impl Registry {
    /// A kind by its plural, or 404.
    pub(crate) fn kind(&self, plural: &str) -> Result<&Kind> {
        self.kinds.iter().find(|kind| kind.plural() == plural).ok_or_else(|| ApiError::not_served(plural))
    }
}

#[async_trait]
impl Objects for Registry {
    fn keyspace(&self) -> &dyn Keyspace {
        &*self.keyspace
    }

    fn service_cidr(&self) -> Ipv4Net {
        self.service_cidr
    }

    async fn find(&self, plural: &str, namespace: Option<&str>, name: &str) -> Result<Option<Value>> {
        Ok(Self::find(self, self.kind(plural)?, namespace, name).await?.map(|stored| stored.object))
    }

    async fn pinned(&self, plural: &str, name: &str) -> Result<Option<(Value, Compare)>> {
        let kind = self.kind(plural)?;
        let found = Self::find(self, kind, None, name).await?;
        Ok(found.map(|stored| (stored.object, Compare::unchanged(key(kind, None, name), stored.revision))))
    }

    async fn list(&self, plural: &str, namespace: &str) -> Result<Vec<Value>> {
        let (found, _) = self.everything(self.kind(plural)?, Some(namespace), &Selection::default()).await?;
        Ok(found.into_iter().map(|stored| stored.object).collect())
    }
}
