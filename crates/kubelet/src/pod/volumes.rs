//! The volumes of a pod: what each is, and the files of those made from the API.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use api::{kinds::Pod, quantity};
use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, KeyToPath, PodSpec, Volume, VolumeMount, VolumeProjection,
};

use super::{
    env::{expand, too_long},
    lookup::{Place, References, Source, TokenWish, field, resource},
    security::Policy,
};
use crate::{
    error::{Error, Result},
    files::{VolumeName, VolumePath},
};

/// Permission bits of files when the pod names none.
const FILE_MODE: u32 = 0o644;

/// One volume of a pod.
#[derive(Debug, Clone, PartialEq)]
pub enum VolumePlan {
    /// A persistent volume.
    Claim {
        /// Name of the claim.
        claim: String,
        /// Not writable through this pod.
        read_only: bool,
    },
    /// A directory that lives as long as the pod.
    EmptyDir {
        /// In memory, with a limit in bytes.
        memory: Option<Option<u64>>,
    },
    /// Files from the API, in memory.
    Files(FilesPlan),
    /// A directory or file of the host.
    HostPath {
        /// The directory that the node's owner allows.
        allowed: PathBuf,
        /// The path below it; its own links lead nowhere else.
        below: PathBuf,
    },
}

/// A volume of files.
#[derive(Debug, Clone, PartialEq)]
pub struct FilesPlan {
    mode: u32,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Map { source: Source, name: String, items: Option<Vec<KeyToPath>>, optional: bool },
    Downward(Vec<DownwardAPIVolumeFile>),
    Token { wish: TokenWish, path: String },
}

/// A file to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct FileContent {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

/// Prints the length only: the bytes may be secret.
impl std::fmt::Debug for FileContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, mode {:o}", self.bytes.len(), self.mode)
    }
}

/// The volumes of a pod, by name, with those its containers do not use left out.
///
/// # Errors
/// [`Error::Refused`] for a volume this node cannot make.
pub fn plan(pod: &Pod, policy: &Policy) -> Result<BTreeMap<VolumeName, VolumePlan>> {
    let Some(spec) = &pod.spec else { return Ok(BTreeMap::new()) };
    let mut plans = BTreeMap::new();
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let path = format!("spec.volumes[{index}]");
        let name = VolumeName::new(volume.name.as_str(), &format!("{path}.name"))?;
        if mounted(spec, &volume.name) {
            plans.insert(name, plan_one(volume, policy, &path)?);
        }
    }
    Ok(plans)
}

fn mounted(spec: &PodSpec, volume: &str) -> bool {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    containers.flat_map(|c| c.volume_mounts.iter().flatten()).any(|m| m.name == volume)
}

/// The first container that mounts a volume: the files and directories made for it belong to that container's user.
#[must_use]
pub fn first_user<'a>(pod: &'a Pod, volume: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    let uses = |c: &&Container| c.volume_mounts.iter().flatten().any(|m| m.name == volume);
    spec.containers.iter().find(uses).or_else(|| spec.init_containers.iter().flatten().find(uses))
}

fn plan_one(volume: &Volume, policy: &Policy, path: &str) -> Result<VolumePlan> {
    let refuse = |field: &str, problem: &str| Err(Error::refused(format!("{path}.{field}"), problem));
    if let Some(claim) = &volume.persistent_volume_claim {
        let read_only = claim.read_only.unwrap_or(false);
        return Ok(VolumePlan::Claim { claim: claim.claim_name.clone(), read_only });
    }
    if let Some(empty) = &volume.empty_dir {
        let limit = empty.size_limit.as_ref().map(|q| quantity::units(&q.0)).transpose();
        let limit = limit.map_err(|e| Error::refused(format!("{path}.emptyDir.sizeLimit"), e.to_string()))?;
        return match empty.medium.as_deref().unwrap_or_default() {
            "" => Ok(VolumePlan::EmptyDir { memory: None }),
            "Memory" => Ok(VolumePlan::EmptyDir { memory: Some(limit) }),
            _ => refuse("emptyDir.medium", "must be empty or Memory"),
        };
    }
    if let Some(host) = &volume.host_path {
        let wanted = PathBuf::from(&host.path);
        let plain = wanted.is_absolute() && wanted.components().all(|c| !matches!(c, Component::ParentDir));
        let split = |allowed: &PathBuf| Some((allowed.clone(), wanted.strip_prefix(allowed).ok()?.to_owned()));
        if let Some((allowed, below)) = policy.host_paths.iter().find_map(split).filter(|_| plain) {
            return Ok(VolumePlan::HostPath { allowed, below });
        }
        return Err(Error::denied(
            format!("{path}.hostPath.path"),
            "the node's owner does not allow this path; use a persistentVolumeClaim or emptyDir",
        ));
    }
    let plan = |mode: Option<i32>, parts| Ok(VolumePlan::Files(FilesPlan { mode: bits(mode, FILE_MODE), parts }));
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.clone().unwrap_or_default();
        let optional = secret.optional.unwrap_or(false);
        return plan(
            secret.default_mode,
            vec![Part::Map { source: Source::Secret, name, items: secret.items.clone(), optional }],
        );
    }
    if let Some(map) = &volume.config_map {
        let optional = map.optional.unwrap_or(false);
        let part = Part::Map { source: Source::ConfigMap, name: map.name.clone(), items: map.items.clone(), optional };
        return plan(map.default_mode, vec![part]);
    }
    if let Some(downward) = &volume.downward_api {
        return plan(downward.default_mode, vec![Part::Downward(downward.items.clone().unwrap_or_default())]);
    }
    if let Some(projected) = &volume.projected {
        let parts = projected.sources.iter().flatten().map(|source| projection(source, path)).collect::<Result<_>>()?;
        return plan(projected.default_mode, parts);
    }
    refuse(
        "name",
        "this node has persistentVolumeClaim, emptyDir, secret, configMap, downwardAPI, projected and hostPath volumes",
    )
}

