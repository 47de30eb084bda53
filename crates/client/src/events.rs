//! Events about objects (`v1 Event`), counted together when they repeat.

use std::{collections::HashMap, time::Duration};

use api::{ObjectKey, Resource, Time, kinds::Event as CoreEvent};
use indexmap::IndexMap;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EventSource, ObjectReference};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{Api, Client};

/// Events that may wait to be written; more are dropped and counted in the log.
pub const QUEUE: usize = 1024;
/// Events remembered to be counted together with later ones of the same kind.
pub const REMEMBERED: usize = 1024;
/// Longest message in bytes, as in Kubernetes.
pub const MESSAGE_MAX_BYTES: usize = 1024;
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
        let recorder = Self { component, host: host.into(), queue: sender };
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
        let event = self.event(about, severity, reason, message.into(), facts);
        if self.queue.try_send(event).is_err() {
            tracing::warn!(reason, component = self.component, "event dropped: too many are waiting");
        }
    }

    fn event<R: Resource>(
        &self,
        about: &R,
        severity: Severity,
        reason: &str,
        message: String,
        facts: HashMap<String, String>,
    ) -> CoreEvent {
        let (meta, now) = (about.meta(), Time(Timestamp::now()));
        let name = meta.name.clone().unwrap_or_default();
        let mut event = CoreEvent {
            involved_object: ObjectReference {
                api_version: Some(R::api_version()),
                kind: Some(R::KIND.into()),
                name: Some(name.clone()),
                namespace: meta.namespace.clone(),
                resource_version: meta.resource_version.clone(),
                uid: meta.uid.clone(),
                field_path: None,
            },
            type_: Some(format!("{severity:?}")),
            reason: Some(reason.into()),
            message: Some(shorten(message)),
            count: Some(1),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            reporting_component: Some(self.component.into()),
            reporting_instance: Some(self.host.clone()),
            source: Some(EventSource { component: Some(self.component.into()), host: Some(self.host.clone()) }),
            ..CoreEvent::default()
        };
        event.metadata.namespace = Some(meta.namespace.clone().unwrap_or_else(|| "default".into()));
        event.metadata.name = Some(format!("{name}.{}", &uuid::Uuid::new_v4().simple().to_string()[..16]));
        event.metadata.annotations = (!facts.is_empty()).then(|| facts.into_iter().collect());
        event
    }
}

impl EventWriter {
    /// Writes events until `stop`, then those still waiting.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(Some(event)) = stop.run_until_cancelled(self.queue.recv()).await {
            self.write(event).await;
        }
        while let Ok(event) = self.queue.try_recv() {
            self.write(event).await;
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
        if let Some((key, count)) = self.written.get_mut(&identity) {
            *count += 1;
            let changes = json!({"count": *count, "lastTimestamp": event.last_timestamp});
            match api.patch_merge(&key.name, &changes).await {
                // It expired in the meantime: begin anew.
                Err(error) if error.is_not_found() => {}
                other => return other.map(drop),
            }
        }
        let created = api.create(event).await?;
        if self.written.len() >= REMEMBERED {
            self.written.shift_remove_index(0);
        }
        self.written.insert(identity, (ObjectKey::of(&created), 1));
        Ok(())
    }
}

/// Events with the same identity are counted together.
fn identity(event: &CoreEvent) -> String {
    let about = &event.involved_object;
    format!("{:?}/{:?}/{:?}/{:?}/{:?}", about.uid, about.name, event.type_, event.reason, event.message)
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
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_between_characters() {
        let cut = shorten("ä".repeat(MESSAGE_MAX_BYTES));
        assert!(cut.len() <= MESSAGE_MAX_BYTES && cut.ends_with("ä…"));
        assert_eq!(shorten("short".into()), "short");
    }
}
