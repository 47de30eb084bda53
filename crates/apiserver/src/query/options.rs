//! Query parameters, read once and checked. Pure.

use std::{borrow::Cow, time::Duration};

use api::{FieldSelector, Kind, LabelSelector};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{event_filter::EventFilter, params::Query};
use crate::{
    api_error::{ApiError, Result},
    authorizer::Author,
    limits, strategies,
};

/// What to do with fields a kind does not know (`fieldValidation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// Parameters of create, update, patch and delete.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) validation: FieldValidation,
    /// The manager of what is written; empty for the server itself.
    pub(crate) manager: String,
    /// Paths of fields that the request gives more than once.
    pub(crate) duplicates: Vec<String>,
    /// Whether it came as a patch, whose faults are reported for the field `patch`.
    pub(crate) patched: bool,
    /// Whether a node writes; its writes of a pod's status change the status alone.
    pub(crate) by_node: bool,
    /// Who writes; nobody for the server itself, which may write everything.
    pub(crate) author: Option<Author>,
}

impl WriteOptions {
    pub(crate) fn parse(query: &Query) -> Result<Self> {
        let mut dry_run = false;
        for value in query.all("dryRun") {
            match value.as_str() {
                "" => {}
                value if is_dry_run(value) => dry_run = true,
                other => return Err(ApiError::bad_request(format!("dryRun={other:?} must be All"))),
            }
        }
        let validation = match query.get("fieldValidation") {
            None => FieldValidation::default(),
            Some("Ignore") => FieldValidation::Ignore,
            Some("Warn") => FieldValidation::Warn,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                return Err(ApiError::bad_request(format!("fieldValidation={other:?} must be Ignore, Warn or Strict")));
            }
        };
        let manager = query.get("fieldManager").unwrap_or_default().to_owned();
        let printable = |c: char| !c.is_control();
        if manager.len() > limits::MAX_MANAGER_BYTES || !manager.chars().all(printable) {
            return Err(ApiError::bad_request(format!(
                "fieldManager must be at most {} bytes of printable text",
                limits::MAX_MANAGER_BYTES
            )));
        }
        Ok(Self { dry_run, validation, manager, ..Self::default() })
    }
}

/// Whether a value of `dryRun` asks for a dry run: `All` as in Kubernetes, or `true`.
pub(crate) fn is_dry_run(value: &str) -> bool {
    matches!(value, "All" | "true")
}

/// Which objects of a collection are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
    /// Further conditions for events.
    pub(crate) events: Option<EventFilter>,
}

impl Selection {
    pub(crate) fn parse(kind: &Kind, query: &Query, now: Timestamp) -> Result<Self> {
        let refused = |name: &str, error: api::selector::SelectorError| {
            ApiError::bad_request(format!("{name} cannot be read: {error}"))
        };
        let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default())
            .map_err(|error| refused("labelSelector", error))?;
        let fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or_default())
            .map_err(|error| refused("fieldSelector", error))?;
        let events = strategies::of(kind).filter(query, now)?;
        Ok(Self { labels, fields, events })
    }

    /// Refuses fields the kind cannot select by. `known` are the fields of any object of the kind.
    pub(crate) fn check_fields(&self, kind: &Kind) -> Result<()> {
        // The fields of a kind are read from its whole schema, which takes longer than most lists.
        if self.fields.is_empty() {
            return Ok(());
        }
        let known = selectable(kind);
        match self.fields.fields().find(|field| !known.iter().any(|name| name == field)) {
            None => Ok(()),
            Some(field) => Err(ApiError::bad_request(format!("field label not supported: {field}")).remedy(format!(
                "select {} by one of: {}",
                kind.plural(),
                known.join(", ")
            ))),
        }
    }

    /// Whether everything is wanted.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty() && self.events.is_none()
    }

    /// Whether this object is wanted.
    pub(crate) fn matches(&self, kind: &Kind, object: &serde_json::Value) -> bool {
        (self.labels.is_empty() || self.labels.matches(Some(&crate::object::labels(object))))
            && (self.fields.is_empty() || self.fields.matches(&kind.fields(object)))
            && self.events.as_ref().is_none_or(|events| events.matches(object))
    }
}

/// Names of the fields that objects of this kind can be selected by.
pub(crate) fn selectable(kind: &Kind) -> Vec<Cow<'static, str>> {
    kind.fields(&crate::sample::minimal(kind)).into_iter().map(|(name, _)| name).collect()
}

