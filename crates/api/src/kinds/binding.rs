//! `nanocloud.io/v1 Binding`: a command that runs once in another bundle's container.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Column, FieldError, Resource, Scope, meta::is_dns_label};

/// Seconds a binding may take unless it says otherwise.
pub const TIMEOUT_SECONDS: u32 = 90;

/// Longest time a binding may take, in seconds.
pub const TIMEOUT_SECONDS_MAX: u32 = 3_600;
/// Most words of a command.
pub const COMMAND_MAX: usize = 256;
/// Most bytes of all words of a command.
pub const COMMAND_MAX_BYTES: usize = 64 * 1024;
/// Most parameters of a command.
pub const PARAMETERS_MAX: usize = 256;
/// Longest value of a parameter, in bytes.
pub const VALUE_MAX_BYTES: usize = 64 * 1024;

/// End of the token of a run that takes back what an earlier run made.
pub const UNDO_MARK: &str = "-undo";

/// One step of making a bundle's dependency ready for it, such as creating its database user.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.Binding")]
pub struct Binding {
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What to run, and where.
    pub spec: BindingSpec,
    /// How it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<BindingStatus>,
}

/// What to run, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.BindingSpec")]
#[serde(rename_all = "camelCase")]
pub struct BindingSpec {
    /// Bundle that needs the binding.
    pub bundle: String,
    /// Stable id of the binding, such as `create_user`.
    pub binding_id: String,
    /// Whose container runs the command.
    pub target: BindingTarget,
    /// Program and arguments, as in the target's image.
    pub command: Vec<String>,
    /// Values handed to the command on file descriptor 3.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, BindingParameter>,
    /// What takes it back when the bundle is uninstalled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<BindingUndo>,
    /// Seconds until the command is killed.
    #[serde(default = "timeout")]
    pub timeout_seconds: u32,
    /// Idempotency token: a changed token asks for a new run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
}

/// Whose container runs the command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.BindingTarget")]
#[serde(rename_all = "camelCase")]
pub struct BindingTarget {
    /// Bundle whose main container it is; its pod is `<bundle>-0`.
    pub bundle: String,
    /// Service of that bundle.
    pub service: String,
}

/// A command that takes back what another one made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.BindingUndo")]
#[serde(rename_all = "camelCase")]
pub struct BindingUndo {
    /// Stable id of the command, such as `revoke_user`.
    pub binding_id: String,
    /// Program and arguments, as in the target's image.
    pub command: Vec<String>,
    /// Values handed to the command on file descriptor 3.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, BindingParameter>,
}

/// A value, given here or held in a Secret of the same namespace. Exactly one is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.BindingParameter")]
#[serde(rename_all = "camelCase")]
pub struct BindingParameter {
    /// The value itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Key of a Secret that holds the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKey>,
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.SecretKey")]
pub struct SecretKey {
    /// Name of the Secret.
    pub name: String,
    /// Key in its data.
    pub key: String,
}

/// How far a binding is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.BindingPhase")]
pub enum BindingPhase {
    /// Not yet started.
    #[default]
    Pending,
    /// The command runs.
    Running,
    /// The command exited 0.
    Completed,
    /// The command failed. It runs again when another token asks for that.
    Failed,
    /// The command was killed after its timeout. It runs again when another token asks for that.
    TimedOut,
}

/// How a binding went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.BindingStatus")]
#[serde(rename_all = "camelCase")]
pub struct BindingStatus {
    /// How far it is.
    #[serde(default)]
    pub phase: BindingPhase,
    /// Token of the run this status is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// Number of the run, as its token has it.
    #[serde(default)]
    pub attempts: u32,
    /// Exit code of the last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Start of the last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// End of the last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Milliseconds the last run took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Output of the last run, without secrets and cut to a few lines.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

fn timeout() -> u32 {
    TIMEOUT_SECONDS
}

impl Binding {
    /// Whether it takes back what its earlier runs made.
    pub fn revokes(&self) -> bool {
        self.spec.token.ends_with(UNDO_MARK)
    }

    /// Number of the run that the token asks for, the first is 1: a controller writes `<base>-<number>`, and
    /// `<token>.<number>-undo` for a command that takes something back.
    pub fn attempt(&self) -> u32 {
        let token = self.spec.token.as_str();
        let number = match token.strip_suffix(UNDO_MARK) {
            Some(made) => made.rsplit_once('.'),
            None => token.rsplit_once('-'),
        };
        number.and_then(|(_, number)| number.parse().ok()).filter(|number| *number > 0).unwrap_or(1)
    }

