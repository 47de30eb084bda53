//! `v1 Secret`. Stored sealed; see `trust::Envelope`.

use k8s_openapi::ByteString;

pub use k8s_openapi::api::core::v1::Secret;

use super::config_map::{key_errors, same, size_error, still_immutable};
use crate::{
    Column, FieldError,
    names::{annotation::SERVICE_ACCOUNT, secret_type},
};

kubernetes_kind!(Secret, plural: "secrets", singular: "secret", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::SECRET;
    const CONFIDENTIAL: bool = true;

    fn apply_defaults(&mut self) {
        if self.type_.as_deref().unwrap_or_default().is_empty() {
            self.type_ = Some(secret_type::OPAQUE.into());
        }
        // `stringData` is write-only: it becomes `data` (Secret v1).
        for (key, value) in self.string_data.take().into_iter().flatten() {
            self.data.get_or_insert_default().insert(key, ByteString(value.into_bytes()));
        }
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let mut errors = key_errors("data", self.data.iter().flatten().map(|(key, _)| key.as_str()));
        errors.extend(size_error(self.data.iter().flatten().map(|(_, value)| value.0.len()).sum()));
        errors.extend(type_errors(self));
        if let Some(old) = old {
            if old.type_ != self.type_ {
                errors.push(FieldError::invalid("type", "cannot change: delete the secret and create it again"));
            }
            if old.immutable == Some(true) {
                errors.extend((self.immutable != Some(true)).then(|| still_immutable("immutable")));
                errors.extend((!same(&old.data, &self.data)).then(|| still_immutable("data")));
            }
        }
        errors
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::text("Type", "What the secret is for", |secret: &Self, _| secret.type_.clone().into()),
            Column::text("Data", "Number of keys", |secret: &Self, _| secret.data.as_ref().map_or(0, |d| d.len()).into()).integer(),
        ]
    }

    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        vec![("type", self.type_.clone().unwrap_or_default())]
    }
});

/// What the type of a secret asks of its data.
fn type_errors(secret: &Secret) -> Vec<FieldError> {
    let value = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.as_slice());
    let required = |key: &str, message: &str| Some(FieldError::required(format!("data[{key}]"), message));
    let present = |key: &str| if value(key).is_none() { required(key, "the secret's type needs it") } else { None };
    let json = |key: &str| match value(key) {
        None => required(key, "the secret's type needs it"),
        // The value is confidential: the error must not show it.
        Some(text) if serde_json::from_slice::<serde::de::IgnoredAny>(text).is_err() => {
            Some(FieldError::invalid(format!("data[{key}]"), "must be JSON"))
        }
        Some(_) => None,
    };
    let found = match secret.type_.as_deref().unwrap_or_default() {
        secret_type::DOCKER_CONFIG => [json(".dockercfg"), None],
        secret_type::DOCKER_CONFIG_JSON => [json(".dockerconfigjson"), None],
        secret_type::BASIC_AUTH if value("username").is_none() && value("password").is_none() => {
            ["username", "password"].map(|key| required(key, "give username, password or both"))
        }
        secret_type::SSH_AUTH if value("ssh-privatekey").is_none_or(<[u8]>::is_empty) => {
            [required("ssh-privatekey", "the secret's type needs a key"), None]
        }
        secret_type::TLS => ["tls.crt", "tls.key"].map(present),
        secret_type::SERVICE_ACCOUNT_TOKEN => {
            let named = secret
                .metadata
                .annotations
                .iter()
                .any(|all| all.get(SERVICE_ACCOUNT).is_some_and(|name| !name.is_empty()));
            let field = format!("metadata.annotations[{SERVICE_ACCOUNT}]");
            [(!named).then(|| FieldError::required(field, "name the service account of the token")), None]
        }
        _ => [None, None],
    };
    found.into_iter().flatten().collect()
}