/// What a list's `resourceVersion` means (`resourceVersionMatch`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// The newest state.
    Newest,
    /// At least as new as this revision.
    NotOlderThan(u64),
    /// Exactly this revision.
    Exact(u64),
}

/// Where a paged list goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Continue {
    /// Revision all pages are read at.
    #[serde(rename = "rv")]
    pub(crate) revision: u64,
    /// Part of the key after the collection's prefix, of the last object answered.
    #[serde(rename = "after")]
    pub(crate) after: String,
    /// How many objects come after it, when they were counted.
    #[serde(rename = "left", default, skip_serializing_if = "Option::is_none")]
    pub(crate) left: Option<u64>,
}

impl Continue {
    pub(crate) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::json!(self).to_string())
    }

    fn decode(token: &str) -> Result<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok();
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or_else(|| {
            ApiError::bad_request("continue is not a token this server gave").remedy("start the list again without it")
        })
    }
}

/// Parameters of a list.
#[derive(Clone, Debug)]
pub(crate) struct ListOptions {
    pub(crate) selection: Selection,
    pub(crate) limit: Option<u64>,
    pub(crate) from: Option<Continue>,
    pub(crate) freshness: Freshness,
}

/// The version that a request speaks of.
pub(crate) fn revision(query: &Query) -> Result<Option<u64>> {
    query.number("resourceVersion").map_err(|_| {
        ApiError::bad_request(format!(
            "resourceVersion={:?} is not one this server gave",
            query.get("resourceVersion").unwrap_or_default()
        ))
    })
}

impl ListOptions {
    /// Everything that is selected, newest.
    pub(crate) fn everything(selection: &Selection) -> Self {
        Self { selection: selection.clone(), limit: None, from: None, freshness: Freshness::Newest }
    }

    pub(crate) fn parse(kind: &Kind, query: &Query, now: Timestamp) -> Result<Self> {
        let selection = Selection::parse(kind, query, now)?;
        selection.check_fields(kind)?;
        let from = query.get("continue").map(Continue::decode).transpose()?;
        let limit = query.number("limit")?.filter(|limit| *limit > 0);
        let (revision, wanted) = (revision(query)?, query.get("resourceVersionMatch"));
        if from.is_some() && (wanted.is_some() || revision.is_some_and(|revision| revision != 0)) {
            return Err(ApiError::bad_request(
                "resourceVersion and resourceVersionMatch may not be given with continue",
            ));
        }
        let freshness = match (wanted, revision) {
            (None, None | Some(0)) | (Some("NotOlderThan"), Some(0)) => Freshness::Newest,
            (None, Some(revision)) if limit.is_some() => Freshness::Exact(revision),
            (None | Some("NotOlderThan"), Some(revision)) => Freshness::NotOlderThan(revision),
            (Some("Exact"), Some(revision)) if revision > 0 => Freshness::Exact(revision),
            (Some("Exact"), Some(_)) => {
                return Err(ApiError::bad_request("resourceVersionMatch=Exact needs a resourceVersion other than 0"));
            }
            (Some("NotOlderThan" | "Exact"), None) => {
                return Err(ApiError::bad_request("resourceVersionMatch needs a resourceVersion"));
            }
            (Some(other), _) => {
                return Err(ApiError::bad_request(format!(
                    "resourceVersionMatch={other:?} must be Exact or NotOlderThan"
                )));
            }
        };
        Ok(Self { selection, limit, from, freshness })
    }
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchStart {
    /// With all objects as `ADDED`, then what follows; `marked` ends the first part with a bookmark.
    State { at_least: u64, marked: bool },
    /// With what happens from now on.
    Now,
    /// With what happened after this revision.
    After(u64),
}

/// Parameters of a watch.
#[derive(Clone, Debug)]
pub(crate) struct WatchOptions {
    pub(crate) selection: Selection,
    pub(crate) start: WatchStart,
    pub(crate) bookmarks: bool,
    pub(crate) lasts: Duration,
}

impl WatchOptions {
    pub(crate) fn parse(kind: &Kind, query: &Query, now: Timestamp) -> Result<Self> {
        let selection = Selection::parse(kind, query, now)?;
        selection.check_fields(kind)?;
        let revision = revision(query)?;
        let bookmarks = query.flag("allowWatchBookmarks")?;
        let initial = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents")).transpose()?;
        let wanted = query.get("resourceVersionMatch");
        if initial.is_some() && wanted != Some("NotOlderThan") {
            return Err(ApiError::bad_request("sendInitialEvents needs resourceVersionMatch=NotOlderThan"));
        }
        if wanted.is_some_and(|wanted| wanted != "NotOlderThan") {
            return Err(ApiError::bad_request("resourceVersionMatch of a watch must be NotOlderThan"));
        }
        let start = match (initial, revision) {
            (Some(true), revision) => WatchStart::State { at_least: revision.unwrap_or(0), marked: bookmarks },
            (Some(false), None | Some(0)) => WatchStart::Now,
            (None, None | Some(0)) => WatchStart::State { at_least: 0, marked: false },
            (_, Some(revision)) => WatchStart::After(revision),
        };
        let asked = query.number("timeoutSeconds")?.filter(|seconds| *seconds > 0).map(Duration::from_secs);
        Ok(Self { selection, start, bookmarks, lasts: asked.unwrap_or(limits::WATCH_DEFAULT).min(limits::WATCH_MAX) })
    }
}

#[cfg(test)]
mod tests {
    use api::kinds;

