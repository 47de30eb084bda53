//! Watches: a collection's changes from a revision on, without gaps.

use std::collections::VecDeque;

use api::Kind;
use futures::{StreamExt, stream::BoxStream};
use keyspace::{EventKind, KeyRange, WatchBatch, WatchEvent, WatchRequest};

use super::store::{Registry, Stored, key, prefix};
use crate::{
    api_error::{ApiError, Result},
    limits,
    query::options::{Selection, WatchOptions, WatchStart},
};

/// What a watch sends. Objects carry the revision of the change.
#[derive(Clone, Debug)]
pub(crate) enum WatchItem {
    Added(Stored),
    Modified(Stored),
    Deleted(Stored),
    /// Everything up to this revision has been sent; `initial` ends the first state.
    Bookmark {
        revision: u64,
        initial: bool,
    },
}

/// The items of a watch; an error is the last item.
pub(crate) type WatchItems = BoxStream<'static, Result<WatchItem>>;

/// The selection of a watch.
struct Lens {
    kind: Kind,
    selection: Selection,
}

impl Registry {
    /// Follows a collection, or one object of it.
    pub(crate) async fn watch(
        self: &std::sync::Arc<Self>,
        kind: &Kind,
        namespace: Option<&str>,
        options: &WatchOptions,
    ) -> Result<WatchItems> {
        // A watch of one name is a watch of one key: others' changes cost it nothing.
        let range = match (namespace, options.selection.fields.exact("metadata.name")) {
            (Some(namespace), Some(name)) => KeyRange::key(key(kind, Some(namespace), name)),
            (None, Some(name)) if !kind.is_namespaced() => KeyRange::key(key(kind, None, name)),
            _ => KeyRange::prefix(prefix(kind, namespace)),
        };
        let mut first = VecDeque::new();
        let after = match options.start {
            WatchStart::After(revision) => {
                let newest = self.newest().await?;
                if revision > newest {
                    return Err(ApiError::expired(format!(
                        "resourceVersion {revision} is newer than this server's {newest}"
                    )));
                }
                revision
            }
            WatchStart::Now => self.newest().await?,
            WatchStart::State { at_least, marked } => {
                if at_least > 0 {
                    self.reach(at_least).await?;
                }
                let (items, revision) = self.everything(kind, namespace, &options.selection).await?;
                first.extend(items.into_iter().map(|stored| Ok(WatchItem::Added(stored))));
                if marked {
                    first.push_back(Ok(WatchItem::Bookmark { revision, initial: true }));
                }
                revision
            }
        };
        let request = WatchRequest::new(range, after + 1).with_prev().with_progress(limits::BOOKMARK_EVERY);
        let changes = self.keyspace.watch(request).await?;
        let lens = Lens { kind: kind.clone(), selection: options.selection.clone() };
        let (registry, bookmarks) = (self.clone(), options.bookmarks);
        let changes = changes.flat_map(move |batch| futures::stream::iter(registry.told(&lens, batch, bookmarks)));
        Ok(futures::stream::iter(first).chain(changes).boxed())
    }

    /// The items of one batch of changes.
    fn told(&self, lens: &Lens, batch: Result<WatchBatch, keyspace::Error>, bookmarks: bool) -> Vec<Result<WatchItem>> {
        match batch {
            Err(error) => vec![Err(error.into())],
            Ok(batch) if batch.is_progress() && bookmarks => {
                vec![Ok(WatchItem::Bookmark { revision: batch.revision, initial: false })]
            }
            Ok(batch) => batch.events.iter().filter_map(|event| self.change(lens, event).transpose()).collect(),
        }
    }

    fn change(&self, lens: &Lens, event: &WatchEvent) -> Result<Option<WatchItem>> {
        let history_needed = event.kind == EventKind::Delete || !lens.selection.is_everything();
        if event.prev.is_none() && !event.is_create() && history_needed {
            return Err(ApiError::expired("history that this watch needs has been compacted"));
        }
        // An unreadable record is in no list; a watch treats it as an object that is not selected.
        let before = event.prev.as_ref().map(|kv| self.readable(&lens.kind, kv));
        let after = match event.kind {
            EventKind::Put => self.readable(&lens.kind, &event.kv),
            EventKind::Delete => None,
        };
        Ok(lens.item(before, after, event))
    }
}

impl Lens {
    /// The event of a change. `before` is nothing when it is unknown, and then the object was selected: only a watch of
    /// everything does without it.
    fn item(&self, before: Option<Option<Stored>>, after: Option<Stored>, event: &WatchEvent) -> Option<WatchItem> {
        let wanted = |stored: &Stored| self.selection.matches(&self.kind, &stored.object);
        let was = !event.is_create() && before.as_ref().is_none_or(|seen| seen.as_ref().is_some_and(wanted));
        let is = after.as_ref().is_some_and(wanted);
        match (was, is) {
            (false, true) => after.map(WatchItem::Added),
            (true, true) => after.map(WatchItem::Modified),
            // The last selected state, at the revision of the change that ended the selection.
            (true, false) => {
                before.flatten().map(|stored| WatchItem::Deleted(Stored { revision: event.kv.mod_revision, ..stored }))
            }
            (false, false) => None,
        }
    }
}