fn projection(source: &VolumeProjection, path: &str) -> Result<Part> {
    if let Some(secret) = &source.secret {
        let optional = secret.optional.unwrap_or(false);
        return Ok(Part::Map {
            source: Source::Secret,
            name: secret.name.clone(),
            items: secret.items.clone(),
            optional,
        });
    }
    if let Some(map) = &source.config_map {
        let optional = map.optional.unwrap_or(false);
        return Ok(Part::Map { source: Source::ConfigMap, name: map.name.clone(), items: map.items.clone(), optional });
    }
    if let Some(downward) = &source.downward_api {
        return Ok(Part::Downward(downward.items.clone().unwrap_or_default()));
    }
    if let Some(token) = &source.service_account_token {
        return Ok(Part::Token { wish: TokenWish::of(token), path: token.path.clone() });
    }
    Err(Error::refused(
        format!("{path}.projected.sources"),
        "secret, configMap, downwardAPI and serviceAccountToken are available on this node",
    ))
}

fn bits(mode: Option<i32>, default: u32) -> u32 {
    mode.and_then(|mode| u32::try_from(mode).ok()).map_or(default, |mode| mode & 0o777)
}

/// The files of a volume, by path below its root.
///
/// # Errors
/// [`Error::Missing`], or [`Error::Refused`] for a path that leaves the volume.
pub fn files(
    plan: &FilesPlan,
    pod: &Pod,
    place: &Place,
    references: &References,
) -> Result<BTreeMap<VolumePath, FileContent>> {
    let mut files = BTreeMap::new();
    let mut add = |path: &str, bytes: Vec<u8>, mode: Option<i32>| {
        files.insert(VolumePath::new(path)?, FileContent { bytes, mode: bits(mode, plan.mode) });
        Ok::<(), Error>(())
    };
    for part in &plan.parts {
        match part {
            Part::Map { source, name, items: None, optional } => {
                for (key, bytes) in references.all(*source, name, *optional)?.into_iter().flatten() {
                    add(&key, bytes, None)?;
                }
            }
            Part::Map { source, name, items: Some(items), optional } => {
                for item in items {
                    if let Some(bytes) = references.value(*source, name, &item.key, *optional)? {
                        add(&item.path, bytes, item.mode)?;
                    }
                }
            }
            Part::Token { wish, path } => {
                let missing = || Error::Missing { kind: "token for audience", name: wish.audience.clone() };
                let token = references.tokens.get(wish).ok_or_else(missing)?;
                add(path, token.clone().into_bytes(), None)?;
            }
            Part::Downward(items) => {
                for item in items {
                    add(&item.path, downward(item, pod, place)?.into_bytes(), item.mode)?;
                }
            }
        }
    }
    let mut paths = files.keys().map(VolumePath::as_path);
    let mut before = paths.next();
    for path in paths {
        // Paths are ordered part by part: what is below a file comes directly after it.
        if let Some(file) = before.filter(|before| path.starts_with(before)) {
            let problem = format!("it is below {}, which is a file of the same volume", file.display());
            return Err(Error::refused(format!("volume path {:?}", path.display().to_string()), problem));
        }
        before = Some(path);
    }
    Ok(files)
}