    use super::*;

    fn list(query: &str) -> Result<ListOptions> {
        ListOptions::parse(kinds::find("pods").unwrap(), &Query::parse(Some(query)), Timestamp::UNIX_EPOCH)
    }

    fn watch(query: &str) -> Result<WatchOptions> {
        WatchOptions::parse(kinds::find("pods").unwrap(), &Query::parse(Some(query)), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn versions_mean_what_kubernetes_documents() {
        for (query, wanted) in [
            ("", Freshness::Newest),
            ("resourceVersion=0", Freshness::Newest),
            ("resourceVersion=7", Freshness::NotOlderThan(7)),
            ("resourceVersion=7&limit=2", Freshness::Exact(7)),
            ("resourceVersion=7&resourceVersionMatch=Exact", Freshness::Exact(7)),
            ("resourceVersion=7&limit=2&resourceVersionMatch=NotOlderThan", Freshness::NotOlderThan(7)),
        ] {
            assert_eq!(list(query).unwrap().freshness, wanted, "{query}");
        }
        for bad in [
            "resourceVersionMatch=Exact",
            "resourceVersion=0&resourceVersionMatch=Exact",
            "resourceVersion=7&resourceVersionMatch=Odd",
            "resourceVersion=x",
            "limit=-1",
            "continue=nonsense",
            "fieldSelector=spec.color%3Dred",
            "labelSelector=a%20b",
        ] {
            assert_eq!(list(bad).unwrap_err().status.code, 400, "{bad}");
        }
    }

    #[test]
    fn watches_begin_where_they_are_told() {
        for (query, wanted) in [
            ("", WatchStart::State { at_least: 0, marked: false }),
            ("resourceVersion=0", WatchStart::State { at_least: 0, marked: false }),
            ("resourceVersion=9", WatchStart::After(9)),
            ("resourceVersion=9&resourceVersionMatch=NotOlderThan", WatchStart::After(9)),
            ("sendInitialEvents=false&resourceVersionMatch=NotOlderThan", WatchStart::Now),
            (
                "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
                WatchStart::State { at_least: 0, marked: true },
            ),
        ] {
            assert_eq!(watch(query).unwrap().start, wanted, "{query}");
        }
        assert_eq!(watch("sendInitialEvents=true").unwrap_err().status.code, 400);
        assert_eq!(watch("resourceVersion=1&resourceVersionMatch=Exact").unwrap_err().status.code, 400);
    }

    #[test]
    fn tokens_survive_their_encoding() {
        let token = Continue { revision: 42, after: "default/x".into(), left: Some(7) };
        assert_eq!(Continue::decode(&token.encode()).unwrap(), token);
    }

    #[test]
    fn events_are_trimmed_by_age_level_and_reason() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let kind = kinds::find("events").unwrap();
        let matches = |query: &str, event: &serde_json::Value| {
            Selection::parse(kind, &Query::parse(Some(query)), now).unwrap().matches(kind, event)
        };
        let event = serde_json::json!({
            "metadata": {"name": "e"}, "type": "Warning", "reason": "BackOff", "lastTimestamp": "2026-01-01T00:58:00Z",
            "involvedObject": {},
        });
        for (query, wanted) in [
            ("since=5m", true),
            ("since=1m", false),
            ("since=2026-01-01T00:59:00Z", false),
            ("level=Warning&reason=Other,BackOff", true),
            ("level=Normal", false),
            ("reason=Unknown", false),
        ] {
            assert_eq!(matches(query, &event), wanted, "{query}");
        }
        assert!(Selection::parse(kind, &Query::parse(Some("since=soon")), now).is_err());
        assert!(Selection::parse(kind, &Query::parse(Some("level=Loud")), now).is_err());
    }
}
