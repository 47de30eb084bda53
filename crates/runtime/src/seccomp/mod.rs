//! System call filters: the baseline, profiles from JSON, and loading them.
//!
//! Compiled in the shim with no help of another program, for x86_64 and aarch64. Foreign ABIs are
//! closed whatever the profile says: 32-bit calls end the process, x32 calls fail with `EPERM`.

mod baseline;
mod bpf;
mod names;
mod profile;

use std::io;

pub use profile::SeccompError;

use crate::capabilities::Capabilities;
use crate::container::SeccompProfile;

/// A compiled filter.
#[derive(Clone)]
pub struct Filter(Vec<libc::sock_filter>);

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Filter({} instructions)", self.0.len())
    }
}

/// The baseline filter of programs without any capability.
pub fn baseline() -> Filter {
    baseline_with(Capabilities::NONE)
}

fn baseline_with(kept: Capabilities) -> Filter {
    Filter(bpf::compile(&baseline::rules(kept)))
}

/// The baseline's allowlist as text, one system call per line, for people and for comparing:
/// conditional ones carry their condition in words.
pub fn baseline_text() -> String {
    let conditional = [
        "clone (no namespace flags)",
        "personality (0, 8, 0x20000, 0x20008, 0xffffffff)",
        "socket (AF_UNIX, AF_INET, AF_INET6, AF_NETLINK for routes; with CAP_NET_ADMIN all of AF_NETLINK, with \
         CAP_NET_RAW AF_PACKET)",
        "socketpair (AF_UNIX)",
    ];
    let mut lines: Vec<&str> = baseline::ALLOWED.iter().copied().chain(conditional).collect();
    lines.sort_unstable();
    lines.join("\n") + "\n"
}

/// A filter from a profile in the OCI or Docker JSON format.
pub fn from_json(text: &str) -> Result<Filter, SeccompError> {
    let code = bpf::compile(&profile::parse(text)?);
    if code.len() > bpf::INSTRUCTIONS_MAX {
        let problem = format!("it needs {} instructions; the kernel takes {}", code.len(), bpf::INSTRUCTIONS_MAX);
        return Err(SeccompError::Profile { problem });
    }
    Ok(Filter(code))
}

/// The filter of a choice for programs that keep these capabilities; none when unconfined.
pub(crate) fn filter(choice: &SeccompProfile, kept: Capabilities) -> Result<Option<Filter>, SeccompError> {
    match choice {
        SeccompProfile::Baseline => Ok(Some(baseline_with(kept))),
        SeccompProfile::Localhost(text) => from_json(text).map(Some),
        SeccompProfile::Unconfined => Ok(None),
    }
}

impl Filter {
    /// Applies the filter to this thread for good. Needs `no_new_privs`.
    pub(crate) fn install(&self) -> io::Result<()> {
        let length = u16::try_from(self.0.len()).map_err(io::Error::other)?;
        let program = libc::sock_fprog { len: length, filter: self.0.as_ptr().cast_mut() };
        // SAFETY: seccomp(2) reads the program and its instructions, which live until it returns.
        let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(test)]
mod tests {
    use super::bpf::tests::answer;
    use super::*;

    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    fn ask(filter: &Filter, name: &str, arguments: [u64; 6]) -> u32 {
        let number = names::number(name).unwrap_or_else(|| panic!("{name} is in no table"));
        answer(&filter.0, bpf::ARCHITECTURE, number, arguments)
    }