    /// How far the run with the wanted token is.
    pub fn phase(&self) -> BindingPhase {
        self.status
            .as_ref()
            .filter(|status| status.token == self.spec.token)
            .map(|status| status.phase)
            .unwrap_or_default()
    }
}

impl Resource for Binding {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::BINDING;
    const GROUP: &'static str = crate::names::group::NANOCLOUD;
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "Binding";
    const PLURAL: &'static str = "bindings";
    const SINGULAR: &'static str = "binding";
    const SCOPE: Scope = Scope::Namespaced;
    const HAS_STATUS: bool = true;
    const STRICT: bool = true;

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn validate(&self, _old: Option<&Self>) -> Vec<FieldError> {
        let spec = &self.spec;
        let mut errors = command_errors(&spec.command, &spec.parameters, "spec");
        if let Some(undo) = &spec.undo {
            errors.extend(command_errors(&undo.command, &undo.parameters, "spec.undo"));
        }
        if !(1..=TIMEOUT_SECONDS_MAX).contains(&spec.timeout_seconds) {
            let message = format!("must be between 1 and {TIMEOUT_SECONDS_MAX}");
            errors.push(FieldError::invalid("spec.timeoutSeconds", message));
        }
        for (field, bundle) in [("spec.bundle", &spec.bundle), ("spec.target.bundle", &spec.target.bundle)] {
            if !is_dns_label(bundle) {
                errors.push(FieldError::invalid(field, "must be the name of a bundle (RFC 1123 label)"));
            }
        }
        errors
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::text("Bundle", "Bundle that needs it", |binding: &Self, _| binding.spec.bundle.clone().into()),
            Column::text("Target", "Bundle that runs it", |binding: &Self, _| {
                binding.spec.target.bundle.clone().into()
            }),
            Column::text("Phase", "How far it is", |binding: &Self, _| format!("{:?}", binding.phase()).into()),
            Column::text("Attempts", "How often it was started", |binding: &Self, _| {
                binding.status.as_ref().map_or(0, |status| status.attempts).into()
            })
            .integer(),
        ]
    }
}

/// What is wrong with a command and its parameters in `field`.
fn command_errors(command: &[String], parameters: &BTreeMap<String, BindingParameter>, field: &str) -> Vec<FieldError> {
    let at = |name: &str| format!("{field}.{name}");
    let mut errors = Vec::new();
    let bytes: usize = command.iter().map(String::len).sum();
    if command.is_empty() {
        errors.push(FieldError::required(at("command"), "name the program to run"));
    } else if command.len() > COMMAND_MAX {
        errors.push(FieldError::too_many(at("command"), command.len(), COMMAND_MAX));
    } else if bytes > COMMAND_MAX_BYTES {
        let message = format!("{bytes} bytes in all, at most {COMMAND_MAX_BYTES} are allowed");
        errors.push(FieldError::too_long(at("command"), message));
    }
    if parameters.len() > PARAMETERS_MAX {
        errors.push(FieldError::too_many(at("parameters"), parameters.len(), PARAMETERS_MAX));
        return errors;
    }
    for (name, parameter) in parameters {
        let field = at(&format!("parameters.{name}"));
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty() || !name.bytes().all(plain) {
            errors.push(FieldError::invalid(field.clone(), "a parameter name is letters, digits or '_'"));
        }
        if parameter.value.as_ref().is_some_and(|value| value.len() > VALUE_MAX_BYTES) {
            let message = format!("at most {VALUE_MAX_BYTES} bytes are allowed");
            errors.push(FieldError::too_long(field.clone(), message));
        }
        if parameter.value.is_some() == parameter.secret_key_ref.is_some() {
            errors.push(FieldError::invalid(field, "set either value or secretKeyRef"));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_has_the_number_of_the_run() {
        for (token, wanted) in [
            ("abc-1", 1),
            ("abc-17", 17),
            ("abc-1-undo", 1),
            ("abc-1.3-undo", 3),
            ("t1", 1),
            ("", 1),
            ("abc-0", 1),
            ("abc-99999999999", 1),
        ] {
            let spec = serde_json::json!({"bundle": "b", "bindingId": "i", "command": ["x"], "token": token,
                "target": {"bundle": "t", "service": "s"}});
            let binding: Binding = serde_json::from_value(serde_json::json!({"spec": spec})).unwrap();
            assert_eq!(binding.attempt(), wanted, "{token}");
        }
    }
}
