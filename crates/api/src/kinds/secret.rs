//! `v1 Secret`. Stored sealed; see `trust::Envelope`.

use k8s_openapi::ByteString;

pub use k8s_openapi::api::core::v1::Secret;

use super::config_map::{DATA_MAX_BYTES, validate_keys};
use crate::{Column, FieldError};

kubernetes_kind!(Secret, plural: "secrets", singular: "secret", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::SECRET;
    const CONFIDENTIAL: bool = true;

    fn apply_defaults(&mut self) {
        self.type_.get_or_insert_with(|| "Opaque".into());
        // `stringData` is write-only: it becomes `data` (Secret v1).
        for (key, value) in self.string_data.take().into_iter().flatten() {
            self.data.get_or_insert_default().insert(key, ByteString(value.into_bytes()));
        }
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let mut errors = validate_keys(self.data.iter().flatten().map(|(key, _)| key.as_str()));
        let size: usize = self.data.iter().flatten().map(|(_, value)| value.0.len()).sum();
        if size > DATA_MAX_BYTES {
            errors.push(FieldError::invalid("data", format!("{size} bytes in all, at most {DATA_MAX_BYTES} are allowed")));
        }
        if let Some(old) = old {
            if old.type_ != self.type_ {
                errors.push(FieldError::immutable("type"));
            }
            if old.immutable == Some(true) && old.data != self.data {
                errors.push(FieldError::immutable("data"));
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
