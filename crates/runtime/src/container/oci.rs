//! From our spec to the OCI runtime configuration libcontainer reads. Pure.
//!
//! Program, arguments and environment are left out: they may be secret and go to the executor in
//! memory. What is written here is the confinement.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::spec::{ContainerSpec, MountSpec, Namespace};

/// Facts about the host that shape the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostFacts {
    /// Cgroups are v2.
    pub(crate) cgroup_v2: bool,
    /// Swap can be limited.
    pub(crate) limits_swap: bool,
    /// Hard limit of open files of the shim, which cannot be raised.
    pub(crate) open_files_max: u64,
}

/// CPU bandwidth period in microseconds (the kernel's default).
const CPU_PERIOD_MICROS: u64 = 100_000;
/// Smallest quota the kernel takes, in microseconds.
const CPU_QUOTA_MICROS_MIN: u64 = 1000;
/// Size of `/dev`, which holds no data.
const DEV_OPTIONS: [&str; 5] = ["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"];

/// Hidden from containers: the usual list of OCI runtimes.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// Read-only in containers: the usual list of OCI runtimes.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The content of `config.json`.
pub(crate) fn oci_spec(spec: &ContainerSpec, rootfs: &Path, cgroup: &Path, host: HostFacts) -> Value {
    let paths = |chosen: &Option<Vec<PathBuf>>, usual: &[&str]| match chosen {
        Some(paths) => json!(paths),
        None => json!(usual),
    };
    let mut config = json!({
        "ociVersion": "1.0.2",
        "root": { "path": rootfs, "readonly": spec.read_only_rootfs },
        "mounts": mounts(spec, host),
        "process": process(spec, host),
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": namespaces(spec),
            "resources": resources(spec, host),
            "maskedPaths": paths(&spec.masked_paths, &MASKED),
            "readonlyPaths": paths(&spec.readonly_paths, &READ_ONLY),
            "sysctl": spec.sysctls,
        },
    });
    if let Some(name) = &spec.hostname {
        config["hostname"] = json!(name);
    }
    config
}

fn process(spec: &ContainerSpec, host: HostFacts) -> Value {
    let kept = &spec.capabilities;
    let mut process = json!({
        "terminal": spec.tty,
        "user": { "uid": spec.user.uid, "gid": spec.user.gid, "additionalGids": spec.user.groups },
        "args": ["program"],
        "cwd": spec.cwd,
        "noNewPrivileges": true,
        "capabilities": {
            "bounding": kept, "effective": kept, "permitted": kept, "inheritable": kept, "ambient": kept,
        },
    });
    if let Some(wanted) = spec.resources.open_files {
        let limit = wanted.min(host.open_files_max);
        process["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": limit, "hard": limit }]);
    }
    process
}

fn namespaces(spec: &ContainerSpec) -> Value {
    let chosen = [
        ("network", &spec.namespaces.network),
        ("ipc", &spec.namespaces.ipc),
        ("uts", &spec.namespaces.uts),
        ("pid", &spec.namespaces.pid),
    ];
    let mut list = vec![json!({ "type": "mount" }), json!({ "type": "cgroup" })];
    for (kind, namespace) in chosen {
        match namespace {
            Namespace::New => list.push(json!({ "type": kind })),
            Namespace::Path(path) => list.push(json!({ "type": kind, "path": path })),
            Namespace::Host => {}
        }
    }
    Value::Array(list)
}

fn resources(spec: &ContainerSpec, host: HostFacts) -> Value {
    let wanted = &spec.resources;
    // Containers may use no device but those the runtime makes in /dev (it allows them itself).
    let mut resources = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    if let Some(bytes) = wanted.memory_bytes {
        resources["memory"] = json!({ "limit": bytes });
        if host.limits_swap {
            resources["memory"]["swap"] = json!(bytes);
        }
    }
    let mut cpu = serde_json::Map::new();
    if let Some(shares) = wanted.cpu_shares {
        cpu.insert("shares".into(), json!(shares.max(2)));
    }
    if let Some(millis) = wanted.cpu_millis {
        let quota = (millis * CPU_PERIOD_MICROS / 1000).max(CPU_QUOTA_MICROS_MIN);
        cpu.insert("quota".into(), json!(quota));
        cpu.insert("period".into(), json!(CPU_PERIOD_MICROS));
    }
    if !cpu.is_empty() {
        resources["cpu"] = Value::Object(cpu);
    }
    if let Some(limit) = wanted.pids {
        resources["pids"] = json!({ "limit": limit });
    }
    resources
}

