//! `v1 ConfigMap`.

pub use k8s_openapi::api::core::v1::ConfigMap;

use crate::{Column, FieldError};

/// Most bytes of one ConfigMap or Secret, as in Kubernetes.
pub const DATA_MAX_BYTES: usize = 1024 * 1024;

kubernetes_kind!(ConfigMap, plural: "configmaps", singular: "configmap", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::CONFIG_MAP;
    const SHORT_NAMES: &'static [&'static str] = &["cm"];

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let keys = self.data.iter().flatten().map(|(key, _)| key).chain(self.binary_data.iter().flatten().map(|(key, _)| key));
        let mut errors = validate_keys(keys.map(String::as_str));
        let size: usize = self.data.iter().flatten().map(|(_, value)| value.len()).sum::<usize>()
            + self.binary_data.iter().flatten().map(|(_, value)| value.0.len()).sum::<usize>();
        if size > DATA_MAX_BYTES {
            errors.push(FieldError::invalid("data", format!("{size} bytes in all, at most {DATA_MAX_BYTES} are allowed")));
        }
        if old.is_some_and(|old| old.immutable == Some(true) && (old.data != self.data || old.binary_data != self.binary_data)) {
            errors.push(FieldError::immutable("data"));
        }
        errors
    }

    fn columns() -> Vec<Column<Self>> {
        vec![Column::text("Data", "Number of keys", |map: &Self, _| {
            (map.data.as_ref().map_or(0, |d| d.len()) + map.binary_data.as_ref().map_or(0, |d| d.len())).into()
        }).integer()]
    }
});

/// Keys become file names, so they are limited to what is safe as one.
pub(super) fn validate_keys<'a>(keys: impl Iterator<Item = &'a str>) -> Vec<FieldError> {
    let fits = |key: &str| {
        !key.is_empty()
            && key.len() <= 253
            && key != "."
            && !key.starts_with("..")
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    keys.filter(|key| !fits(key))
        .map(|key| FieldError::invalid(format!("data.{key}"), "a key is letters, digits, '-', '_' or '.', and no path"))
        .collect()
}
