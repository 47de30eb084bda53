//! Annotations of pods that mean something.

use std::collections::BTreeMap;

use super::rules::{Errors, unless};
use crate::{FieldError, Path};

/// Most processes and threads of each container, which Kubernetes has no field for.
pub const PIDS_LIMIT: &str = "nanocloud.io/pids-limit";
/// AppArmor profile of the container whose name follows, as it was said before there was a field.
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
/// System call filters, as they were said before there was a field. Kubernetes does not look at them any more.
const SECCOMP: [&str; 2] =
    ["seccomp.security.alpha.kubernetes.io/pod", "container.seccomp.security.alpha.kubernetes.io/"];

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
        if key.starts_with(APP_ARMOR) {
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
        if key.starts_with(APP_ARMOR) {
            Some(format!("{}: deprecated since v1.30; use the \"appArmorProfile\" field instead", path.key(key)))
        } else if SECCOMP.iter().any(|old| key.starts_with(old)) {
            Some(format!("{}: non-functional in v1.27+; use the \"seccompProfile\" field instead", path.key(key)))
        } else {
            None
        }
    });
    texts.collect()
}
