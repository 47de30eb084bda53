//! Lists: pages of a collection, all read at one revision.

use api::Kind;
use keyspace::{KeyRange, Projection, RangeRequest, prefix_end};

use super::store::{Registry, Stored, prefix};
use crate::{
    failure::{Outcome, too_large},
    limits,
    options::{Continue, Freshness, ListOptions, Selection},
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
}

impl Registry {
    /// A page of a collection; all pages of one list show the same revision.
    pub(crate) async fn list(&self, kind: &Kind, namespace: Option<&str>, options: &ListOptions) -> Outcome<Listed> {
        let prefix = prefix(kind, namespace);
        let (mut start, mut at) = (prefix.clone(), 0);
        match (&options.from, options.freshness) {
            // The smallest key after the last one answered is that key with a zero byte.
            (Some(from), _) => (start, at) = (format!("{prefix}{}\0", from.after), from.revision),
            (None, Freshness::Exact(revision)) => at = revision,
            (None, Freshness::Newest | Freshness::NotOlderThan(_)) => {}
        }
        let end = prefix_end(prefix.as_bytes()).unwrap_or_default();
        let mut items: Vec<Stored> = Vec::new();
        let mut last = String::new();
        loop {
            let wanted =
                options.limit.map_or(limits::LIST_STEP, |limit| (limit - items.len() as u64).min(limits::LIST_STEP));
            let step = if options.selection.is_everything() { wanted } else { limits::LIST_STEP };
            let request = RangeRequest::new(KeyRange::span(start.clone(), end.clone())).at(at).limit(step);
            let page = self.keyspace.range(request).await?;
            if let Freshness::NotOlderThan(revision) = options.freshness
                && page.revision < revision
            {
                return Err(too_large(revision, page.revision));
            }
            if at == 0 {
                at = page.revision;
            }
            let count = page.kvs.len() as u64;
            for (index, kv) in page.kvs.iter().enumerate() {
                last = String::from_utf8_lossy(&kv.key).into_owned();
                let stored = self.stored(kind, kv)?;
                if !options.selection.matches(kind, &stored.object) {
                    continue;
                }
                items.push(stored);
                if options.limit.is_some_and(|limit| items.len() as u64 >= limit) {
                    let left = page.count.saturating_sub(index as u64 + 1);
                    return Ok(self.page(items, at, (left > 0).then_some((&prefix, &last, left)), &options.selection));
                }
            }
            if !page.more || count == 0 {
                return Ok(Listed { items, revision: at, next: None, remaining: None });
            }
            start = format!("{last}\0");
        }
    }

    fn page(&self, items: Vec<Stored>, revision: u64, rest: Option<(&str, &str, u64)>, wanted: &Selection) -> Listed {
        let Some((prefix, last, left)) = rest else {
            return Listed { items, revision, next: None, remaining: None };
        };
        let after = last.strip_prefix(prefix).unwrap_or(last).to_owned();
        let next = Some(Continue { revision, after }.encode());
        Listed { items, revision, next, remaining: wanted.is_everything().then_some(left) }
    }

    /// Everything of a collection, newest, and the revision it was read at.
    pub(super) async fn everything(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        selection: &Selection,
    ) -> Outcome<(Vec<Stored>, u64)> {
        let options =
            ListOptions { selection: selection.clone(), limit: None, from: None, freshness: Freshness::Newest };
        let listed = self.list(kind, namespace, &options).await?;
        Ok((listed.items, listed.revision))
    }

    /// The newest revision of the keyspace.
    pub(super) async fn newest(&self) -> Outcome<u64> {
        let mut request = RangeRequest::key("/");
        request.projection = Projection::CountOnly;
        Ok(self.keyspace.range(request).await?.revision)
    }
}
