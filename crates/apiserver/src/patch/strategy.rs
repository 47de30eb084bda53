//! How lists of Kubernetes' kinds merge: the `patchMergeKey` and `patchStrategy` tags of its types.
//!
//! Source: the field tags of `k8s.io/api` (core/v1, apps/v1, meta/v1) for the kinds served here.

/// What a patch does to a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lists {
    /// The patch's list replaces the stored one.
    Replace,
    /// Items with the same value of this key merge; others are added.
    ByKey(&'static str),
    /// Values are added when they are not there.
    Union,
}

/// The strategy of a list by its field and the field it is in; list indices do not count.
pub(super) fn of(parent: &str, field: &str) -> Lists {
    match (parent, field) {
        ("containers" | "initContainers" | "ephemeralContainers", "ports") => Lists::ByKey("containerPort"),
        ("containers" | "initContainers" | "ephemeralContainers", "env") => Lists::ByKey("name"),
        ("containers" | "initContainers" | "ephemeralContainers", "volumeMounts") => Lists::ByKey("mountPath"),
        ("containers" | "initContainers" | "ephemeralContainers", "volumeDevices") => Lists::ByKey("devicePath"),
        (
            "spec",
            "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "schedulingGates" | "resourceClaims",
        ) => Lists::ByKey("name"),
        // Those of a service account are one list, unlike those of a pod.
        ("spec", "imagePullSecrets") | ("", "secrets") => Lists::ByKey("name"),
        ("spec", "hostAliases") | ("status", "podIPs" | "hostIPs") => Lists::ByKey("ip"),
        ("spec", "topologySpreadConstraints") => Lists::ByKey("topologyKey"),
        ("spec", "ports") => Lists::ByKey("port"),
        ("status", "conditions") => Lists::ByKey("type"),
        ("status", "addresses") => Lists::ByKey("type"),
        ("metadata", "ownerReferences") => Lists::ByKey("uid"),
        ("metadata", "finalizers") | ("spec", "podCIDRs") => Lists::Union,
        _ => Lists::Replace,
    }
}
