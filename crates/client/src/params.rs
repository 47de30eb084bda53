//! Parameters of requests, in the words of the Kubernetes API.

use serde::Serialize;

/// Which objects to list or watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListParams {
    /// Label selector, such as `app=web,tier!=cache`.
    pub labels: Option<String>,
    /// Field selector, such as `spec.nodeName=one`.
    pub fields: Option<String>,
    /// Most objects in one answer.
    pub limit: Option<u32>,
    /// Where the answer before this one ended.
    pub continue_token: Option<String>,
}

impl ListParams {
    /// Selects by labels.
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.labels = Some(selector.into());
        self
    }

    /// Selects by fields.
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = Some(selector.into());
        self
    }

    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        query.extend(self.labels.iter().map(|text| ("labelSelector", text.clone())));
        query.extend(self.fields.iter().map(|text| ("fieldSelector", text.clone())));
        query.extend(self.limit.iter().map(|limit| ("limit", limit.to_string())));
        query.extend(self.continue_token.iter().map(|token| ("continue", token.clone())));
        query
    }
}

/// What happens to the objects that a deleted object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Propagation {
    /// They are deleted afterwards.
    Background,
    /// They are deleted first.
    Foreground,
    /// They stay.
    Orphan,
}

/// How to delete (`DeleteOptions`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteParams {
    /// Seconds of grace; 0 removes the object at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i64>,
    /// What happens to owned objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation_policy: Option<Propagation>,
    /// What must hold, else the request is a conflict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preconditions: Option<Preconditions>,
}

/// What must hold for a deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preconditions {
    /// The object's uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The object's revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

impl DeleteParams {
    /// Deletes at once, without grace.
    pub fn immediate() -> Self {
        Self { grace_period_seconds: Some(0), ..Self::default() }
    }

    /// Deletes only the object with this uid, and not a later one of the same name.
    #[must_use]
    pub fn uid(mut self, uid: impl Into<String>) -> Self {
        self.preconditions.get_or_insert_default().uid = Some(uid.into());
        self
    }
}

/// Which lines of a container's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogParams {
    /// Container; may be left out if the pod has one.
    pub container: Option<String>,
    /// Whether to wait for more.
    pub follow: bool,
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// Only lines of the last seconds.
    pub since_seconds: Option<u64>,
    /// Whether every line begins with its time.
    pub timestamps: bool,
    /// Whether to read the log of the container before the last restart.
    pub previous: bool,
}

impl LogParams {
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        query.extend(self.container.iter().map(|name| ("container", name.clone())));
        query.extend(self.tail_lines.iter().map(|count| ("tailLines", count.to_string())));
        query.extend(self.since_seconds.iter().map(|count| ("sinceSeconds", count.to_string())));
        for (name, set) in [("follow", self.follow), ("timestamps", self.timestamps), ("previous", self.previous)] {
            if set {
                query.push((name, "true".into()));
            }
        }
        query
    }
}
