//! Errors as the API returns them: Kubernetes' `Status`, with a trace id and a remedy.

use serde::{Deserialize, Serialize};

use crate::{field_error::FieldError, reason::Reason};

/// A failed request (`meta/v1 Status`).
///
/// `reason` is the stable machine-readable code; `trace_id` finds the request in the server's log;
/// `remedy`, when set, says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Always `v1`.
    #[serde(default = "v1")]
    pub api_version: String,
    /// Always `Status`.
    #[serde(default = "status_kind")]
    pub kind: String,
    /// Empty list metadata, as clients expect it.
    #[serde(default)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// `Failure` or `Success`.
    pub status: String,
    /// What happened, for a person.
    #[serde(default)]
    pub message: String,
    /// Stable machine-readable reason.
    #[serde(default)]
    pub reason: Reason,
    /// What the error is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<StatusDetails>,
    /// HTTP status code.
    #[serde(default)]
    pub code: u16,
    /// Id of the request in the server's log.
    #[serde(default, rename = "trace_id", skip_serializing_if = "String::is_empty")]
    pub trace_id: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

/// What a [`Status`] is about (`StatusDetails`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusDetails {
    /// Name of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Group of the kind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Plural of the kind, as Kubernetes puts it here.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// One entry per field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<StatusCause>,
    /// Seconds to wait before the next try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
}

/// One field that is wrong (`StatusCause`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusCause {
    /// Stable reason such as `FieldValueInvalid`.
    #[serde(default)]
    pub reason: String,
    /// For a person.
    #[serde(default)]
    pub message: String,
    /// Path of the field.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

fn v1() -> String {
    "v1".into()
}

fn status_kind() -> String {
    "Status".into()
}

impl Status {
    /// A failure with its reason, whose HTTP code it has, and a message.
    pub fn failure(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            api_version: v1(),
            kind: status_kind(),
            metadata: serde_json::Map::new(),
            status: "Failure".into(),
            message: message.into(),
            code: reason.code(),
            reason,
            details: None,
            trace_id: String::new(),
            remedy: String::new(),
        }
    }

    /// A failure of which HTTP's code is known, and a word for a code that has no reason of its own.
    pub fn of_code(code: u16, word: &str, message: impl Into<String>) -> Self {
        let reason = Reason::of_code(code).unwrap_or_else(|| Reason::Other(word.replace(' ', "")));
        Self { code, ..Self::failure(reason, message) }
    }

    /// The reason, or what the code says when the reason is none that is known.
    pub fn class(&self) -> Reason {
        match &self.reason {
            Reason::Other(_) => Reason::of_code(self.code).unwrap_or_else(|| self.reason.clone()),
            known => known.clone(),
        }
    }

    /// 404: no such object. `resource` is the plural, with its group.
    pub fn not_found(resource: &str, name: &str) -> Self {
        Self::failure(Reason::NotFound, format!("{resource} {name:?} not found")).about(resource, name)
    }

    /// 409: the name is taken.
    pub fn already_exists(resource: &str, name: &str) -> Self {
        Self::failure(Reason::AlreadyExists, format!("{resource} {name:?} already exists")).about(resource, name)
    }

    /// 409: another writer changed the object.
    pub fn conflict(resource: &str, name: &str, message: &str) -> Self {
        Self::failure(Reason::Conflict, format!("Operation cannot be fulfilled on {resource} {name:?}: {message}"))
            .about(resource, name)
            .with_remedy("read the object again, apply your change to the latest version and retry")
    }

    /// 422: fields are wrong; every one is a cause.
    pub fn invalid(kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let text: Vec<_> = errors
            .iter()
            .map(|e| if e.field.is_empty() { e.message.clone() } else { format!("{}: {}", e.field, e.message) })
            .collect();
        let mut status = Self::failure(Reason::Invalid, format!("{kind} {name:?} is invalid: {}", text.join("; ")))
            .about(kind, name);
        if let Some(details) = &mut status.details {
            details.causes = errors
                .iter()
                .map(|e| StatusCause { reason: e.reason.into(), message: e.message.clone(), field: e.field.clone() })
                .collect();
        }
        status
    }

    /// Names the object the failure is about.
    #[must_use]
    pub fn about(mut self, resource: &str, name: &str) -> Self {
        let (kind, group) = resource.split_once('.').unwrap_or((resource, ""));
        let details = self.details.get_or_insert_default();
        details.name = name.into();
        details.kind = kind.into();
        details.group = group.into();
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.message.is_empty() { self.reason.word() } else { &self.message })
    }
}

impl std::error::Error for Status {}
