//! The kinds of a definition.

use std::{cmp::Reverse, sync::OnceLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, CustomResourceSubresources,
};

use super::{ESTABLISHED, behaviour::CustomResource, json_path::JsonPath};
use crate::{
    kind::{Custom, Facts, Kind, Names, ScalePaths},
    resource::{Scope, Subresource},
};

/// Whether a condition of the definition is true.
pub fn has_condition(definition: &CustomResourceDefinition, name: &str) -> bool {
    let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == name && condition.status == "True")
}

/// The kinds of a definition that is established: one for each version that is served, the preferred one first.
pub fn kinds(definition: &CustomResourceDefinition) -> Vec<Kind> {
    if !has_condition(definition, ESTABLISHED) {
        return Vec::new();
    }
    // Objects must be reached to be deleted, even when no version is served.
    let ends = definition.metadata.deletion_timestamp.is_some();
    let is_served = |version: &&CustomResourceDefinitionVersion| version.served || (ends && version.storage);
    let mut served: Vec<_> = definition.spec.versions.iter().filter(is_served).collect();
    served.sort_by_key(|version| by_priority(&version.name));
    served.into_iter().map(|version| kind(definition, version)).collect()
}

fn kind(definition: &CustomResourceDefinition, version: &CustomResourceDefinitionVersion) -> Kind {
    let spec = &definition.spec;
    // Names that were accepted once stay, whatever is asked for later.
    let accepted = definition.status.as_ref().and_then(|status| status.accepted_names.as_ref());
    let names = accepted.unwrap_or(&spec.names);
    let owned = |list: &Option<Vec<String>>| list.iter().flatten().map(|name| name.clone().into()).collect();
    let scope = if spec.scope == "Cluster" { Scope::Cluster } else { Scope::Namespaced };
    let api_version = |version: &str| format!("{}/{version}", spec.group);
    let stored = spec.versions.iter().find(|version| version.storage).unwrap_or(version);
    let deprecation = (version.deprecated == Some(true)).then(|| {
        let usual = || format!("{} {} is deprecated", api_version(&version.name), names.kind);
        version.deprecation_warning.clone().unwrap_or_else(usual)
    });
    let parts = version.subresources.as_ref();
    let facts = Facts {
        has_status: parts.is_some_and(|parts| parts.status.is_some()),
        subresources: match parts.and_then(|parts| parts.scale.as_ref()) {
            Some(_) => vec![Subresource::SCALE].into(),
            None => Vec::new().into(),
        },
        scale: parts.and_then(scale_paths).unwrap_or_default(),
        custom: Some(Custom { stored_as: api_version(&stored.name), deprecation }),
        ..Facts::new(scope)
    };
    let behaviour = CustomResource {
        api_version: api_version(&version.name),
        kind: names.kind.clone(),
        scope,
        version: version.clone(),
        schema: OnceLock::new(),
    };
    let names = Names {
        group: spec.group.clone().into(),
        version: version.name.clone().into(),
        kind: names.kind.clone().into(),
        plural: names.plural.clone().into(),
        singular: names.singular.clone().unwrap_or_else(|| names.kind.to_ascii_lowercase()).into(),
        list_kind: names.list_kind.clone().unwrap_or_else(|| format!("{}List", names.kind)).into(),
        short_names: owned(&names.short_names),
        categories: owned(&names.categories),
    };
    Kind::new(names, facts, behaviour)
}

fn scale_paths(parts: &CustomResourceSubresources) -> Option<ScalePaths> {
    let scale = parts.scale.as_ref()?;
    let pointer = |path: &str| Some(JsonPath::parse(path).ok()?.pointer()?.into());
    Some(ScalePaths {
        spec: pointer(&scale.spec_replicas_path)?,
        status: pointer(&scale.status_replicas_path)?,
        selector: scale.label_selector_path.as_deref().and_then(pointer),
    })
}

/// In which order Kubernetes prefers versions: `v2`, `v1`, `v1beta2`, `v1alpha1`, and others by name.
pub fn by_priority(version: &str) -> impl Ord + use<> {
    let parsed = || {
        let rest = version.strip_prefix('v')?;
        let major = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, stage) = rest.split_at(major);
        let number: u64 = number.parse().ok().filter(|_| !rest.starts_with('0'))?;
        let (rank, minor) = match (stage.strip_prefix("beta"), stage.strip_prefix("alpha")) {
            (Some(minor), _) => (1, minor.parse::<u64>().ok()?),
            (_, Some(minor)) => (0, minor.parse::<u64>().ok()?),
            _ if stage.is_empty() => (2, 0),
            _ => return None,
        };
        Some((rank, number, minor))
    };
    (Reverse(parsed()), version.to_owned())
}
