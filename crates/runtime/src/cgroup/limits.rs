//! Which files of a cgroup say what a container may use. Pure.

use std::path::Path;

use crate::container::Resources;

/// CPU bandwidth period in microseconds (the kernel's default).
const CPU_PERIOD_MICROS: u64 = 100_000;
/// Smallest quota the kernel takes, in microseconds.
const CPU_QUOTA_MICROS_MIN: u64 = 1000;
/// Range of `cpu.shares` (v1).
const CPU_SHARES: (u64, u64) = (2, 262_144);
/// Range of `cpu.weight` (v2).
const CPU_WEIGHT: (u64, u64) = (1, 10_000);

/// Devices that programs may use: those the runtime makes in `/dev`, and terminals
/// (`type major:minor access` of the v1 device controller). Everything else is refused.
const DEVICES: [&str; 9] = [
    "c 1:3 rwm",   // null
    "c 1:5 rwm",   // zero
    "c 1:7 rwm",   // full
    "c 1:8 rwm",   // random
    "c 1:9 rwm",   // urandom
    "c 5:0 rwm",   // tty
    "c 5:1 rwm",   // console
    "c 5:2 rwm",   // ptmx
    "c 136:* rwm", // pts/*
];

/// One value for one file of a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) controller: &'static str,
    pub(super) file: &'static str,
    pub(super) value: String,
    /// Whether a kernel may lack the file.
    pub(super) optional: bool,
}

impl Setting {
    fn new(controller: &'static str, file: &'static str, value: impl ToString) -> Self {
        Self { controller, file, value: value.to_string(), optional: false }
    }

    fn if_there(self) -> Self {
        Self { optional: true, ..self }
    }

    /// Whether the directory of the controller lacks the file, and may.
    pub(super) fn is_missing(&self, directory: &Path) -> bool {
        self.optional && !directory.join(self.file).exists()
    }
}

/// Settings of cgroup v1, in the order in which the kernel takes them.
pub(super) fn v1(wanted: &Resources) -> Vec<Setting> {
    let mut settings = vec![Setting::new("devices", "devices.deny", "a")];
    settings.extend(DEVICES.iter().map(|rule| Setting::new("devices", "devices.allow", rule)));
    if let Some(bytes) = wanted.memory_bytes {
        settings.push(Setting::new("memory", "memory.limit_in_bytes", bytes));
        // Memory and swap together: no swap beyond the memory.
        settings.push(Setting::new("memory", "memory.memsw.limit_in_bytes", bytes).if_there());
    }
    if let Some(shares) = wanted.cpu_shares {
        settings.push(Setting::new("cpu", "cpu.shares", shares.clamp(CPU_SHARES.0, CPU_SHARES.1)));
    }
    if let Some(millis) = wanted.cpu_millis {
        settings.push(Setting::new("cpu", "cpu.cfs_period_us", CPU_PERIOD_MICROS));
        settings.push(Setting::new("cpu", "cpu.cfs_quota_us", quota(millis)));
    }
    if let Some(limit) = wanted.pids {
        settings.push(Setting::new("pids", "pids.max", limit));
    }
    settings
}

/// Settings of cgroup v2.
pub(super) fn v2(wanted: &Resources) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(bytes) = wanted.memory_bytes {
        settings.push(Setting::new("memory", "memory.max", bytes));
        settings.push(Setting::new("memory", "memory.swap.max", 0).if_there());
    }
    if let Some(shares) = wanted.cpu_shares {
        settings.push(Setting::new("cpu", "cpu.weight", weight(shares)));
    }
    if let Some(millis) = wanted.cpu_millis {
        settings.push(Setting::new("cpu", "cpu.max", format!("{} {CPU_PERIOD_MICROS}", quota(millis))));
    }
    if let Some(limit) = wanted.pids {
        settings.push(Setting::new("pids", "pids.max", limit));
    }
    settings
}

fn quota(millis: u64) -> u64 {
    millis.saturating_mul(CPU_PERIOD_MICROS / 1000).max(CPU_QUOTA_MICROS_MIN)
}

/// The weight of v2 that stands where the shares of v1 do: both ranges are stretched onto each other, as
/// Kubernetes and OCI runtimes do.
fn weight(shares: u64) -> u64 {
    let shares = shares.clamp(CPU_SHARES.0, CPU_SHARES.1);
    CPU_WEIGHT.0 + (shares - CPU_SHARES.0) * (CPU_WEIGHT.1 - CPU_WEIGHT.0) / (CPU_SHARES.1 - CPU_SHARES.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(settings: &[Setting], file: &str) -> Option<String> {
        settings.iter().find(|setting| setting.file == file).map(|setting| setting.value.clone())
    }

    #[test]
    fn limits_are_written_as_each_version_reads_them() {
        let wanted = Resources {
            memory_bytes: Some(64 << 20),
            cpu_shares: Some(1024),
            cpu_millis: Some(1500),
            pids: Some(9),
            ..Resources::default()
        };
        let (old, new) = (v1(&wanted), v2(&wanted));
        assert_eq!(value(&old, "memory.limit_in_bytes").as_deref(), Some("67108864"));
        assert_eq!(value(&old, "memory.memsw.limit_in_bytes").as_deref(), Some("67108864"));
        assert_eq!(value(&old, "cpu.shares").as_deref(), Some("1024"));
        assert_eq!(value(&old, "cpu.cfs_quota_us").as_deref(), Some("150000"));
        assert_eq!(value(&new, "memory.max").as_deref(), Some("67108864"));
        assert_eq!(value(&new, "memory.swap.max").as_deref(), Some("0"), "no swap beyond the memory");
        assert_eq!(value(&new, "cpu.weight").as_deref(), Some("39"));
        assert_eq!(value(&new, "cpu.max").as_deref(), Some("150000 100000"));
        for settings in [&old, &new] {
            assert_eq!(value(settings, "pids.max").as_deref(), Some("9"));
        }
    }

    #[test]
    fn extremes_stay_in_what_the_kernel_takes() {
        assert_eq!((weight(0), weight(2), weight(u64::MAX)), (1, 1, 10_000));
        let wanted = Resources { cpu_shares: Some(0), cpu_millis: Some(1), ..Resources::default() };
        let settings = v1(&wanted);
        assert_eq!(value(&settings, "cpu.shares").as_deref(), Some("2"));
        assert_eq!(value(&settings, "cpu.cfs_quota_us").as_deref(), Some("1000"));
        assert_eq!(quota(u64::MAX), u64::MAX, "no overflow");
    }

    #[test]
    fn nothing_wanted_limits_nothing_but_devices() {
        let nothing = Resources::default();
        assert_eq!(v2(&nothing), []);
        let devices = v1(&nothing);
        assert_eq!((devices[0].file, devices[0].value.as_str()), ("devices.deny", "a"), "deny all comes first");
        assert!(devices.iter().all(|setting| setting.controller == "devices"));
        assert!(devices[1..].iter().all(|setting| setting.value.starts_with("c ")), "no block device");
    }
}
