//! Keeps the catalog as the CustomResourceDefinitions in the keyspace are, on every server of a cluster.

use std::sync::Arc;

use api::{Kind, Resource, kinds::CustomResourceDefinition};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::{
    api_error::Result,
    catalog::Served,
    limits::DEFINITIONS_RETRY,
    object,
    query::options::{Selection, WatchOptions, WatchStart},
    registry::{Stored, WatchItem},
    state::ServerState,
};

impl ServerState {
    fn definition_kind(&self) -> Option<&Kind> {
        self.registry.kind(CustomResourceDefinition::PLURAL).ok()
    }

    /// Reads all definitions; answers the revision at which they are so.
    pub(crate) async fn load_definitions(&self) -> Result<u64> {
        let Some(kind) = self.definition_kind() else { return Ok(0) };
        let (found, revision) = self.registry.everything(kind, None, &Selection::default()).await?;
        let found = found.into_iter().map(|Stored { object, revision, .. }| {
            let name = object::name(&object).to_owned();
            (name, revision, object)
        });
        self.catalog.reset(found.collect(), revision);
        Ok(revision)
    }

    /// Follows all definitions until `stop`.
    pub(crate) async fn follow_definitions(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Some(Err(failure)) = stop.run_until_cancelled(self.follow()).await {
                tracing::warn!(%failure, "the watch of the definitions ended; reading them again");
            }
            let _ = stop.run_until_cancelled(tokio::time::sleep(DEFINITIONS_RETRY)).await;
        }
    }

    async fn follow(&self) -> Result<()> {
        let revision = self.load_definitions().await?;
        let Some(kind) = self.definition_kind() else { return Ok(()) };
        let options = WatchOptions {
            selection: Selection::default(),
            start: WatchStart::After(revision),
            bookmarks: false,
            lasts: std::time::Duration::MAX,
        };
        let mut changes = self.registry.watch(kind, None, &options).await?;
        while let Some(change) = changes.next().await {
            let (Stored { object, revision, .. }, is_there) = match change? {
                WatchItem::Added(stored) | WatchItem::Modified(stored) => (stored, true),
                WatchItem::Deleted(stored) => (stored, false),
                WatchItem::Bookmark { .. } => continue,
            };
            let name = object::name(&object).to_owned();
            self.catalog.observe(&name, revision, is_there.then_some(object));
        }
        Ok(())
    }

    /// What is served once the definition of a path that is not known has been read: a client that saw that it is
    /// established may be ahead of this server's watch.
    pub(crate) async fn catch_up(&self, path: &str) -> Result<Option<Arc<Served>>> {
        let Some((kind, name)) = self.definition_kind().zip(definition_of(path)) else { return Ok(None) };
        if let Some(stored) = self.registry.find(kind, None, &name).await? {
            self.catalog.observe(&name, stored.revision, Some(stored.object));
        }
        Ok(Some(self.catalog.now()))
    }
}

/// Name of the definition that objects of a path would have.
fn definition_of(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').skip(1).collect();
    let (group, plural) = match *parts {
        ["apis", group, _, "namespaces", _, plural, ..] | ["apis", group, _, plural, ..] => (group, plural),
        _ => return None,
    };
    let name = format!("{plural}.{group}");
    api::meta::is_dns_subdomain(&name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_definition() {
        for (path, wanted) in [
            ("/apis/example.com/v1/widgets", Some("widgets.example.com")),
            ("/apis/example.com/v1/widgets/a/status", Some("widgets.example.com")),
            ("/apis/example.com/v1/namespaces/n/widgets/a", Some("widgets.example.com")),
            ("/apis/example.com/v1", None),
            ("/apis/example.com/v1/%2F", None),
            ("/api/v1/widgets", None),
        ] {
            assert_eq!(definition_of(path).as_deref(), wanted, "{path}");
        }
    }
}
