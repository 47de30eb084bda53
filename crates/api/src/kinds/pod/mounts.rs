//! Where a container sees the volumes of its pod.

use std::{collections::BTreeSet, path::Path as FilePath};

use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::{
    defaults::TERMINATION_MESSAGE_PATH,
    rules::{Errors, at_most, mount_point, path_below, text, unless},
};
use crate::{FieldError, Path};

/// Most mounts of one container.
const MOUNTS_MAX: usize = 500;

/// Checks the mounts of one container; `volumes` are the names there are.
pub(super) fn check(container: &Container, volumes: &BTreeSet<&str>, path: &Path<'_>) -> Errors {
    let list = path.field("volumeMounts");
    let message = text(&container.termination_message_path).unwrap_or(TERMINATION_MESSAGE_PATH);
    let mut places = BTreeSet::new();
    let mut errors = at_most(container.volume_mounts.iter().flatten().count(), MOUNTS_MAX, list);
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = list.index(index);
        errors.extend(one(mount, volumes, &path));
        let place = FilePath::new(&mount.mount_path);
        errors.extend(unless(mount.mount_path.is_empty() || places.insert(place), || {
            FieldError::invalid(path.field("mountPath"), format!("{place:?} is the place of another mount"))
        }));
        errors.extend(unless(place != FilePath::new(message), || {
            let problem = "is where the container leaves its termination message";
            let remedy = "choose another place, or another terminationMessagePath";
            FieldError::invalid(path.field("mountPath"), format!("{place:?} {problem}: {remedy}"))
        }));
    }
    errors
}

fn one(mount: &VolumeMount, volumes: &BTreeSet<&str>, path: &Path<'_>) -> Errors {
    let mut errors = match mount.name.as_str() {
        "" => vec![FieldError::required(path.field("name"), "name the volume")],
        name => unless(volumes.contains(name), || {
            FieldError::not_found(path.field("name"), format!("no volume {name:?} in spec.volumes"))
        }),
    };
    errors.extend(match mount.mount_path.as_str() {
        "" => vec![FieldError::required(path.field("mountPath"), "say where in the container the volume is seen")],
        place => mount_point(place, path.field("mountPath")),
    });
    errors.extend(text(&mount.sub_path).map(|below| path_below(below, path.field("subPath"))).unwrap_or_default());
    if let Some(below) = text(&mount.sub_path_expr) {
        errors.extend(path_below(below, path.field("subPathExpr")));
        errors.extend(unless(text(&mount.sub_path).is_none(), || {
            FieldError::invalid(path.field("subPathExpr"), "give subPath or subPathExpr, not both")
        }));
    }
    errors.extend(unless(
        mount.recursive_read_only.as_deref() != Some("Enabled") || mount.read_only == Some(true),
        || FieldError::forbidden(path.field("recursiveReadOnly"), "only with readOnly: true"),
    ));
    errors
}