    #[test]
    fn baseline_refuses_what_reaches_out_of_a_container() {
        let filter = baseline();
        for name in [
            "acct",
            "add_key",
            "bpf",
            "chroot",
            "clock_settime",
            "delete_module",
            "fanotify_init",
            "finit_module",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "init_module",
            "io_uring_setup",
            "kcmp",
            "kexec_file_load",
            "kexec_load",
            "keyctl",
            "lookup_dcookie",
            "mbind",
            "migrate_pages",
            "mount",
            "mount_setattr",
            "move_mount",
            "move_pages",
            "open_by_handle_at",
            "open_tree",
            "open_tree_attr",
            "perf_event_open",
            "pidfd_getfd",
            "pivot_root",
            "process_madvise",
            "process_vm_readv",
            "process_vm_writev",
            "ptrace",
            "quotactl",
            "reboot",
            "request_key",
            "setdomainname",
            "sethostname",
            "setns",
            "settimeofday",
            "swapon",
            "swapoff",
            "syslog",
            "umount2",
            "unshare",
            "userfaultfd",
            "vhangup",
        ] {
            assert_eq!(ask(&filter, name, [0; 6]), EPERM, "{name}");
        }
        assert_eq!(ask(&filter, "clone3", [0; 6]), ENOSYS);
        for name in ["read", "openat", "execve", "futex", "epoll_pwait", "statx", "rseq", "getrandom", "mmap"] {
            assert_eq!(ask(&filter, name, [u64::MAX; 6]), libc::SECCOMP_RET_ALLOW, "{name}");
        }
    }

    #[test]
    fn baseline_looks_at_arguments() {
        let filter = baseline();
        let clone = |flags: u64| ask(&filter, "clone", [flags, 0, 0, 0, 0, 0]);
        assert_eq!(clone(17), libc::SECCOMP_RET_ALLOW, "fork");
        assert_eq!(clone(0x003d_0f00), libc::SECCOMP_RET_ALLOW, "pthread_create");
        for bit in 0..64 {
            if baseline::NAMESPACE_FLAGS & (1 << bit) != 0 {
                assert_eq!(clone(17 | 1 << bit), EPERM, "bit {bit}");
            }
        }
        let personality = |value: u64| ask(&filter, "personality", [value, 0, 0, 0, 0, 0]);
        assert_eq!(personality(0xffff_ffff), libc::SECCOMP_RET_ALLOW);
        assert_eq!(personality(0x0040_0000), EPERM, "ADDR_COMPAT_LAYOUT");
    }

    #[test]
    fn sockets_are_of_the_families_that_are_named() -> Result<(), String> {
        const REFUSED: u32 = libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32;
        const NETLINK_NETFILTER: u64 = 12;
        let socket = |names: &[&str], family: u64, protocol: u64| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let kept = Capabilities::named(&names).map_err(str::to_owned)?;
            Ok::<_, String>(ask(&baseline_with(kept), "socket", [family, 1, protocol, 0, 0, 0]))
        };
        let known =
            [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].map(|it| u64::from(it.unsigned_abs()));
        for family in 0..64 {
            let expected = if known.contains(&family) { libc::SECCOMP_RET_ALLOW } else { REFUSED };
            assert_eq!(socket(&[], family, 0)?, expected, "{family}");
            // Bits that the kernel does not look at do not help.
            assert_eq!(socket(&[], family | 1 << 40, 0)?, expected, "{family}");
            let pair = ask(&baseline(), "socketpair", [family, 1, 0, 0, 0, 0]);
            assert_eq!(pair == libc::SECCOMP_RET_ALLOW, family == u64::from(libc::AF_UNIX.unsigned_abs()), "{family}");
        }
        let (netlink, packet) = (u64::from(libc::AF_NETLINK.unsigned_abs()), u64::from(libc::AF_PACKET.unsigned_abs()));
        assert_eq!(socket(&[], netlink, NETLINK_NETFILTER)?, REFUSED);
        assert_eq!(socket(&["CAP_NET_RAW"], netlink, NETLINK_NETFILTER)?, REFUSED);
        assert_eq!(socket(&["CAP_NET_ADMIN"], netlink, NETLINK_NETFILTER)?, libc::SECCOMP_RET_ALLOW);
        assert_eq!(socket(&["CAP_NET_ADMIN"], packet, 0)?, REFUSED);
        assert_eq!(socket(&["CAP_NET_RAW"], packet, 0)?, libc::SECCOMP_RET_ALLOW);
        Ok(())
    }

