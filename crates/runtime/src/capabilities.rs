//! Linux capabilities by name (capabilities(7)).

/// Names in the order of their numbers (`linux/capability.h`).
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Makes device nodes; never given, because a device is a way around every other wall, and cgroup v2
/// has no list of devices that the kernel would check by itself.
pub(crate) const NEVER: &str = "CAP_MKNOD";

/// A set of capabilities; bit `n` is capability number `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities(pub(crate) u64);

impl Capabilities {
    /// None at all.
    pub(crate) const NONE: Self = Self(0);

    /// From names; the first that is unknown or never given is the error.
    pub(crate) fn named(names: &[String]) -> Result<Self, &str> {
        names.iter().try_fold(Self::NONE, |set, name| {
            let number = NAMES.iter().position(|known| known == name).filter(|_| name != NEVER);
            number.map(|number| Self(set.0 | 1 << number)).ok_or(name.as_str())
        })
    }

    /// Whether a capability is in it.
    pub(crate) fn contains(self, number: u32) -> bool {
        1_u64.checked_shl(number).is_some_and(|bit| self.0 & bit != 0)
    }

    /// The numbers in it.
    pub(crate) fn numbers(self) -> impl Iterator<Item = u32> {
        (0..u64::BITS).filter(move |number| self.contains(*number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Result<Capabilities, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Capabilities::named(&names).map_err(str::to_owned)
    }

    #[test]
    fn names_are_numbers_of_the_kernel() {
        assert_eq!(named(&[]), Ok(Capabilities::NONE));
        assert_eq!(named(&["CAP_NET_RAW", "CAP_CHOWN"]), Ok(Capabilities(1 << 13 | 1)));
        assert_eq!(named(&["CAP_CHECKPOINT_RESTORE"]), Ok(Capabilities(1 << 40)));
        assert_eq!(named(&["CAP_SYS_ADMIN"]).map(|set| set.numbers().collect::<Vec<_>>()), Ok(vec![21]));
    }

    #[test]
    fn unknown_ones_and_devices_are_refused() {
        assert_eq!(named(&["CAP_CHOWN", "NET_RAW"]), Err("NET_RAW".to_owned()));
        assert_eq!(named(&["CAP_MKNOD"]), Err("CAP_MKNOD".to_owned()));
        assert!(!Capabilities(u64::MAX).contains(64));
    }
}
