//! Refusing what cannot or must not be run, before anything is made.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use super::error::ContainerError;
use super::exec::{EXTRA_FDS_MAX, ExecSpec};
use super::spec::{ContainerSpec, MountSpec, Namespace, SeccompProfile};
use crate::capabilities::{self, Capabilities};
use crate::{apparmor, seccomp};

/// Longest container id: it names directories and cgroups.
const ID_LENGTH_MAX: usize = 128;
/// Most layers overlayfs stacks (kernel: `OVL_MAX_STACK`).
const LAYERS_MAX: usize = 500;
/// Most mounts of one container.
const MOUNTS_MAX: usize = 512;
/// Most bytes of arguments and environment (the kernel's ARG_MAX is a quarter of the stack limit, 2 MiB as a rule).
const STRINGS_BYTES_MAX: usize = 1 << 20;
/// Most bytes of one argument or variable (the kernel's MAX_ARG_STRLEN counts the NUL at the end, too).
const STRING_BYTES_MAX: usize = 128 * 1024 - 1;
/// Bytes that the kernel counts for each of them beside its text: the NUL, and the pointer to it.
const STRING_BYTES_BESIDE: usize = 9;

/// A container id is safe as a file name.
pub(super) fn id(id: &str) -> Result<(), ContainerError> {
    let first = id.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let all = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    if first && all && id.len() <= ID_LENGTH_MAX {
        return Ok(());
    }
    let problem = format!("{id:?} must be 1 to {ID_LENGTH_MAX} of [a-zA-Z0-9_.-] and start with a letter or digit");
    Err(ContainerError::spec("id", problem))
}

/// A cgroup path is relative and plain.
pub(super) fn cgroup_path(field: &'static str, path: &str) -> Result<(), ContainerError> {
    let plain = Path::new(path).components().all(|component| matches!(component, Component::Normal(_)));
    if plain && !path.is_empty() && !path.contains('\0') {
        return Ok(());
    }
    Err(ContainerError::spec(field, format!("{path:?} must be a relative path without `..`, like `nanocloud`")))
}

/// The whole spec.
pub(super) fn container(spec: &ContainerSpec) -> Result<(), ContainerError> {
    id(&spec.id)?;
    if let Some(parent) = &spec.cgroup_parent {
        cgroup_path("cgroup_parent", parent)?;
    }
    if spec.layers.is_empty() || spec.layers.len() > LAYERS_MAX {
        let problem = format!("{} given; 1 to {LAYERS_MAX} can be stacked", spec.layers.len());
        return Err(ContainerError::spec("layers", problem));
    }
    if let Some(layer) = spec.layers.iter().find(|layer| !layer.is_absolute()) {
        return Err(ContainerError::spec("layers", format!("{} must be absolute", layer.display())));
    }
    strings(&spec.argv, &spec.env)?;
    absolute("cwd", &spec.cwd)?;
    mounts(&spec.mounts)?;
    if spec.hostname.is_some() && spec.namespaces.uts != Namespace::New {
        return Err(ContainerError::spec("hostname", "can be set in a new UTS namespace only"));
    }
    sysctls(spec)?;
    if let Some(log) = &spec.log
        && (log.max_files == 0 || log.max_bytes == 0 || !log.path.is_absolute())
    {
        return Err(ContainerError::spec("log", "needs an absolute path, at least one file and one byte"));
    }
    privileges(spec)
}

/// Kernel parameters of namespaces that are not the host's, as Kubernetes and OCI runtimes have them; all
/// others would change the host.
fn sysctls(spec: &ContainerSpec) -> Result<(), ContainerError> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    for name in spec.sysctls.keys() {
        let plain = name.split('.').all(|part| !part.is_empty() && !part.contains(['/', '\0']));
        let ipc = IPC.contains(&name.as_str()) || name.starts_with("fs.mqueue.");
        let own = (name.starts_with("net.") && spec.namespaces.network != Namespace::Host)
            || (ipc && spec.namespaces.ipc != Namespace::Host);
        if !plain || !own {
            let problem = format!(
                "{name:?} is not a parameter of the container's own namespaces; those are net.*, fs.mqueue.*, {}",
                IPC.join(", ")
            );
            return Err(ContainerError::spec("sysctls", problem));
        }
    }
    Ok(())
}

fn privileges(spec: &ContainerSpec) -> Result<(), ContainerError> {
    if !spec.privileged && !spec.capabilities.is_empty() {
        return Err(ContainerError::spec("capabilities", "need `privileged`; leave them empty to run without"));
    }
    if let Err(name) = Capabilities::named(&spec.capabilities) {
        let problem = if name == capabilities::NEVER {
            format!("{name} is never given: containers have the devices of /dev and no others")
        } else {
            format!("{name:?} is unknown; names are like CAP_NET_RAW")
        };
        return Err(ContainerError::spec("capabilities", problem));
    }
    match &spec.seccomp {
        SeccompProfile::Unconfined if !spec.privileged => {
            Err(ContainerError::spec("seccomp", "Unconfined needs `privileged`; use Baseline or Localhost"))
        }
        SeccompProfile::Localhost(text) => match seccomp::from_json(text) {
            Ok(_) => Ok(()),
            Err(error) => Err(ContainerError::spec("seccomp", error.to_string())),
        },
        SeccompProfile::Baseline | SeccompProfile::Unconfined => Ok(()),
    }
}

