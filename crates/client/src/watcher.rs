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
use tokio::time::Instant;

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

    /// Kind of the objects, for messages.
    fn kind_name(&self) -> &str;

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
    Watching { revision: String, events: Changes<O>, since: Instant },
}

/// What one step of the machine came to.
enum Outcome<O> {
    /// The full state arrived.
    Listed(Vec<O>),
    /// The watch is open.
    Connected,
    /// Something changed.
    Changed(Event<O>),
    /// The server is alive, and nothing changed.
    Quiet,
    /// The server ended the watch, which had lasted this long.
    Ended(Duration),
    /// The revision is no longer known.
    Gone,
    /// It failed.
    Failed(Error),
}

/// How long to wait before the next step.
#[derive(Default)]
struct Backoff {
    failures: u32,
    due: bool,
}

impl Backoff {
    /// Something went well: the next failure counts as the first.
    fn progress(&mut self) {
        self.failures = 0;
    }

    fn failure(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.due = true;
    }

    /// The wait that is due now, if any.
    fn take(&mut self) -> Option<Duration> {
        std::mem::take(&mut self.due).then(|| jitter(pause(self.failures)))
    }
}

/// Lists, then watches, for ever. Failures are reported and retried after a pause.
pub fn watcher<W: Watchable>(source: W, params: ListParams) -> impl Stream<Item = Result<Event<W::Object>>> + Send {
    let start = (source, params, State::Listing, Backoff::default());
    stream::unfold(start, |(source, params, mut state, mut backoff)| async move {
        loop {
            if let Some(wait) = backoff.take() {
                tokio::time::sleep(wait).await;
            }
            let (next, outcome) = step(&source, &params, state).await;
            state = next;
            let told = match outcome {
                // A list alone is no progress: its revision may be gone again when the watch begins.
                Outcome::Listed(objects) => Ok(Event::Restarted(objects)),
                Outcome::Changed(event) => {
                    backoff.progress();
                    Ok(event)
                }
                Outcome::Failed(error) => {
                    backoff.failure();
                    Err(error)
                }
                Outcome::Connected => continue,
                Outcome::Quiet => {
                    backoff.progress();
                    continue;
                }
                // A server ends watches from time to time; that is no failure, unless it does at once.
                Outcome::Ended(lasted) if lasted >= PAUSE_MAX => {
                    backoff.progress();
                    continue;
                }
                Outcome::Ended(_) | Outcome::Gone => {
                    backoff.failure();
                    continue;
                }
            };
            return Some((told, (source, params, state, backoff)));
        }
    })
}

fn pause(failures: u32) -> Duration {
    PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(PAUSE_MAX)
}

/// Half to all of a pause, so that many watchers do not come back at the same instant.
fn jitter(pause: Duration) -> Duration {
    let random = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
    pause / 2 + pause / 2 * random / u32::from(u8::MAX)
}

async fn step<W: Watchable>(
    source: &W,
    params: &ListParams,
    state: State<W::Object>,
) -> (State<W::Object>, Outcome<W::Object>) {
    match state {
        State::Listing => match source.list_objects(params).await {
            Ok((objects, revision)) => (State::Connecting { revision }, Outcome::Listed(objects)),
            Err(error) => (State::Listing, Outcome::Failed(error)),
        },
        State::Connecting { revision } => match source.watch_objects(params, &revision).await {
            Ok(events) => (State::Watching { revision, events, since: Instant::now() }, Outcome::Connected),
            Err(error) if error.is_gone() => (State::Listing, Outcome::Gone),
            Err(error) => (State::Connecting { revision }, Outcome::Failed(error)),
        },
        State::Watching { revision, mut events, since } => match events.next().await {
            None => (State::Connecting { revision }, Outcome::Ended(since.elapsed())),
            Some(Err(error)) if error.is_gone() => (State::Listing, Outcome::Gone),
            Some(Err(error)) => (State::Connecting { revision }, Outcome::Failed(error)),
            Some(Ok(WatchEvent::Bookmark(revision))) => (State::Watching { revision, events, since }, Outcome::Quiet),
            Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                let revision = W::revision(&object).unwrap_or(revision);
                (State::Watching { revision, events, since }, Outcome::Changed(Event::Applied(object)))
            }
            Some(Ok(WatchEvent::Deleted(object))) => {
                let revision = W::revision(&object).unwrap_or(revision);
                (State::Watching { revision, events, since }, Outcome::Changed(Event::Deleted(object)))
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

#[cfg(test)]
mod tests;
