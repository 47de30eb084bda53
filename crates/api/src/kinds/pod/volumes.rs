//! Volumes of a pod.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, HostPathVolumeSource, KeyToPath, PodSpec, Volume, VolumeProjection,
};

use super::{
    env::{self, Shown},
    rules::{Errors, file_path, mode, one_of, required_key, required_label, required_name, text, unless},
};
use crate::{FieldError, Path, quantity};

/// What a path of the host may be said to be.
const HOST_PATH_TYPES: [&str; 7] =
    ["DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];

/// Checks the volumes. `claimed` are names of volumes that the kind adds to each pod.
pub(super) fn check(spec: &PodSpec, path: &Path<'_>) -> Errors {
    let list = path.field("volumes");
    let mut names = BTreeSet::new();
    let mut errors = Errors::new();
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let path = list.index(index);
        errors.extend(required_label(&volume.name, path.field("name")));
        errors.extend(unless(names.insert(volume.name.as_str()), || {
            FieldError::duplicate(path.field("name"), format!("{:?} is the name of another volume", volume.name))
        }));
        errors.extend(sources(volume, &path));
        errors.extend(source(volume, &path));
    }
    errors
}

/// A volume has one source. Those that are not served are refused for themselves.
fn sources(volume: &Volume, path: &Path<'_>) -> Errors {
    let served = [
        ("emptyDir", volume.empty_dir.is_some()),
        ("hostPath", volume.host_path.is_some()),
        ("secret", volume.secret.is_some()),
        ("persistentVolumeClaim", volume.persistent_volume_claim.is_some()),
        ("downwardAPI", volume.downward_api.is_some()),
        ("configMap", volume.config_map.is_some()),
        ("projected", volume.projected.is_some()),
    ];
    let mut given = served.into_iter().filter(|(_, given)| *given);
    if given.next().is_none() && has_no_source(volume) {
        return vec![FieldError::required(path, "say what the volume is, such as emptyDir")];
    }
    let message = "a volume is one thing: keep one of its sources";
    given.map(|(source, _)| FieldError::forbidden(path.field(source), message)).collect()
}

/// Whether a volume has a name alone.
pub(super) fn has_no_source(volume: &Volume) -> bool {
    *volume == Volume { name: volume.name.clone(), ..Volume::default() }
}

fn source(volume: &Volume, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    if let Some(claim) = &volume.persistent_volume_claim {
        errors.extend(required_name(&claim.claim_name, path.field("persistentVolumeClaim").field("claimName")));
    }
    if let Some(secret) = &volume.secret {
        let path = path.field("secret");
        errors.extend(required_name(secret.secret_name.as_deref().unwrap_or_default(), path.field("secretName")));
        errors.extend(mode(secret.default_mode, path.field("defaultMode")));
        errors.extend(items(secret.items.as_deref(), &path));
    }
    if let Some(map) = &volume.config_map {
        let path = path.field("configMap");
        errors.extend(required_name(&map.name, path.field("name")));
        errors.extend(mode(map.default_mode, path.field("defaultMode")));
        errors.extend(items(map.items.as_deref(), &path));
    }
    if let Some(downward) = &volume.downward_api {
        let path = path.field("downwardAPI");
        errors.extend(mode(downward.default_mode, path.field("defaultMode")));
        errors.extend(files(downward.items.as_deref(), &path));
    }
    if let Some(projected) = &volume.projected {
        let path = path.field("projected");
        errors.extend(mode(projected.default_mode, path.field("defaultMode")));
        let list = path.field("sources");
        let sources = projected.sources.iter().flatten().enumerate();
        errors.extend(sources.flat_map(|(index, source)| projection(source, &list.index(index))));
    }
    if let Some(empty) = &volume.empty_dir {
        let path = path.field("emptyDir");
        errors.extend(one_of(&empty.medium, &["Memory"], path.field("medium")));
        let limit = empty.size_limit.as_ref().map(|limit| quantity::units(&limit.0));
        errors.extend(
            limit.and_then(Result::err).map(|error| FieldError::forbidden(path.field("sizeLimit"), error.to_string())),
        );
    }
    errors.extend(volume.host_path.iter().flat_map(|host| host_path(host, &path.field("hostPath"))));
    errors
}