fn strings(argv: &[String], env: &[(String, String)]) -> Result<(), ContainerError> {
    if argv.first().is_none_or(String::is_empty) {
        return Err(ContainerError::spec("argv", "must name a program"));
    }
    if argv.iter().any(|argument| argument.contains('\0')) {
        return Err(ContainerError::spec("argv", "must not hold NUL"));
    }
    for (name, value) in env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(ContainerError::spec("env", format!("{name:?} is no valid name, or its value holds NUL")));
        }
    }
    let arguments = argv.iter().map(|argument| ("argv", argument.len()));
    let variables = env.iter().map(|(name, value)| ("env", name.len() + 1 + value.len()));
    if let Some((field, bytes)) =
        arguments.clone().chain(variables.clone()).find(|(_, bytes)| *bytes > STRING_BYTES_MAX)
    {
        let problem = format!("one text has {bytes} bytes; Linux gives a program at most {STRING_BYTES_MAX} in one");
        return Err(ContainerError::spec(field, problem));
    }
    let bytes: usize = arguments.chain(variables).map(|(_, bytes)| bytes + STRING_BYTES_BESIDE).sum();
    if bytes > STRINGS_BYTES_MAX {
        let problem = format!("arguments and environment are {bytes} bytes; {STRINGS_BYTES_MAX} are allowed");
        return Err(ContainerError::spec("argv", problem));
    }
    Ok(())
}

