//! What a pod may do: users, capabilities, filters, and what this node refuses.

use std::path::PathBuf;

use api::kinds::{Pod, pod::refusals};
use k8s_openapi::api::core::v1::{Container, SeccompProfile as Profile};
use runtime::container::UserIds;

use crate::error::{Error, Result};

/// Capabilities a pod may keep without a special permission. Others of its own network namespace are not among them: by
/// `CAP_NET_ADMIN` large parts of the kernel are reached, and by `CAP_NET_RAW` a pod speaks in its neighbours' names.
const FREE_CAPABILITIES: [&str; 1] = ["CAP_NET_BIND_SERVICE"];

/// What the node's owner allows beyond the default.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Directories below which `hostPath` volumes may point. Empty: none.
    pub host_paths: Vec<PathBuf>,
    /// `hostNetwork: true` is allowed.
    pub host_network: bool,
    /// Any capability may be kept.
    pub capabilities: bool,
    /// Directory of `Localhost` seccomp profiles, `<name>.json` each.
    pub seccomp_profiles: PathBuf,
}

/// The system call filter of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// The runtime's own.
    Baseline,
    /// The file `<name>.json` of the policy's directory.
    Localhost(String),
}

/// How a container is confined, as its pod says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    /// User, if the pod names one.
    pub user: Option<u32>,
    /// Group, if the pod names one.
    pub group: Option<u32>,
    /// Supplementary groups, the volumes' group included.
    pub groups: Vec<u32>,
    /// The groups that the image gives the user do not count (`supplementalGroupsPolicy: Strict`).
    pub strict_groups: bool,
    /// User 0 is refused.
    pub non_root: bool,
    /// Capabilities kept, normalised, without repetitions.
    pub capabilities: Vec<String>,
    /// System call filter.
    pub filter: Filter,
    /// The root file system is read-only.
    pub read_only_root: bool,
}

/// Refuses what this node does not do, before anything is made.
///
/// # Errors
/// [`Error::Denied`] with the field.
pub fn check_pod(pod: &Pod, policy: &Policy) -> Result<()> {
    let Some(spec) = &pod.spec else { return Err(Error::refused("spec", "a pod needs a spec")) };
    // The API refuses the same; this is for what an older version took, or what came by another road.
    if let Some(error) = refusals(spec).into_iter().next() {
        return Err(Error::denied(error.field, error.message));
    }
    if spec.host_network == Some(true) && !policy.host_network {
        return Err(Error::denied(
            "spec.hostNetwork",
            "the node's owner does not allow it; publish ports with hostPort",
        ));
    }
    for (list, containers) in
        [("initContainers", spec.init_containers.as_ref()), ("containers", Some(&spec.containers))]
    {
        for (index, container) in containers.into_iter().flatten().enumerate() {
            let path = format!("spec.{list}[{index}]");
            confinement(pod, container, policy).map_err(|e| at(&path, e))?;
        }
    }
    Ok(())
}

fn at(path: &str, error: Error) -> Error {
    match error {
        Error::Denied { field, problem } => Error::Denied { field: format!("{path}.{field}"), problem },
        other => other,
    }
}

