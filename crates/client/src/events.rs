//! Events about objects (`v1 Event`), counted together when they repeat.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use api::{
    Kind, ObjectKey, ObjectMeta, Resource, Time,
    kinds::Event as CoreEvent,
    meta::{DEFAULT_NAMESPACE, NAME_MAX},
};
use indexmap::IndexMap;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{Api, Client};

/// Events that may wait to be written; more are dropped and counted in the log.
pub const QUEUE: usize = 1024;
/// Events remembered to be counted together with later ones of the same kind.
pub const REMEMBERED: usize = 1024;
/// Longest message in bytes, as in Kubernetes.
pub const MESSAGE_MAX_BYTES: usize = 1024;
/// How long writing the events that still wait may take at the end.
pub const DRAIN: Duration = Duration::from_secs(2);
/// Letters that tell events about one object apart.
const SUFFIX: usize = 16;
/// Tries to write an event before it is given up.
const TRIES: u32 = 3;

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// All is well.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Hands out events without waiting.
#[derive(Clone, Debug)]
pub struct EventRecorder {
    component: &'static str,
    host: String,
    queue: mpsc::Sender<CoreEvent>,
    dropped: Arc<AtomicU64>,
}

/// Writes what recorders hand out.
#[derive(Debug)]
pub struct EventWriter {
    client: Client,
    queue: mpsc::Receiver<CoreEvent>,
    written: IndexMap<String, (ObjectKey, i32)>,
}

impl EventRecorder {
    /// A recorder for a component on a host, and the writer that must run for it.
    pub fn new(client: Client, component: &'static str, host: impl Into<String>) -> (Self, EventWriter) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let recorder = Self { component, host: host.into(), queue: sender, dropped: Arc::default() };
        (recorder, EventWriter { client, queue, written: IndexMap::new() })
    }

    /// Records that something happened to an object.
    pub fn record<R: Resource>(&self, about: &R, severity: Severity, reason: &str, message: impl Into<String>) {
        self.record_with(about, severity, reason, message, HashMap::new());
    }

    /// Records an event with annotations, for facts that tools read.
    pub fn record_with<R: Resource>(
        &self,
        about: &R,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
        facts: HashMap<String, String>,
    ) {
        let about = reference(&Kind::of::<R>(), about.meta());
        self.send(self.event(about, severity, reason, message.into(), facts));
    }

    /// Records that something happened to an object of a kind that is known only at run time.
    pub fn record_dynamic(
        &self,
        kind: &Kind,
        about: &Value,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
    ) {
        // Metadata that cannot be read leaves an event about a kind alone.
        let meta: ObjectMeta = serde_json::from_value(about["metadata"].clone()).unwrap_or_default();
        self.send(self.event(reference(kind, &meta), severity, reason, message.into(), HashMap::new()));
    }

    fn send(&self, event: CoreEvent) {
        let reason = event.reason.clone();
        if self.queue.try_send(event).is_err() {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            // The first, the second, the fourth…: a flood of events must not become a flood of lines.
            if dropped.is_power_of_two() {
                tracing::warn!(reason, component = self.component, dropped, "events dropped: too many are waiting");
            }
        }
    }

    /// How many events were dropped because too many were waiting.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn event(
        &self,
        about: ObjectReference,
        severity: Severity,
        reason: &str,
        message: String,
        facts: HashMap<String, String>,
    ) -> CoreEvent {
        let instant = Timestamp::now();
        let now = Time(instant);
        let (name, namespace) = (about.name.clone().unwrap_or_default(), about.namespace.clone());
        let mut event = CoreEvent {
            involved_object: about,
            type_: Some(format!("{severity:?}")),
            reason: Some(reason.into()),
            // An event with a time says what was done, too; the reasons of ours are words for that.
            action: Some(reason.into()),
            event_time: Some(MicroTime(instant)),
            message: Some(shorten(message)),
            count: Some(1),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            reporting_component: Some(self.component.into()),
            reporting_instance: Some(self.host.clone()),
            source: Some(EventSource { component: Some(self.component.into()), host: Some(self.host.clone()) }),
            ..CoreEvent::default()
        };
        event.metadata.namespace = Some(namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.into()));
        event.metadata.name = Some(event_name(&name));
        event.metadata.annotations = (!facts.is_empty()).then(|| facts.into_iter().collect());
        event
    }
}

fn reference(kind: &Kind, meta: &ObjectMeta) -> ObjectReference {
    ObjectReference {
        api_version: Some(kind.api_version()),
        kind: Some(kind.kind().into()),
        name: Some(meta.name.clone().unwrap_or_default()),
        namespace: meta.namespace.clone(),
        resource_version: meta.resource_version.clone(),
        uid: meta.uid.clone(),
        field_path: None,
    }
}

impl EventWriter {
    /// Writes events until `stop`, then those still waiting.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(Some(event)) = stop.run_until_cancelled(self.queue.recv()).await {
            self.write(event).await;
        }
        let rest = async {
            while let Ok(event) = self.queue.try_recv() {
                self.write(event).await;
            }
        };
        if tokio::time::timeout(DRAIN, rest).await.is_err() {
            tracing::warn!("events that still waited at the end were not written");
        }
    }

    async fn write(&mut self, event: CoreEvent) {
        for attempt in 1..=TRIES {
            match self.try_write(&event).await {
                Ok(()) => return,
                Err(error) if attempt == TRIES || !error.is_transient() => {
                    tracing::debug!(%error, reason = event.reason, "event not written");
                    return;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100) * attempt).await,
            }
        }
    }

    async fn try_write(&mut self, event: &CoreEvent) -> crate::Result<()> {
        let identity = identity(event);
        let api =
            Api::<CoreEvent>::namespaced(self.client.clone(), event.metadata.namespace.as_deref().unwrap_or_default());
        let mut count = 1;
        let mut key = ObjectKey::of(event);
        if let Some((earlier, counted)) = self.written.get(&identity) {
            let changes = json!({"count": counted + 1, "lastTimestamp": event.last_timestamp});
            match api.patch_merge(&earlier.name, &changes).await {
                Ok(_) => (key, count) = (earlier.clone(), counted + 1),
                // It expired in the meantime: begin anew.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        if count == 1 {
            match api.create(event).await {
                // An earlier try arrived although its answer did not.
                Err(error) if error.is_already_exists() => {}
                other => drop(other?),
            }
        }
        self.remember(identity, key, count);
        Ok(())
    }

    /// Keeps the events written last, the latest at the end.
    fn remember(&mut self, identity: String, key: ObjectKey, count: i32) {
        self.written.shift_remove(&identity);
        if self.written.len() >= REMEMBERED {
            self.written.shift_remove_index(0);
        }
        self.written.insert(identity, (key, count));
    }
}

/// Events with the same identity are counted together.
fn identity(event: &CoreEvent) -> String {
    let about = &event.involved_object;
    format!("{:?}/{:?}/{:?}/{:?}/{:?}", about.uid, about.name, event.type_, event.reason, event.message)
}

/// A name of its own for every event, after the object it is about and as short as names must be.
fn event_name(about: &str) -> String {
    let suffix = uuid::Uuid::new_v4().simple().to_string();
    let mut prefix = about;
    if let Some((end, _)) = about.char_indices().nth(NAME_MAX - SUFFIX - 1) {
        prefix = about[..end].trim_end_matches(['.', '-']);
    }
    format!("{prefix}.{}", &suffix[..SUFFIX])
}

fn shorten(mut message: String) -> String {
    if message.len() > MESSAGE_MAX_BYTES {
        let mut end = MESSAGE_MAX_BYTES - '…'.len_utf8();
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests;
