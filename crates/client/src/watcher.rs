//! A watch that never ends: list, watch, and list again when history is gone.
//!
//! ```text
//!   Listing ──list──► Watching(revision) ──410──► Listing
//!      ▲  └─failure─► wait, longer each time ◄─┘ end or failure: watch again from the last revision
//! ```

use std::time::Duration;

use api::{ObjectKey, Resource, Status, decode};
use futures::{Stream, StreamExt, stream, stream::BoxStream};
use serde::Deserialize;
use serde_json::Value;

use crate::{Api, Error, ListParams, Result};

/// First pause after a failure; it doubles up to [`PAUSE_MAX`].
pub const PAUSE: Duration = Duration::from_millis(100);
/// Longest pause after failures.
pub const PAUSE_MAX: Duration = Duration::from_secs(15);

/// One change, as the API sends it.
#[derive(Clone, Debug)]
pub enum WatchEvent<R> {
    /// The object is new, or now fits the selector.
    Added(R),
    /// The object changed.
    Modified(R),
    /// The object is gone, or no longer fits the selector.
    Deleted(R),
    /// Nothing changed up to this revision.
    Bookmark(String),
}

/// What a watcher tells: a full state once, then changes.
#[derive(Clone, Debug)]
pub enum Event<R> {
    /// The full state: whatever is not in it does not exist.
    Restarted(Vec<R>),
    /// The object is new or changed.
    Applied(R),
    /// The object is gone.
    Deleted(R),
}

#[derive(Deserialize)]
struct RawEvent {
    r#type: String,
    object: Value,
}

pub(crate) fn decode_event<R: Resource>(line: &[u8]) -> Result<WatchEvent<R>> {
    let fail = |source| Error::Decode { request: format!("watch of {}", R::PLURAL), source };
    let event: RawEvent = serde_json::from_slice(line).map_err(|error| fail(error.into()))?;
    if event.r#type == "ERROR" {
        let status: Status = serde_json::from_value(event.object).map_err(|error| fail(error.into()))?;
        return Err(status.into());
    }
    if event.r#type == "BOOKMARK" {
        let revision = event.object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        return Ok(WatchEvent::Bookmark(revision.to_owned()));
    }
    let object = decode(event.object).map_err(|error| fail(error.into()))?;
    match event.r#type.as_str() {
        "ADDED" => Ok(WatchEvent::Added(object)),
        "MODIFIED" => Ok(WatchEvent::Modified(object)),
        "DELETED" => Ok(WatchEvent::Deleted(object)),
        other => Err(fail(format!("unknown event type {other:?}").into())),
    }
}

enum State<R> {
    Listing,
    Connecting { revision: String },
    Watching { revision: String, events: BoxStream<'static, Result<WatchEvent<R>>> },
}

/// Lists, then watches, for ever. Failures are reported and retried after a pause.
pub fn watcher<R: Resource>(api: Api<R>, params: ListParams) -> impl Stream<Item = Result<Event<R>>> + Send {
    let start = (api, params, State::Listing, 0_u32);
    stream::unfold(start, |(api, params, mut state, mut failures)| async move {
        loop {
            if failures > 0 {
                tokio::time::sleep(pause(failures)).await;
            }
            let (next, outcome) = step(&api, &params, state).await;
            state = next;
            match outcome {
                Some(Ok(event)) => return Some((Ok(event), (api, params, state, 0))),
                Some(Err(error)) => {
                    failures = failures.saturating_add(1);
                    return Some((Err(error), (api, params, state, failures)));
                }
                None => failures = 0,
            }
        }
    })
}

fn pause(failures: u32) -> Duration {
    PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(PAUSE_MAX)
}

async fn step<R: Resource>(api: &Api<R>, params: &ListParams, state: State<R>) -> (State<R>, Option<Result<Event<R>>>) {
    match state {
        State::Listing => match api.list_all(params).await {
            Ok(list) => (State::Connecting { revision: list.resource_version }, Some(Ok(Event::Restarted(list.items)))),
            Err(error) => (State::Listing, Some(Err(error))),
        },
        State::Connecting { revision } => match api.watch(params, &revision).await {
            Ok(events) => (State::Watching { revision, events: events.boxed() }, None),
            Err(error) if error.is_gone() => (State::Listing, None),
            Err(error) => (State::Connecting { revision }, Some(Err(error))),
        },
        State::Watching { revision, mut events } => match events.next().await {
            // A server ends watches from time to time; that is no failure.
            None => (State::Connecting { revision }, None),
            Some(Err(error)) if error.is_gone() => (State::Listing, None),
            Some(Err(error)) => (State::Connecting { revision }, Some(Err(error))),
            Some(Ok(WatchEvent::Bookmark(revision))) => (State::Watching { revision, events }, None),
            Some(Ok(event)) => {
                let (event, object) = match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                        (Event::Applied(object.clone()), object)
                    }
                    WatchEvent::Deleted(object) => (Event::Deleted(object.clone()), object),
                    WatchEvent::Bookmark(_) => return (State::Watching { revision, events }, None),
                };
                let revision = object.meta().resource_version.clone().unwrap_or(revision);
                (State::Watching { revision, events }, Some(Ok(event)))
            }
        },
    }
}

impl<R: Resource> Event<R> {
    /// Key of the object that changed; `None` for a full state.
    pub fn key(&self) -> Option<ObjectKey> {
        match self {
            Self::Restarted(_) => None,
            Self::Applied(object) | Self::Deleted(object) => Some(ObjectKey::of(object)),
        }
    }
}