/// Reads the security contexts of pod and container; the container's wins.
///
/// # Errors
/// [`Error::Denied`] with the field, relative to the container.
pub fn confinement(pod: &Pod, container: &Container, policy: &Policy) -> Result<Confinement> {
    let whole = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let own = container.security_context.as_ref();
    let id = |field: &'static str, own: Option<i64>, whole: Option<i64>| match own.or(whole) {
        None => Ok(None),
        Some(id) => u32::try_from(id)
            .map(Some)
            .map_err(|_| Error::denied(format!("securityContext.{field}"), "not a user or group id")),
    };
    let user = id("runAsUser", own.and_then(|c| c.run_as_user), whole.and_then(|c| c.run_as_user))?;
    let group = id("runAsGroup", own.and_then(|c| c.run_as_group), whole.and_then(|c| c.run_as_group))?;
    let supplemental = whole.iter().flat_map(|c| c.supplemental_groups.iter().flatten().copied());
    let fs_group = whole.and_then(|c| c.fs_group);
    let mut groups = Vec::new();
    for group in supplemental.chain(fs_group) {
        groups.extend(id("supplementalGroups", Some(group), None)?);
    }
    groups.sort_unstable();
    groups.dedup();
    let profile =
        own.and_then(|c| c.seccomp_profile.as_ref()).or_else(|| whole.and_then(|c| c.seccomp_profile.as_ref()));
    Ok(Confinement {
        user,
        group,
        groups,
        strict_groups: whole.and_then(|c| c.supplemental_groups_policy.as_deref()) == Some("Strict"),
        non_root: own
            .and_then(|c| c.run_as_non_root)
            .or_else(|| whole.and_then(|c| c.run_as_non_root))
            .unwrap_or(false),
        capabilities: capabilities(container, policy)?,
        filter: filter(profile)?,
        read_only_root: own.and_then(|c| c.read_only_root_filesystem).unwrap_or(false),
    })
}

fn capabilities(container: &Container, policy: &Policy) -> Result<Vec<String>> {
    let set = container.security_context.as_ref().and_then(|c| c.capabilities.as_ref());
    let normal = |name: &String| {
        let name = name.to_ascii_uppercase();
        if name.starts_with("CAP_") || name == "ALL" { name } else { format!("CAP_{name}") }
    };
    let dropped: Vec<String> = set.iter().flat_map(|s| s.drop.iter().flatten()).map(normal).collect();
    let mut kept: Vec<String> = set.iter().flat_map(|s| s.add.iter().flatten()).map(normal).collect();
    kept.sort();
    kept.dedup();
    // Nothing is there to begin with, so dropping ALL changes nothing; what is named in both lists is not kept.
    kept.retain(|name| !dropped.contains(name));
    for name in &kept {
        if !policy.capabilities && !FREE_CAPABILITIES.contains(&name.as_str()) {
            let allowed = FREE_CAPABILITIES.join(", ");
            let problem = format!("{name} is not allowed; this node allows {allowed}");
            return Err(Error::denied("securityContext.capabilities.add", problem));
        }
    }
    Ok(kept)
}

fn filter(profile: Option<&Profile>) -> Result<Filter> {
    let Some(profile) = profile else { return Ok(Filter::Baseline) };
    let name = profile.localhost_profile.as_deref().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match profile.type_.as_str() {
        "RuntimeDefault" | "Baseline" => Ok(Filter::Baseline),
        "Localhost" if !name.is_empty() && !name.starts_with('.') && name.chars().all(plain) => {
            Ok(Filter::Localhost(name.trim_end_matches(".json").to_owned()))
        }
        "Localhost" => Err(Error::denied(
            "securityContext.seccompProfile.localhostProfile",
            "name a profile file without directories",
        )),
        other => {
            let problem = format!("{other:?} is not available; use RuntimeDefault or Localhost");
            Err(Error::denied("securityContext.seccompProfile.type", problem))
        }
    }
}