fn absolute(field: &'static str, path: &Path) -> Result<(), ContainerError> {
    let plain = path.components().all(|component| matches!(component, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain && !path.as_os_str().as_encoded_bytes().contains(&0) {
        return Ok(());
    }
    Err(ContainerError::spec(field, format!("{} must be absolute, without `..`", path.display())))
}

fn mounts(mounts: &[MountSpec]) -> Result<(), ContainerError> {
    if mounts.len() > MOUNTS_MAX {
        return Err(ContainerError::spec("mounts", format!("{} given; {MOUNTS_MAX} are allowed", mounts.len())));
    }
    let mut targets = BTreeSet::new();
    for mount in mounts {
        absolute("mounts", mount.target())?;
        if mount.target() == Path::new("/") {
            return Err(ContainerError::spec("mounts", "nothing can be mounted on /; that is the image"));
        }
        if mount.target().starts_with("/proc") {
            return Err(ContainerError::spec("mounts", "nothing can be mounted in /proc; that is the kernel's"));
        }
        if !targets.insert(mount.target()) {
            let problem = format!("{} is mounted on twice", mount.target().display());
            return Err(ContainerError::spec("mounts", problem));
        }
        if let MountSpec::Bind { source, .. } = mount {
            absolute("mounts", source)?;
            if !source.exists() {
                let problem = format!("{} does not exist; make it first", source.display());
                return Err(ContainerError::spec("mounts", problem));
            }
        }
    }
    Ok(())
}

/// A program to execute.
pub(super) fn exec(spec: &ExecSpec) -> Result<(), ContainerError> {
    strings(&spec.argv, &spec.env)?;
    if let Some(cwd) = &spec.cwd {
        absolute("cwd", cwd)?;
    }
    if spec.extra_fds.len() > EXTRA_FDS_MAX {
        let problem = format!("{} given; {EXTRA_FDS_MAX} are allowed", spec.extra_fds.len());
        return Err(ContainerError::spec("extra_fds", problem));
    }
    if let Some(name) = spec.apparmor.as_ref().filter(|name| !apparmor::is_name(name)) {
        return Err(ContainerError::spec("apparmor", format!("{name:?} cannot be the name of a profile")));
    }
    Ok(())
}

/// Whether this host can run containers at all.
pub(super) fn host() -> Result<(), ContainerError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(ContainerError::Unsupported { what: "root rights for this process", remedy: "run it as root" });
    }
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.lines().any(|line| line.split_whitespace().last() == Some("overlay")) {
        return Err(ContainerError::Unsupported { what: "overlayfs", remedy: "load it: modprobe overlay" });
    }
    if !Path::new("/proc/sys/kernel/seccomp").exists() {
        return Err(ContainerError::Unsupported {
            what: "seccomp filters",
            remedy: "use a kernel with CONFIG_SECCOMP_FILTER",
        });
    }
    for namespace in ["cgroup", "ipc", "mnt", "net", "pid", "uts"] {
        if !Path::new("/proc/self/ns").join(namespace).exists() {
            return Err(ContainerError::Unsupported {
                what: "one of the namespaces cgroup, ipc, mnt, net, pid, uts",
                remedy: "use a kernel with CONFIG_NAMESPACES and all of its kinds",
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::LogTarget;

    fn sample() -> ContainerSpec {
        ContainerSpec::new("web-1.a", vec!["/l".into()], vec!["true".into()])
    }

    /// The field an altered sample is refused for.
    fn refused(alter: impl FnOnce(&mut ContainerSpec)) -> Option<&'static str> {
        let mut spec = sample();
        alter(&mut spec);
        match container(&spec) {
            Err(ContainerError::Spec { field, .. }) => Some(field),
            _ => None,
        }
    }

    #[test]
    fn each_wrong_field_is_named() {
        assert_eq!(refused(|_| {}), None);
        for bad in ["", ".", "..", "-a", "a/b", "a b", "ä"] {
            assert_eq!(refused(|spec| spec.id = bad.into()), Some("id"), "{bad:?}");
        }
        assert_eq!(refused(|spec| spec.id = "x".repeat(129)), Some("id"));
        assert_eq!(refused(|spec| spec.cgroup_parent = Some("../up".into())), Some("cgroup_parent"));
        assert_eq!(refused(|spec| spec.cgroup_parent = Some("/abs".into())), Some("cgroup_parent"));
        assert_eq!(refused(|spec| spec.layers.clear()), Some("layers"));
        assert_eq!(refused(|spec| spec.argv.clear()), Some("argv"));
        assert_eq!(refused(|spec| spec.argv[0] = "a\0b".into()), Some("argv"));
        assert_eq!(refused(|spec| spec.env.push(("A=B".into(), String::new()))), Some("env"));
        assert_eq!(refused(|spec| spec.env.push(("A".into(), "x".repeat(STRING_BYTES_MAX - 1)))), Some("env"));
        assert_eq!(refused(|spec| spec.env.push(("A".into(), "x".repeat(STRING_BYTES_MAX - 2)))), None);
        assert_eq!(refused(|spec| spec.argv.push("x".repeat(STRING_BYTES_MAX + 1))), Some("argv"));
        assert_eq!(refused(|spec| spec.argv = vec!["x".into(); 200_000]), Some("argv"), "pointers count, too");
        assert_eq!(refused(|spec| spec.cwd = "relative".into()), Some("cwd"));
        assert_eq!(refused(|spec| spec.cwd = "/a/../b".into()), Some("cwd"));
        assert_eq!(refused(|spec| spec.mounts.push(MountSpec::bind("/", "/", true))), Some("mounts"));
        assert_eq!(refused(|spec| spec.mounts.push(MountSpec::bind("/etc", "/proc/sys", true))), Some("mounts"));
        assert_eq!(refused(|spec| spec.mounts.push(MountSpec::bind("/none/such", "/x", true))), Some("mounts"));
        assert_eq!(refused(|spec| spec.log = Some(LogTarget { max_files: 0, ..LogTarget::new("/l") })), Some("log"));
    }

    #[test]
    fn parameters_of_the_host_are_refused() {
        let set = |name: &str, network: Namespace| {
            refused(|spec| {
                spec.namespaces.network = network;
                spec.sysctls.insert(name.to_owned(), "1".to_owned());
            })
        };
        assert_eq!(set("net.ipv4.ip_unprivileged_port_start", Namespace::New), None);
        assert_eq!(set("net.core.somaxconn", Namespace::Path("/n".into())), None);
        assert_eq!(set("kernel.shmmax", Namespace::New), None);
        for name in ["kernel.panic", "vm.swappiness", "net/../kernel.panic", "net..x", "", "fs.file-max"] {
            assert_eq!(set(name, Namespace::New), Some("sysctls"), "{name:?}");
        }
        assert_eq!(set("net.core.somaxconn", Namespace::Host), Some("sysctls"));
    }

    #[test]
    fn privileges_must_be_asked_for_twice() {
        assert_eq!(refused(|spec| spec.capabilities.push("CAP_NET_RAW".into())), Some("capabilities"));
        assert_eq!(refused(|spec| spec.seccomp = SeccompProfile::Unconfined), Some("seccomp"));
        assert_eq!(refused(|spec| spec.seccomp = SeccompProfile::Localhost("{".into())), Some("seccomp"));
        let both = |spec: &mut ContainerSpec| {
            spec.privileged = true;
            spec.seccomp = SeccompProfile::Unconfined;
            spec.capabilities.push("CAP_NET_RAW".into());
        };
        assert_eq!(refused(both), None);
        for name in ["CAP_MKNOD", "NET_RAW"] {
            let bad = |spec: &mut ContainerSpec| {
                both(spec);
                spec.capabilities.push(name.into());
            };
            assert_eq!(refused(bad), Some("capabilities"), "{name}");
        }
    }
}
