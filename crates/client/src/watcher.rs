//! A watch that never ends: list, watch, and list again when history is gone.
//!
//! ```text
//!   Listing ──list──► Watching(revision) ──410──► Listing
//!      ▲  └─failure─► wait, longer each time ◄─┘ end or failure: watch again from the last revision
//! ```

use std::time::Duration;

use api::{ObjectKey, Resource, Status, decode};
use futures::{Stream, StreamExt, future::BoxFuture, stream, stream::BoxStream};
use serde::Deserialize;
use serde_json::Value;

use crate::{Error, ListParams, Result};

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

/// What can be listed and watched: objects of one kind, typed or not.
pub trait Watchable: Send + Sync + 'static {
    /// The objects.
    type Object: Clone + Send + Sync + 'static;

    /// Every object, and the revision of the answer.
    fn list_objects<'a>(&'a self, params: &'a ListParams) -> BoxFuture<'a, Result<(Vec<Self::Object>, String)>>;

    /// Changes after a revision.
    fn watch_objects<'a>(
        &'a self,
        params: &'a ListParams,
        from: &'a str,
    ) -> BoxFuture<'a, Result<Changes<Self::Object>>>;

    /// Revision of an object.
    fn revision(object: &Self::Object) -> Option<String>;
}

/// A stream of changes.
pub type Changes<O> = BoxStream<'static, Result<WatchEvent<O>>>;

/// Reads one line of a watch; `read` reads the object in it.
pub(crate) fn read_event<O>(line: &[u8], read: impl FnOnce(Value) -> Result<O>) -> Result<WatchEvent<O>> {
    let fail = |source| Error::Decode { request: "a watch".into(), source };
    let event: RawEvent = serde_json::from_slice(line).map_err(|error| fail(error.into()))?;
    match event.r#type.as_str() {
        "ADDED" => Ok(WatchEvent::Added(read(event.object)?)),
        "MODIFIED" => Ok(WatchEvent::Modified(read(event.object)?)),
        "DELETED" => Ok(WatchEvent::Deleted(read(event.object)?)),
        "BOOKMARK" => {
            let revision = event.object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            Ok(WatchEvent::Bookmark(revision.to_owned()))
        }
        "ERROR" => {
            let status: Status = serde_json::from_value(event.object).map_err(|error| fail(error.into()))?;
            Err(status.into())
        }
        other => Err(fail(format!("unknown event type {other:?}").into())),
    }
}

pub(crate) fn decode_event<R: Resource>(line: &[u8]) -> Result<WatchEvent<R>> {
    read_event(line, |object| {
        decode(object)
            .map_err(|error| Error::Decode { request: format!("watch of {}", R::PLURAL), source: error.into() })
    })
}

enum State<O> {
    Listing,
    Connecting { revision: String },
    Watching { revision: String, events: Changes<O> },
}

/// Lists, then watches, for ever. Failures are reported and retried after a pause.
pub fn watcher<W: Watchable>(source: W, params: ListParams) -> impl Stream<Item = Result<Event<W::Object>>> + Send {
    let start = (source, params, State::Listing, 0_u32);
    stream::unfold(start, |(source, params, mut state, mut failures)| async move {
        loop {
            if failures > 0 {
                tokio::time::sleep(pause(failures)).await;
            }
            let (next, outcome) = step(&source, &params, state).await;
            state = next;
            match outcome {
                Some(Ok(event)) => return Some((Ok(event), (source, params, state, 0))),
                Some(Err(error)) => {
                    failures = failures.saturating_add(1);
                    return Some((Err(error), (source, params, state, failures)));
                }
                None => failures = 0,
            }
        }
    })
}

fn pause(failures: u32) -> Duration {
    PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(PAUSE_MAX)
}

type Step<O> = (State<O>, Option<Result<Event<O>>>);

async fn step<W: Watchable>(source: &W, params: &ListParams, state: State<W::Object>) -> Step<W::Object> {
    match state {
        State::Listing => match source.list_objects(params).await {
            Ok((objects, revision)) => (State::Connecting { revision }, Some(Ok(Event::Restarted(objects)))),
            Err(error) => (State::Listing, Some(Err(error))),
        },
        State::Connecting { revision } => match source.watch_objects(params, &revision).await {
            Ok(events) => (State::Watching { revision, events }, None),
            Err(error) if error.is_gone() => (State::Listing, None),
            Err(error) => (State::Connecting { revision }, Some(Err(error))),
        },
        State::Watching { revision, mut events } => match events.next().await {
            // A server ends watches from time to time; that is no failure.
            None => (State::Connecting { revision }, None),
            Some(Err(error)) if error.is_gone() => (State::Listing, None),
            Some(Err(error)) => (State::Connecting { revision }, Some(Err(error))),
            Some(Ok(WatchEvent::Bookmark(revision))) => (State::Watching { revision, events }, None),
            Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                let revision = W::revision(&object).unwrap_or(revision);
                (State::Watching { revision, events }, Some(Ok(Event::Applied(object))))
            }
            Some(Ok(WatchEvent::Deleted(object))) => {
                let revision = W::revision(&object).unwrap_or(revision);
                (State::Watching { revision, events }, Some(Ok(Event::Deleted(object))))
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
