//! `v1 ConfigMap`.

use std::collections::BTreeMap;

pub use k8s_openapi::api::core::v1::ConfigMap;

use crate::{Column, FieldError, meta::NAME_MAX};

/// Most bytes of one ConfigMap or Secret, as in Kubernetes.
pub const DATA_MAX_BYTES: usize = 1024 * 1024;

kubernetes_kind!(ConfigMap, plural: "configmaps", singular: "configmap", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::CONFIG_MAP;
    const SHORT_NAMES: &'static [&'static str] = &["cm"];

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let (data, binary) = (self.data.iter().flatten(), self.binary_data.iter().flatten());
        let mut errors = key_errors("data", data.clone().map(|(key, _)| key.as_str()));
        errors.extend(key_errors("binaryData", binary.clone().map(|(key, _)| key.as_str())));
        let twice = data.clone().map(|(key, _)| key).filter(|key| self.binary_data.iter().any(|all| all.contains_key(*key)));
        errors.extend(twice.map(|key| FieldError::invalid(format!("data[{key}]"), "is a key of binaryData, too: keep one")));
        let size: usize = data.map(|(_, value)| value.len()).sum::<usize>() + binary.map(|(_, value)| value.0.len()).sum::<usize>();
        errors.extend(size_error(size));
        if let Some(old) = old.filter(|old| old.immutable == Some(true)) {
            let is = |one: bool, field| (!one).then(|| still_immutable(field));
            errors.extend(is(self.immutable == Some(true), "immutable"));
            errors.extend(is(same(&old.data, &self.data), "data"));
            errors.extend(is(same(&old.binary_data, &self.binary_data), "binaryData"));
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
pub(super) fn key_errors<'a>(field: &str, keys: impl Iterator<Item = &'a str>) -> Vec<FieldError> {
    let fits = |key: &str| {
        !key.is_empty()
            && key.len() <= NAME_MAX
            && key != "."
            && !key.starts_with("..")
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    keys.filter(|key| !fits(key))
        .map(|key| {
            let message = "a key is at most 253 letters, digits, '-', '_' or '.', and no path";
            FieldError::invalid(format!("{field}[{key}]"), message)
        })
        .collect()
}

/// Refuses data that are too large as a whole.
pub(super) fn size_error(size: usize) -> Option<FieldError> {
    let message = || format!("{size} bytes in all, at most {DATA_MAX_BYTES} are allowed");
    (size > DATA_MAX_BYTES).then(|| FieldError::too_long("data", message()))
}

/// Refuses a change of an object that says of itself that it does not change.
pub(super) fn still_immutable(field: &str) -> FieldError {
    FieldError::forbidden(field, "cannot change, since `immutable` is set: delete the object and create it again")
}

/// Whether two maps hold the same; one that is missing is empty.
pub(super) fn same<V: PartialEq>(one: &Option<BTreeMap<String, V>>, other: &Option<BTreeMap<String, V>>) -> bool {
    let entries = |map| -> Vec<(&String, &V)> { Option::iter(map).flatten().collect() };
    entries(one) == entries(other)
}