fn downward(item: &DownwardAPIVolumeFile, pod: &Pod, place: &Place) -> Result<String> {
    if let Some(reference) = &item.field_ref {
        return field(pod, place, &reference.field_path);
    }
    let selector = item.resource_field_ref.as_ref();
    let selector =
        selector.ok_or_else(|| Error::refused(format!("downwardAPI {}", item.path), "name a field or a resource"))?;
    let name = selector.container_name.as_deref().unwrap_or_default();
    let container = pod
        .spec
        .iter()
        .flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()))
        .find(|c| c.name == name);
    let container = container.ok_or_else(|| Error::Missing { kind: "container", name: name.to_owned() })?;
    resource(container, place, selector)
}

/// A `subPath` or `subPathExpr` of a mount, checked to be relative and without `..`.
///
/// # Errors
/// [`Error::Refused`].
pub fn sub_path(mount: &VolumeMount, env: &[(String, String)]) -> Result<Option<PathBuf>> {
    let field = || format!("volumeMounts {}", mount.mount_path);
    let known = |name: &str| env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let expanded = mount.sub_path_expr.as_deref().map(|text| expand(text, known).ok_or_else(|| too_long(&field())));
    let text = expanded.transpose()?.or_else(|| mount.sub_path.clone()).filter(|text| !text.is_empty());
    let Some(text) = text else { return Ok(None) };
    let parts = Path::new(&text).components().filter(|part| !matches!(part, Component::CurDir));
    let path: PathBuf = parts.collect();
    if path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(Some(path));
    }
    Err(Error::refused(field(), "subPath must be relative and without '..'"))
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::Arc};

    use api::kinds::{ConfigMap, Secret};
    use serde_json::json;

    use super::*;
    use crate::pod::lookup::Allocatable;

    fn pod(volumes: serde_json::Value) -> Pod {
        let mounts: Vec<_> =
            volumes.as_array().unwrap().iter().map(|v| json!({"name": v["name"], "mountPath": "/m"})).collect();
        serde_json::from_value(json!({"metadata": {"name": "p", "labels": {"app": "x"}},
            "spec": {"volumes": volumes, "containers": [{"name": "c", "volumeMounts": mounts}]}}))
        .unwrap()
    }

    fn references() -> References {
        let secret: Secret =
            serde_json::from_value(json!({"metadata": {}, "data": {"key": "YQ==", "tls.crt": "Yg=="}})).unwrap();
        let map: ConfigMap =
            serde_json::from_value(json!({"metadata": {}, "data": {"conf": "c"}, "binaryData": {"bin": "/w=="}}))
                .unwrap();
        References {
            secrets: BTreeMap::from([("s".into(), Some(Arc::new(secret)))]),
            config_maps: BTreeMap::from([("m".into(), Some(Arc::new(map)))]),
            tokens: BTreeMap::from([(TokenWish { audience: "vault".into(), seconds: 3607 }, "a.b.c".into())]),
        }
    }

    fn files_of(volume: serde_json::Value) -> Result<Vec<(String, Vec<u8>, u32)>> {
        let pod = pod(json!([volume]));
        let place = Place {
            allocatable: Allocatable::default(),
            node_name: "n".into(),
            host_ip: Ipv4Addr::LOCALHOST,
            pod_ip: Ipv4Addr::LOCALHOST,
        };
        let VolumePlan::Files(plan) = plan(&pod, &Policy::default())?.into_values().next().unwrap() else { panic!() };
        let files = files(&plan, &pod, &place, &references())?;
        Ok(files.into_iter().map(|(p, f)| (p.to_string(), f.bytes, f.mode)).collect())
    }

    #[test]
    fn a_token_of_the_account_becomes_a_file() {
        let volume = |audience: &str| {
            let token = json!({"path": "token", "expirationSeconds": 3607, "audience": audience});
            json!({"name": "v", "projected": {"sources": [{"serviceAccountToken": token}]}})
        };
        assert_eq!(files_of(volume("vault")).unwrap(), [("token".into(), b"a.b.c".to_vec(), 0o644)]);
        assert!(files_of(volume("other")).is_err());
    }

    #[test]
    fn secrets_maps_and_downward_fields_become_files() {
        let all = files_of(json!({"name": "v", "secret": {"secretName": "s", "defaultMode": 256}})).unwrap();
        assert_eq!(all, [("key".into(), b"a".to_vec(), 0o400), ("tls.crt".into(), b"b".to_vec(), 0o400)]);
        let some = files_of(json!({"name": "v", "projected": {"sources": [
            {"secret": {"name": "s", "items": [{"key": "key", "path": "deep/pw", "mode": 288}]}},
            {"configMap": {"name": "m"}},
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}
        ]}}))
        .unwrap();
        assert_eq!(
            some,
            [
                ("bin".into(), vec![0xff], 0o644),
                ("conf".into(), b"c".to_vec(), 0o644),
                ("deep/pw".into(), b"a".to_vec(), 0o440),
                ("labels".into(), b"app=\"x\"\n".to_vec(), 0o644)
            ]
        );
    }

    #[test]
    fn what_is_missing_is_named_unless_it_is_optional() {
        let wanted = json!({"name": "v", "secret": {"secretName": "nope"}});
        assert_eq!(files_of(wanted).unwrap_err().to_string(), "secret \"nope\" not found");
        assert_eq!(files_of(json!({"name": "v", "secret": {"secretName": "nope", "optional": true}})).unwrap(), []);
        let key = json!({"name": "v", "configMap": {"name": "m", "items": [{"key": "gone", "path": "x"}]}});
        assert_eq!(files_of(key).unwrap_err().to_string(), "configmap \"m key gone\" not found");
    }

    #[test]
    fn paths_do_not_leave_the_volume() {
        for bad in ["../x", "/etc/passwd", "a/../b", "", "..data", ".", "./"] {
            let volume = json!({"name": "v", "secret": {"secretName": "s", "items": [{"key": "key", "path": bad}]}});
            assert!(files_of(volume).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_and_what_is_below_it_are_not_both_there() {
        let item = |path: &str| json!({"key": "key", "path": path});
        let volume = |paths: [&str; 2]| json!({"name": "v", "secret": {"secretName": "s", "items": paths.map(item)}});
        let refused = files_of(volume(["a/b", "./a"])).unwrap_err().to_string();
        assert_eq!(refused, "volume path \"a/b\": it is below a, which is a file of the same volume");
        assert_eq!(files_of(volume(["a-b", "./a"])).unwrap().len(), 2);
        let mount =
            |path: &str| serde_json::from_value(json!({"name": "v", "mountPath": "/m", "subPath": path})).unwrap();
        assert_eq!(sub_path(&mount("./a/./b"), &[]).unwrap(), Some("a/b".into()));
        assert!(sub_path(&mount("../a"), &[]).is_err());
    }

    #[test]
    fn host_paths_need_permission() {
        let pod = pod(json!([{"name": "h", "hostPath": {"path": "/srv/data/x"}}]));
        assert!(
            matches!(plan(&pod, &Policy::default()), Err(Error::Denied { field, .. }) if field == "spec.volumes[0].hostPath.path")
        );
        let allowed = Policy { host_paths: vec!["/srv/data".into()], ..Policy::default() };
        let found = plan(&pod, &allowed).unwrap().into_values().next().unwrap();
        assert_eq!(found, VolumePlan::HostPath { allowed: "/srv/data".into(), below: "x".into() });
        let escape = super::tests::pod(json!([{"name": "h", "hostPath": {"path": "/srv/data/../../etc"}}]));
        assert!(plan(&escape, &allowed).is_err());
    }

    #[test]
    fn all_that_the_kubelet_writes_is_one_kind_of_volume() {
        for source in [
            json!({"secret": {"secretName": "s"}}),
            json!({"configMap": {"name": "m"}}),
            json!({"downwardAPI": {"items": []}}),
            json!({"projected": {"sources": [{"secret": {"name": "s"}}]}}),
        ] {
            let mut volume = json!({"name": "v"});
            volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
            let found = plan(&pod(json!([volume])), &Policy::default()).unwrap().into_values().next();
            assert!(matches!(found, Some(VolumePlan::Files(_))), "{source}");
        }
    }

    #[test]
    fn a_name_that_is_a_path_is_refused_with_its_field() {
        for bad in ["/", "/etc", "..", "../x", "a/b", "A_B/../x", "", "UPPER", &"a".repeat(64)] {
            for source in [json!({"emptyDir": {}}), json!({"configMap": {"name": "m"}})] {
                let mut volume = json!({"name": bad});
                volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
                match plan(&pod(json!([volume])), &Policy::default()) {
                    Err(Error::Refused { field, .. }) => assert_eq!(field, "spec.volumes[0].name"),
                    other => panic!("{bad:?}: {other:?}"),
                }
            }
        }
    }
}
