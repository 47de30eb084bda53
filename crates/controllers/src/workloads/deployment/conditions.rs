//! Conditions of deployments, with Kubernetes' types, reasons and texts.

use api::Time;
use k8s_openapi::api::apps::v1::DeploymentCondition;

/// Enough pods are available.
pub(super) const AVAILABLE: &str = "Available";
/// The rollout goes on, or is done.
pub(super) const PROGRESSING: &str = "Progressing";
/// Pods cannot be created or deleted.
pub(super) const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Reasons of [`PROGRESSING`].
pub(super) mod reason {
    pub(in super::super) const CREATED: &str = "NewReplicaSetCreated";
    pub(in super::super) const FOUND: &str = "FoundNewReplicaSet";
    pub(in super::super) const UPDATED: &str = "ReplicaSetUpdated";
    pub(in super::super) const DONE: &str = "NewReplicaSetAvailable";
    pub(in super::super) const STUCK: &str = "ProgressDeadlineExceeded";
    pub(in super::super) const PAUSED: &str = "DeploymentPaused";
    pub(in super::super) const RESUMED: &str = "DeploymentResumed";
}

/// The conditions of a deployment.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    all: Vec<DeploymentCondition>,
    now: Time,
}

impl Conditions {
    pub(super) fn new(all: Option<Vec<DeploymentCondition>>, now: Time) -> Self {
        Self { all: all.unwrap_or_default(), now }
    }

    pub(super) fn get(&self, kind: &str) -> Option<&DeploymentCondition> {
        self.all.iter().find(|condition| condition.type_ == kind)
    }

    /// The reason of a condition.
    pub(super) fn reason(&self, kind: &str) -> Option<&str> {
        self.get(kind)?.reason.as_deref()
    }

    /// Sets a condition, unless it has this status and reason already.
    pub(super) fn set(&mut self, kind: &str, status: bool, reason: &str, message: String) {
        let known = self.get(kind).filter(|known| known.status == word(status));
        if known.is_some_and(|known| known.reason.as_deref() == Some(reason)) {
            return;
        }
        let since = known.and_then(|known| known.last_transition_time.clone());
        self.put(kind, word(status), reason, message, since);
    }

    /// Sets a condition, and notes that there was progress.
    pub(super) fn renew(&mut self, kind: &str, reason: &str, message: String) {
        let known = self.get(kind).filter(|known| known.status == word(true));
        let since = known.and_then(|known| known.last_transition_time.clone());
        self.put(kind, word(true), reason, message, since);
    }

    /// Notes that nobody expects progress, or that it is expected again.
    pub(super) fn rest(&mut self, reason: &str, message: &str) {
        self.put(PROGRESSING, "Unknown", reason, message.into(), None);
    }

    pub(super) fn remove(&mut self, kind: &str) {
        self.all.retain(|condition| condition.type_ != kind);
    }

    pub(super) fn into_list(self) -> Option<Vec<DeploymentCondition>> {
        (!self.all.is_empty()).then_some(self.all)
    }

    /// Puts a condition in the place that it has, so that a status which says the same is the same.
    fn put(&mut self, kind: &str, status: &str, reason: &str, message: String, since: Option<Time>) {
        let condition = DeploymentCondition {
            last_transition_time: Some(since.unwrap_or_else(|| self.now.clone())),
            last_update_time: Some(self.now.clone()),
            message: Some(message),
            reason: Some(reason.into()),
            status: status.into(),
            type_: kind.into(),
        };
        match self.all.iter_mut().find(|known| known.type_ == kind) {
            Some(known) => *known = condition,
            None => self.all.push(condition),
        }
    }
}

fn word(status: bool) -> &'static str {
    if status { "True" } else { "False" }
}
