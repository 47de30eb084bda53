//! Fields of security contexts.

use super::{Shape, done, of, only, refused, warned};

/// Remedy of SELinux fields.
const NO_SELINUX: &str = "SELinux labels are not applied; leave it out";
/// Remedy of fields for Windows.
const NO_WINDOWS: &str = "containers run on Linux; leave it out";
/// Effect of a wish for set-user-ID programs.
const NO_ESCALATION: &str = "no process gains privileges; set-user-ID programs run as the user who starts them";

pub(super) static POD_SECURITY_CONTEXT: Shape = Shape(&[
    of("appArmorProfile", &APP_ARMOR_PROFILE),
    done("fsGroup"),
    warned("fsGroupChangePolicy", &["Always"], "the owner of files is set at each start"),
    done("runAsGroup"),
    done("runAsNonRoot"),
    done("runAsUser"),
    refused("seLinuxChangePolicy", &[], NO_SELINUX),
    refused("seLinuxOptions", &["{}"], NO_SELINUX),
    of("seccompProfile", &SECCOMP_PROFILE),
    done("supplementalGroups"),
    done("supplementalGroupsPolicy"),
    refused("sysctls", &[], "kernel parameters of pods are not set; set them on the host"),
    refused("windowsOptions", &["{}"], NO_WINDOWS),
]);

pub(super) static SECURITY_CONTEXT: Shape = Shape(&[
    warned("allowPrivilegeEscalation", &["false"], NO_ESCALATION),
    of("appArmorProfile", &APP_ARMOR_PROFILE),
    of("capabilities", &CAPABILITIES),
    refused("privileged", &["false"], "no container is privileged; add the capabilities it needs"),
    only("procMount", &["Default"], "only Default is done: parts of /proc are hidden or read-only"),
    done("readOnlyRootFilesystem"),
    done("runAsGroup"),
    done("runAsNonRoot"),
    done("runAsUser"),
    refused("seLinuxOptions", &["{}"], NO_SELINUX),
    of("seccompProfile", &SECCOMP_PROFILE),
    refused("windowsOptions", &["{}"], NO_WINDOWS),
]);

static CAPABILITIES: Shape = Shape(&[done("add"), done("drop")]);

static SECCOMP_PROFILE: Shape = Shape(&[done("localhostProfile"), done("type")]);

static APP_ARMOR_PROFILE: Shape = Shape(&[
    refused("localhostProfile", &[], "AppArmor profiles are not applied to containers; leave it out"),
    only(
        "type",
        &["Unconfined"],
        "AppArmor profiles are not applied to containers; leave it out, seccomp filters are on",
    ),
]);