fn host_path(host: &HostPathVolumeSource, path: &Path<'_>) -> Errors {
    let mut errors = match host.path.as_str() {
        "" => vec![FieldError::required(path.field("path"), "name the path on the host")],
        place => unless(place.split('/').all(|part| part != ".."), || {
            FieldError::invalid(path.field("path"), format!("{place:?} must not contain '..'"))
        }),
    };
    errors.extend(one_of(&host.type_, &HOST_PATH_TYPES, path.field("type")));
    errors
}

fn items(items: Option<&[KeyToPath]>, path: &Path<'_>) -> Errors {
    let list = path.field("items");
    let mut errors = Errors::new();
    for (index, item) in items.into_iter().flatten().enumerate() {
        let path = list.index(index);
        errors.extend(required_key(&item.key, path.field("key")));
        errors.extend(file_path(&item.path, path.field("path")));
        errors.extend(mode(item.mode, path.field("mode")));
    }
    errors
}

fn files(items: Option<&[DownwardAPIVolumeFile]>, path: &Path<'_>) -> Errors {
    let list = path.field("items");
    let mut errors = Errors::new();
    for (index, item) in items.into_iter().flatten().enumerate() {
        let path = list.index(index);
        errors.extend(file_path(&item.path, path.field("path")));
        errors.extend(mode(item.mode, path.field("mode")));
        errors.extend(match (&item.field_ref, &item.resource_field_ref) {
            (None, None) => {
                vec![FieldError::required(path, "name a field or a resource: fieldRef or resourceFieldRef")]
            }
            (Some(_), Some(_)) => vec![FieldError::invalid(path, "give fieldRef or resourceFieldRef, not both")],
            (Some(field), None) => env::field(field, Shown::File, &path.field("fieldRef")),
            (None, Some(resource)) => env::resource(resource, Shown::File, &path.field("resourceFieldRef")),
        });
    }
    errors
}

fn projection(source: &VolumeProjection, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let maps = [
        ("secret", source.secret.as_ref().map(|secret| (&secret.name, &secret.items))),
        ("configMap", source.config_map.as_ref().map(|map| (&map.name, &map.items))),
    ];
    for (kind, (name, keys)) in maps.into_iter().filter_map(|(kind, map)| Some((kind, map?))) {
        let path = path.field(kind);
        errors.extend(required_name(name, path.field("name")));
        errors.extend(items(keys.as_deref(), &path));
    }
    if let Some(downward) = &source.downward_api {
        errors.extend(files(downward.items.as_deref(), &path.field("downwardAPI")));
    }
    let given = [
        source.cluster_trust_bundle.is_some(),
        source.config_map.is_some(),
        source.downward_api.is_some(),
        source.secret.is_some(),
        source.service_account_token.is_some(),
    ];
    errors.extend(match given.into_iter().filter(|given| *given).count() {
        0 => vec![FieldError::required(path, "say what is projected, such as a secret")],
        1 => Errors::new(),
        _ => vec![FieldError::forbidden(path, "a source is one thing: use several sources")],
    });
    errors
}

/// Texts about volumes that are not bounded as they ask to be.
pub(super) fn warnings(spec: &PodSpec, path: &Path<'_>) -> Vec<String> {
    let list = path.field("volumes");
    let mut warnings = Vec::new();
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let Some(empty) = &volume.empty_dir else { continue };
        if empty.size_limit.is_some() && text(&empty.medium).is_none() {
            let path = list.index(index);
            warnings.push(format!("{}: only volumes of medium Memory are limited", path.field("emptyDir.sizeLimit")));
        }
    }
    warnings
}
