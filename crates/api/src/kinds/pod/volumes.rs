//! Volumes of a pod.

use std::{
    collections::BTreeSet,
    path::{Component, Path as FilePath, PathBuf},
};

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, HostPathVolumeSource, KeyToPath, PodSpec, Volume, VolumeProjection,
};

use super::{
    env::{self, Shown},
    rules::{
        Errors, at_most, file_path, mode, one_of, path_of_node, required_key, required_label, required_name, text,
        unless,
    },
};
use crate::{FieldError, Path, quantity};

/// Most volumes of one pod.
const VOLUMES_MAX: usize = 256;
/// What a path of the host may be said to be.
const HOST_PATH_TYPES: [&str; 7] =
    ["DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];

/// Lifetime of a token of a service account when the pod names none, as in Kubernetes.
pub const TOKEN_SECONDS: i64 = 3_600;
const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

/// Checks the volumes. `claimed` are how many the kind adds to each pod.
pub(super) fn check(spec: &PodSpec, claimed: usize, path: &Path<'_>) -> Errors {
    let list = path.field("volumes");
    let containers = env::container_names(spec);
    let mut names = BTreeSet::new();
    let mut errors = at_most(spec.volumes.iter().flatten().count() + claimed, VOLUMES_MAX, list);
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let path = list.index(index);
        errors.extend(required_label(&volume.name, path.field("name")));
        errors.extend(unless(names.insert(volume.name.as_str()), || {
            FieldError::duplicate(path.field("name"), format!("{:?} is the name of another volume", volume.name))
        }));
        errors.extend(sources(volume, &path));
        errors.extend(source(volume, &containers, &path));
        errors.extend(clashes(volume, &path));
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

fn source(volume: &Volume, containers: &BTreeSet<&str>, path: &Path<'_>) -> Errors {
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
        errors.extend(files(downward.items.as_deref(), containers, &path));
    }
    if let Some(projected) = &volume.projected {
        let path = path.field("projected");
        errors.extend(mode(projected.default_mode, path.field("defaultMode")));
        let list = path.field("sources");
        let sources = projected.sources.iter().flatten().enumerate();
        errors.extend(sources.flat_map(|(index, source)| projection(source, containers, &list.index(index))));
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
    let mut errors = path_of_node(&host.path, path.field("path"));
    errors.extend(one_of(&host.type_, &HOST_PATH_TYPES, path.field("type")));
    errors
}

/// The files that a volume names, each with the field that does so.
fn named_files<'a>(volume: &'a Volume, path: &Path<'_>) -> Vec<(&'a str, String)> {
    let mut found = Vec::new();
    let mut add = |path: &Path<'_>, paths: Vec<&'a str>| {
        let list = path.field("items");
        let place = |index: usize| list.index(index).field("path").to_string();
        found.extend(paths.into_iter().enumerate().map(|(index, path)| (path, place(index))));
    };
    let keys = |items: &'a Option<Vec<KeyToPath>>| items.iter().flatten().map(|item| item.path.as_str()).collect();
    let fields =
        |items: &'a Option<Vec<DownwardAPIVolumeFile>>| items.iter().flatten().map(|item| item.path.as_str()).collect();
    volume.secret.iter().for_each(|secret| add(&path.field("secret"), keys(&secret.items)));
    volume.config_map.iter().for_each(|map| add(&path.field("configMap"), keys(&map.items)));
    volume.downward_api.iter().for_each(|downward| add(&path.field("downwardAPI"), fields(&downward.items)));
    let sources = path.field("projected.sources");
    for (index, source) in volume.projected.iter().flat_map(|own| own.sources.iter().flatten()).enumerate() {
        let path = sources.index(index);
        source.secret.iter().for_each(|secret| add(&path.field("secret"), keys(&secret.items)));
        source.config_map.iter().for_each(|map| add(&path.field("configMap"), keys(&map.items)));
        source.downward_api.iter().for_each(|downward| add(&path.field("downwardAPI"), fields(&downward.items)));
    }
    found
}

/// Refuses a file where another one needs a directory, and in a projected volume two files of one path, as Kubernetes
/// does.
fn clashes(volume: &Volume, path: &Path<'_>) -> Errors {
    let plain = |path: &str| -> PathBuf {
        FilePath::new(path).components().filter(|part| !matches!(part, Component::CurDir)).collect()
    };
    let mut files: Vec<(PathBuf, String)> =
        named_files(volume, path).into_iter().map(|(path, field)| (plain(path), field)).collect();
    // Part by part: what is below a file comes directly after it.
    files.sort();
    let mut errors = Errors::new();
    for ((one, _), (other, field)) in files.iter().zip(files.iter().skip(1)) {
        if one == other && volume.projected.is_some() {
            errors.push(FieldError::invalid(field, format!("{} is the path of another file, too", other.display())));
        } else if one != other && other.starts_with(one) {
            let message = format!("{} is below {}, which is a file", other.display(), one.display());
            errors.push(FieldError::invalid(field, message));
        }
    }
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

fn files(items: Option<&[DownwardAPIVolumeFile]>, containers: &BTreeSet<&str>, path: &Path<'_>) -> Errors {
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
            (None, Some(resource)) => env::resource(resource, Shown::File, containers, &path.field("resourceFieldRef")),
        });
    }
    errors
}

fn projection(source: &VolumeProjection, containers: &BTreeSet<&str>, path: &Path<'_>) -> Errors {
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
        errors.extend(files(downward.items.as_deref(), containers, &path.field("downwardAPI")));
    }
    if let Some(token) = &source.service_account_token {
        let path = path.field("serviceAccountToken");
        errors.extend(file_path(&token.path, path.field("path")));
        let fits =
            token.expiration_seconds.is_none_or(|seconds| (TOKEN_SECONDS_MIN..=TOKEN_SECONDS_MAX).contains(&seconds));
        errors.extend(unless(fits, || {
            let message = "must be between 600 seconds (10 minutes) and 2^32 seconds";
            FieldError::invalid(path.field("expirationSeconds"), message)
        }));
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
