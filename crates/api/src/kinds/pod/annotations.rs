//! Annotations of pods that mean something.

use std::collections::BTreeMap;

use super::rules::{Errors, unless};
use crate::{
    FieldError, Path,
    names::annotation::{APPARMOR_PREFIX, PIDS_LIMIT, SECCOMP_POD, SECCOMP_PREFIX},
};

/// Checks the annotations of a pod or of a template.
pub(super) fn check(annotations: Option<&BTreeMap<String, String>>, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    for (key, value) in annotations.into_iter().flatten() {
        let path = path.key(key);
        if key == PIDS_LIMIT {
            errors.extend(unless(value.parse::<u64>().is_ok_and(|limit| limit > 0), || {
                FieldError::invalid(path, format!("{value:?} must be a number above 0"))
            }));
        }
        if key.starts_with(APPARMOR_PREFIX) {
            errors.extend(unless(value == "unconfined", || {
                let message = "AppArmor profiles are not applied to containers; leave it out, seccomp filters are on";
                FieldError::not_supported(path, message)
            }));
        }
    }
    errors
}

/// Texts about annotations that have no effect.
pub(super) fn warnings(annotations: Option<&BTreeMap<String, String>>, path: &Path<'_>) -> Vec<String> {
    let keys = annotations.into_iter().flatten().map(|(key, _)| key);
    let texts = keys.filter_map(|key| {
        if key.starts_with(APPARMOR_PREFIX) {
            Some(format!("{}: deprecated since v1.30; use the \"appArmorProfile\" field instead", path.key(key)))
        } else if key.starts_with(SECCOMP_POD) || key.starts_with(SECCOMP_PREFIX) {
            Some(format!("{}: non-functional in v1.27+; use the \"seccompProfile\" field instead", path.key(key)))
        } else {
            None
        }
    });
    texts.collect()
}
