//! Lists: pages of a collection, all read at one revision.

use api::Kind;
use keyspace::{KeyRange, Projection, RangeRequest, prefix_end};

use super::store::{Registry, Stored, prefix};
use crate::{
    api_error::Result,
    limits,
    query::options::{Continue, Freshness, ListOptions, Selection},
};

/// One page of a collection.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) items: Vec<Stored>,
    /// Revision of the list.
    pub(crate) revision: u64,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<String>,
    /// Objects after this page, when that is known without reading them.
    pub(crate) remaining: Option<u64>,
    /// Keys after the collection's prefix of objects that cannot be read and are left out.
    pub(crate) unreadable: Vec<String>,
}

/// The part of a key after a prefix.
fn after(prefix: &str, key: &[u8]) -> String {
    let key = String::from_utf8_lossy(key);
    key.strip_prefix(prefix).unwrap_or(&key).to_owned()
}

/// The part of a list that has been read.
#[derive(Debug, Default)]
struct Read {
    items: Vec<Stored>,
    unreadable: Vec<String>,
    /// Objects from this page on, when they are counted.
    left: Option<u64>,
    /// Objects of them that were read, whether they matched or not.
    seen: u64,
}

impl Read {
    /// The page; `after` is the last object on it when there are more.
    fn finish(self, revision: u64, after: Option<String>) -> Listed {
        let Self { items, unreadable, left, seen } = self;
        let remaining = after.as_ref().and(left).map(|left| left.saturating_sub(seen));
        let next = after.map(|after| Continue { revision, after, left: remaining }.encode());
        Listed { items, revision, next, remaining, unreadable }
    }
}

impl Registry {
    /// A page of a collection; all pages of one list show the same revision.
    pub(crate) async fn list(&self, kind: &Kind, namespace: Option<&str>, options: &ListOptions) -> Result<Listed> {
        let prefix = prefix(kind, namespace);
        let (mut start, mut at) = (prefix.clone(), 0);
        match (&options.from, options.freshness) {
            // The smallest key after the last one is that key followed by a zero byte.
            (Some(from), _) => (start, at) = (format!("{prefix}{}\0", from.after), from.revision),
            (None, Freshness::Exact(revision)) => at = revision,
            (None, Freshness::Newest | Freshness::NotOlderThan(_)) => {}
        }
        let end = prefix_end(prefix.as_bytes()).unwrap_or_default();
        let mut read = Read { left: options.from.as_ref().and_then(|from| from.left), ..Read::default() };
        let counts = options.limit.is_some() && options.selection.is_everything();
        loop {
            let wanted = options
                .limit
                .map_or(limits::LIST_STEP, |limit| (limit - read.items.len() as u64).min(limits::LIST_STEP));
            let step = if options.selection.is_everything() { wanted } else { limits::LIST_STEP };
            let mut request = RangeRequest::new(KeyRange::span(start.clone(), end.clone())).at(at).limit(step);
            // Counting walks the whole rest, so it is done once for all pages of a list.
            request.skip_count = !counts || read.left.is_some();
            let page = self.keyspace.range(request).await?;
            if let Freshness::NotOlderThan(revision) = options.freshness
                && page.revision < revision
            {
                self.reach(revision).await?;
                continue;
            }
            if at == 0 {
                at = page.revision;
            }
            if counts {
                read.left.get_or_insert(page.count);
            }
            let Some(last) = page.kvs.last().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()) else {
                return Ok(read.finish(at, None));
            };
            for (index, kv) in page.kvs.iter().enumerate() {
                read.seen += 1;
                let Some(stored) = self.readable(kind, kv) else {
                    read.unreadable.push(after(&prefix, &kv.key));
                    continue;
                };
                if !options.selection.matches(kind, &stored.object) {
                    continue;
                }
                read.items.push(stored);
                if options.limit.is_some_and(|limit| read.items.len() as u64 >= limit) {
                    let more = page.more || index + 1 < page.kvs.len();
                    return Ok(read.finish(at, more.then(|| after(&prefix, &kv.key))));
                }
            }
            if !page.more {
                return Ok(read.finish(at, None));
            }
            start = format!("{last}\0");
        }
    }

    /// Everything of a collection, newest, and the revision it was read at.
    pub(crate) async fn everything(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        selection: &Selection,
    ) -> Result<(Vec<Stored>, u64)> {
        let listed = self.list(kind, namespace, &ListOptions::everything(selection)).await?;
        Ok((listed.items, listed.revision))
    }

    /// The newest revision of the keyspace.
    pub(super) async fn newest(&self) -> Result<u64> {
        let mut request = RangeRequest::key("/");
        request.projection = Projection::CountOnly;
        Ok(self.keyspace.range(request).await?.revision)
    }
}
