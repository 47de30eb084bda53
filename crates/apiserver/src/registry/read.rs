//! Reading one object.

use api::Kind;
use keyspace::KeyspaceExt;
use tokio::time::Instant;

use super::store::{Registry, Stored, key};
use crate::{
    api_error::{ApiError, Result, too_large},
    limits::{FRESHNESS_LOOK, FRESHNESS_WAIT},
};

impl Registry {
    /// One object, or 404.
    pub(crate) async fn get(&self, kind: &Kind, namespace: Option<&str>, name: &str) -> Result<Stored> {
        self.find(kind, namespace, name).await?.ok_or_else(|| ApiError::not_found(kind, name))
    }

    /// One object, not older than a revision.
    pub(crate) async fn get_since(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        at_least: u64,
    ) -> Result<Stored> {
        // An object that changed at or after the revision is new enough.
        let found = self.find(kind, namespace, name).await?;
        if found.as_ref().is_some_and(|stored| stored.revision >= at_least) || at_least == 0 {
            return found.ok_or_else(|| ApiError::not_found(kind, name));
        }
        self.reach(at_least).await?;
        self.get(kind, namespace, name).await
    }

    /// Waits for a little while until the keyspace is at a revision; 504 when it does not get there.
    pub(super) async fn reach(&self, revision: u64) -> Result<()> {
        let until = Instant::now() + FRESHNESS_WAIT;
        loop {
            let newest = self.newest().await?;
            if newest >= revision {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(too_large(revision, newest));
            }
            tokio::time::sleep(FRESHNESS_LOOK).await;
        }
    }

    /// One object, if it exists.
    pub(crate) async fn find(&self, kind: &Kind, namespace: Option<&str>, name: &str) -> Result<Option<Stored>> {
        match self.keyspace.get(key(kind, namespace, name)).await? {
            Some(kv) => self.stored(kind, &kv).map(Some),
            None => Ok(None),
        }
    }
}