fn mounts(spec: &ContainerSpec, host: HostFacts) -> Value {
    let strict = ["nosuid", "noexec", "nodev"];
    let with =
        |more: &[&str]| -> Vec<String> { strict.iter().chain(more).map(|option| (*option).to_owned()).collect() };
    let shm = [with(&["mode=1777"]), vec![format!("size={}", spec.shm_bytes)]].concat();
    let mut list = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc", "options": strict }),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": DEV_OPTIONS }),
        json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] }),
        json!({ "destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": shm }),
        json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": with(&["ro"]) }),
    ];
    if spec.namespaces.ipc == Namespace::New {
        list.push(json!({ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": strict }));
    }
    if host.cgroup_v2 {
        // On v1 they would be writable inside: there are none.
        list.push(json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                          "options": with(&["relatime", "ro"]) }));
    }
    list.extend(spec.mounts.iter().map(mount));
    Value::Array(list)
}

fn mount(mount: &MountSpec) -> Value {
    match mount {
        MountSpec::Bind { source, target, read_only } => {
            // A read-only bind mount shows no mounts below its source: those would stay writable.
            let access: &[&str] = if *read_only { &["bind", "ro"] } else { &["rbind", "rw"] };
            let options = [access, &["rprivate", "nosuid", "nodev"]].concat();
            json!({ "destination": target, "type": "bind", "source": source, "options": options })
        }
        MountSpec::Tmpfs { target, size_bytes, mode, uid, gid } => {
            let own =
                [format!("size={size_bytes}"), format!("mode={mode:o}"), format!("uid={uid}"), format!("gid={gid}")];
            let options: Vec<String> = ["nosuid", "nodev"].into_iter().map(str::to_owned).chain(own).collect();
            json!({ "destination": target, "type": "tmpfs", "source": "tmpfs", "options": options })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: HostFacts = HostFacts { cgroup_v2: false, limits_swap: true, open_files_max: 1024 };

    fn config(spec: &ContainerSpec, host: HostFacts) -> Value {
        oci_spec(spec, Path::new("/r"), Path::new("/g/c"), host)
    }

    fn sample() -> ContainerSpec {
        ContainerSpec::new("c", vec!["/l".into()], vec!["secret-argument".into()])
    }

    #[test]
    fn nothing_secret_is_written_and_nothing_is_allowed_by_default() {
        let mut spec = sample();
        spec.env.push(("PASSWORD".into(), "hunter2".into()));
        let config = config(&spec, V1);
        let text = config.to_string();
        assert!(!text.contains("hunter2") && !text.contains("PASSWORD") && !text.contains("secret-argument"));
        for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
            assert_eq!(config["process"]["capabilities"][set], json!([]), "{set}");
        }
        assert_eq!(config["process"]["noNewPrivileges"], json!(true));
        assert_eq!(config["process"]["user"]["uid"], json!(65534));
    }

    #[test]
    fn cgroups_are_mounted_read_only_on_v2_and_never_on_v1() {
        let of = |host| {
            let config = config(&sample(), host);
            let mounts = config["mounts"].as_array().cloned().unwrap_or_default();
            mounts.into_iter().find(|mount| mount["type"] == "cgroup").map(|mount| mount["options"].to_string())
        };
        assert_eq!(of(V1), None);
        assert!(of(HostFacts { cgroup_v2: true, ..V1 }).is_some_and(|options| options.contains("\"ro\"")));
    }

    #[test]
    fn limits_are_converted_and_clamped() {
        let mut spec = sample();
        spec.resources.memory_bytes = Some(64 << 20);
        spec.resources.cpu_millis = Some(1500);
        spec.resources.pids = Some(9);
        spec.resources.open_files = Some(1 << 20);
        let full = config(&spec, V1);
        assert_eq!(full["linux"]["resources"]["memory"], json!({ "limit": 64 << 20, "swap": 64 << 20 }));
        assert_eq!(full["linux"]["resources"]["cpu"], json!({ "quota": 150_000, "period": 100_000 }));
        assert_eq!(full["linux"]["resources"]["pids"], json!({ "limit": 9 }));
        assert_eq!(full["process"]["rlimits"][0]["hard"], json!(1024));
        spec.resources.cpu_millis = Some(1);
        let no_swap = config(&spec, HostFacts { limits_swap: false, ..V1 });
        assert_eq!(no_swap["linux"]["resources"]["memory"], json!({ "limit": 64 << 20 }));
        assert_eq!(no_swap["linux"]["resources"]["cpu"]["quota"], json!(1000), "the kernel's least");
    }

    #[test]
    fn namespaces_are_new_shared_or_left_out() {
        let mut spec = sample();
        spec.namespaces.network = Namespace::Path("/run/netns/x".into());
        spec.namespaces.ipc = Namespace::Host;
        let list = config(&spec, V1)["linux"]["namespaces"].clone();
        assert_eq!(
            list,
            json!([{ "type": "mount" }, { "type": "cgroup" }, { "type": "network", "path": "/run/netns/x" },
                   { "type": "uts" }, { "type": "pid" }])
        );
    }
}
