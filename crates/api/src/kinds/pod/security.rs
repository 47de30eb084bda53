//! Users, privileges and filters of pods and containers.

use k8s_openapi::api::core::v1::{PodSpec, SeccompProfile, SecurityContext};

use super::rules::{Errors, id, one_of, path_below, text, unless};
use crate::{FieldError, Path};

/// System call filters. `Baseline` is the server's own, as `RuntimeDefault` is.
const SECCOMP_TYPES: [&str; 3] = ["RuntimeDefault", "Localhost", "Baseline"];

/// Checks the context of the whole pod.
pub(super) fn check_pod(spec: &PodSpec, path: &Path<'_>) -> Errors {
    let Some(context) = &spec.security_context else { return Errors::new() };
    let path = path.field("securityContext");
    let mut errors = Errors::new();
    for (field, number) in
        [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group), ("fsGroup", context.fs_group)]
    {
        errors.extend(id(number, path.field(field)));
    }
    let list = path.field("supplementalGroups");
    let groups = context.supplemental_groups.iter().flatten().enumerate();
    errors.extend(groups.flat_map(|(index, group)| id(Some(*group), list.index(index))));
    let policies = ["Merge", "Strict"];
    errors.extend(one_of(&context.supplemental_groups_policy, &policies, path.field("supplementalGroupsPolicy")));
    let changes = ["Always", "OnRootMismatch"];
    errors.extend(one_of(&context.fs_group_change_policy, &changes, path.field("fsGroupChangePolicy")));
    errors.extend(context.seccomp_profile.iter().flat_map(|profile| seccomp(profile, &path.field("seccompProfile"))));
    errors
}

/// Checks the context of one container.
pub(super) fn check(context: &SecurityContext, path: &Path<'_>) -> Errors {
    let mut errors = id(context.run_as_user, path.field("runAsUser"));
    errors.extend(id(context.run_as_group, path.field("runAsGroup")));
    errors.extend(context.seccomp_profile.iter().flat_map(|profile| seccomp(profile, &path.field("seccompProfile"))));
    let added = context.capabilities.iter().flat_map(|set| set.add.iter().flatten());
    errors.extend(added.flat_map(|name| capability(name, path.field("capabilities.add"))));
    let gains = context.privileged == Some(true)
        || context.capabilities.iter().flat_map(|set| set.add.iter().flatten()).any(|name| name == "CAP_SYS_ADMIN");
    errors.extend(unless(!gains || context.allow_privilege_escalation != Some(false), || {
        FieldError::invalid(path, "allowPrivilegeEscalation cannot be false for a container that has all privileges")
    }));
    errors
}

/// A capability, with or without `CAP_`. Which of them a node gives is for its owner to say; none gives all at once,
/// and none lets device nodes be made.
fn capability(name: &str, field: Path<'_>) -> Errors {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let plain = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    if !plain {
        return vec![FieldError::invalid(field, format!("{name:?} must be a name like NET_BIND_SERVICE"))];
    }
    unless(!matches!(bare, "ALL" | "MKNOD"), || {
        FieldError::not_supported(field, format!("{name} is given to no container; name those that are needed"))
    })
}

fn seccomp(profile: &SeccompProfile, path: &Path<'_>) -> Errors {
    let kind = profile.type_.as_str();
    let file = text(&profile.localhost_profile);
    let field = path.field("localhostProfile");
    let mut errors = match kind {
        "" => vec![FieldError::required(path.field("type"), "say which filter, such as RuntimeDefault")],
        _ => one_of(&Some(kind.to_owned()), &SECCOMP_TYPES, path.field("type")),
    };
    errors.extend(match (kind, file) {
        ("Localhost", None) => vec![FieldError::required(field, "name the profile's file")],
        ("Localhost", Some(file)) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            let named = !file.starts_with('.') && file.chars().all(plain);
            let mut errors = path_below(file, field);
            if errors.is_empty() && !named {
                errors.push(FieldError::invalid(field, format!("{file:?} must be a file's name, without directories")));
            }
            errors
        }
        (_, Some(_)) => vec![FieldError::invalid(field, "is for type Localhost only")],
        (_, None) => Errors::new(),
    });
    errors
}