    #[test]
    fn foreign_abis_are_closed_and_future_calls_unknown() {
        let filter = baseline();
        let read = names::number("read").unwrap_or_default();
        assert_eq!(answer(&filter.0, 0x4000_0003, read, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS, "i386");
        if cfg!(target_arch = "x86_64") {
            assert_eq!(answer(&filter.0, bpf::ARCHITECTURE, bpf::X32_BIT | read, [0; 6]), EPERM, "x32");
        }
        assert_eq!(answer(&filter.0, bpf::ARCHITECTURE, names::highest() + 1, [0; 6]), ENOSYS);
    }

    #[test]
    fn every_allowed_name_is_a_system_call_here_or_on_the_other_architecture() {
        let unknown: Vec<_> = baseline::ALLOWED.iter().filter(|name| names::number(name).is_none()).collect();
        if cfg!(target_arch = "x86_64") {
            assert!(unknown.is_empty(), "misspelt: {unknown:?}");
        }
        let number = names::number("openat").unwrap_or_default();
        assert_eq!(names::name(number), Some("openat"));
    }

    #[test]
    fn baseline_is_small() {
        assert!(baseline().0.len() < 400, "{}", baseline().0.len());
    }

    #[test]
    fn docker_style_profile_is_read() -> Result<(), SeccompError> {
        let filter = from_json(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"archMap":[],
                "syscalls":[
                  {"names":["mkdir","mkdirat","no_such_call"],"action":"SCMP_ACT_ERRNO","errnoRet":13},
                  {"names":["read","clone"],"action":"SCMP_ACT_ALLOW","args":null,"excludes":{"caps":["CAP_SYS_ADMIN"]}},
                  {"names":["clone"],"action":"SCMP_ACT_ERRNO","errnoRet":1,
                   "args":[{"index":0,"value":268435456,"valueTwo":268435456,"op":"SCMP_CMP_MASKED_EQ"}]},
                  {"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
                  {"name":"kill","action":"SCMP_ACT_TRAP"}]}"#,
        )?;
        assert_eq!(ask(&filter, "mkdirat", [0; 6]), libc::SECCOMP_RET_ERRNO | 13);
        assert_eq!(ask(&filter, "read", [0; 6]), libc::SECCOMP_RET_ALLOW);
        assert_eq!(ask(&filter, "clone", [17, 0, 0, 0, 0, 0]), libc::SECCOMP_RET_ALLOW);
        assert_eq!(ask(&filter, "clone", [0x1000_0011, 0, 0, 0, 0, 0]), EPERM);
        assert_eq!(ask(&filter, "mount", [0; 6]), ENOSYS, "rules for capabilities do not count");
        assert_eq!(ask(&filter, "kill", [0; 6]), libc::SECCOMP_RET_TRAP);
        Ok(())
    }

    #[test]
    fn a_profile_allows_both_forms_of_execution_or_none() -> Result<(), SeccompError> {
        let list = |names: &str, default: &str, action: &str| {
            from_json(&format!(
                r#"{{"defaultAction":"SCMP_ACT_{default}","syscalls":[{{"names":[{names}],"action":"SCMP_ACT_{action}"}}]}}"#
            ))
        };
        let allowed = list(r#""execve""#, "KILL", "ALLOW")?;
        assert_eq!(ask(&allowed, "execveat", [0; 6]), libc::SECCOMP_RET_ALLOW);
        let denied = list(r#""execve""#, "ALLOW", "ERRNO")?;
        assert_eq!(ask(&denied, "execveat", [0; 6]), EPERM);
        let half = list(r#""execveat""#, "ALLOW", "ERRNO")?;
        assert_eq!(ask(&half, "execveat", [0; 6]), libc::SECCOMP_RET_ALLOW, "or no program could be started");
        Ok(())
    }

    #[test]
    fn unusable_profiles_are_refused_with_the_reason() {
        let problem = |text: &str| from_json(text).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(problem("{").contains("JSON"));
        assert!(problem(r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#).contains("SCMP_ACT_NOTIFY"));
        assert!(
            problem(r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_S390X"]}"#).contains("must name")
        );
        let op = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_KILL",
                    "args":[{"index":9,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#;
        assert!(problem(op).contains("above 5"));
    }
}