/// The user a container runs as: the pod's wish over the image's user. A wished user without a group gets the group
/// the image gives that user (`of_image`), as container runtimes do.
///
/// # Errors
/// [`Error::Denied`] when `runAsNonRoot` meets user 0.
pub fn user(confinement: &Confinement, of_image: UserIds) -> Result<UserIds> {
    let mut user = of_image;
    if let Some(uid) = confinement.user {
        user.uid = uid;
    }
    if let Some(gid) = confinement.group {
        user.gid = gid;
    }
    if confinement.strict_groups {
        user.groups.clear();
    }
    user.groups.extend(&confinement.groups);
    user.groups.sort_unstable();
    user.groups.dedup();
    if confinement.non_root && user.uid == 0 {
        let problem = "the container would run as user 0; set runAsUser or choose another image";
        return Err(Error::denied("securityContext.runAsNonRoot", problem));
    }
    Ok(user)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn read(spec: serde_json::Value) -> Result<Confinement> {
        let pod = pod(spec);
        let container = pod.spec.as_ref().unwrap().containers[0].clone();
        confinement(&pod, &container, &Policy::default())
    }

    #[test]
    fn the_container_wins_over_the_pod_and_names_are_normalised() {
        let found = read(
            json!({"securityContext": {"runAsUser": 1, "runAsGroup": 2, "fsGroup": 9, "supplementalGroups": [9, 8]},
            "containers": [{"name": "a", "securityContext": {"runAsUser": 5, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"], "add": ["net_bind_service", "CAP_NET_BIND_SERVICE"]}}}]}),
        )
        .unwrap();
        assert_eq!((found.user, found.group, found.groups), (Some(5), Some(2), vec![8, 9]));
        assert_eq!(found.capabilities, ["CAP_NET_BIND_SERVICE"]);
        assert!(found.read_only_root);
    }

    #[test]
    fn what_is_not_allowed_is_refused_by_field() {
        for (spec, field) in [
            (json!({"hostPID": true, "containers": []}), "spec.hostPID"),
            (json!({"hostNetwork": true, "containers": []}), "spec.hostNetwork"),
            (
                json!({"containers": [{"name": "a", "securityContext": {"privileged": true}}]}),
                "spec.containers[0].securityContext.privileged",
            ),
            (
                json!({"containers": [{"name": "a", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]}),
                "spec.containers[0].securityContext.capabilities.add",
            ),
            (
                json!({"containers": [{"name": "a", "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}]}),
                "spec.containers[0].securityContext.capabilities.add",
            ),
            (
                json!({"containers": [{"name": "a", "securityContext": {"capabilities": {"add": ["CAP_NET_RAW"]}}}]}),
                "spec.containers[0].securityContext.capabilities.add",
            ),
            (json!({"hostUsers": false, "containers": []}), "spec.hostUsers"),
            (json!({"containers": [], "volumes": [{"name": "/etc", "emptyDir": {}}]}), "spec.volumes[0].name"),
            (json!({"containers": [{"name": "../x"}]}), "spec.containers[0].name"),
            (
                json!({"containers": [{"name": "a", "securityContext": {"seccompProfile": {"type": "Unconfined"}}}]}),
                "spec.containers[0].securityContext.seccompProfile.type",
            ),
            (
                json!({"containers": [{"name": "a", "securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "../x"}}}]}),
                "spec.containers[0].securityContext.seccompProfile.localhostProfile",
            ),
            (
                json!({"containers": [], "initContainers": [{"name": "s", "restartPolicy": "Always"}]}),
                "spec.initContainers[0].restartPolicy",
            ),
        ] {
            match check_pod(&pod(spec), &Policy::default()) {
                Err(Error::Denied { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }

    #[test]
    fn strict_groups_are_the_pods_alone() {
        let groups = |policy: serde_json::Value| {
            let context = json!({"supplementalGroups": [9], "fsGroup": 8, "supplementalGroupsPolicy": policy});
            let found = read(json!({"securityContext": context, "containers": [{"name": "a"}]})).unwrap();
            user(&found, UserIds { uid: 7, gid: 7, groups: vec![50] }).unwrap().groups
        };
        assert_eq!(groups(json!(null)), [8, 9, 50]);
        assert_eq!(groups(json!("Merge")), [8, 9, 50]);
        assert_eq!(groups(json!("Strict")), [8, 9]);
    }

    #[test]
    fn non_root_means_it() {
        let strict = read(json!({"containers": [{"name": "a", "securityContext": {"runAsNonRoot": true}}]})).unwrap();
        assert!(user(&strict, UserIds::ROOT).is_err());
        assert_eq!(user(&strict, UserIds { uid: 7, gid: 7, groups: vec![] }).unwrap().uid, 7);
    }
}
