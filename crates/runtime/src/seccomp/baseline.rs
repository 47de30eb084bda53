//! The baseline: what programs in containers may ask of the kernel.
//!
//! An allowlist in the spirit of Docker's and containerd's default, less what needs capabilities
//! (containers have none) and less tracing. What is not named fails with `EPERM`; system calls
//! newer than this table fail with `ENOSYS`, so that C libraries fall back to older ones.

use super::bpf::{Action, Arm, Condition, Operator, Rules};
use super::names;
use crate::capabilities::Capabilities;

/// Allowed with any argument.
pub(super) const ALLOWED: &[&str] = &[
    // Files: names, content, attributes.
    "access",
    "chdir",
    "chmod",
    "chown",
    "close",
    "close_range",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fallocate",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fcntl",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstatfs",
    "fsync",
    "ftruncate",
    "futimesat",
    "getcwd",
    "getdents",
    "getdents64",
    "getxattr",
    "getxattrat",
    "ioctl",
    "lchown",
    "lgetxattr",
    "link",
    "linkat",
    "listxattr",
    "listxattrat",
    "llistxattr",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "name_to_handle_at",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "removexattr",
    "removexattrat",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "setxattr",
    "setxattrat",
    "splice",
    "stat",
    "statfs",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "syncfs",
    "tee",
    "truncate",
    "umask",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimes",
    "vmsplice",
    "write",
    "writev",
    "cachestat",
    // Memory.
    "brk",
    "get_mempolicy",
    "madvise",
    "map_shadow_stack",
    "membarrier",
    "memfd_create",
    "memfd_secret",
    "mincore",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mprotect",
    "mremap",
    "mseal",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "remap_file_pages",
    // Processes, threads, identity, limits.
    "arch_prctl",
    "capget",
    "capset",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "fork",
    "get_robust_list",
    "get_thread_area",
    "getcpu",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getresgid",
    "getresuid",
    "getrlimit",
    "getrusage",
    "getsid",
    "gettid",
    "getuid",
    "ioprio_get",
    "ioprio_set",
    "pidfd_open",
    "pidfd_send_signal",
    "prctl",
    "prlimit64",
    "process_mrelease",
    "rseq",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "set_robust_list",
    "set_thread_area",
    "set_tid_address",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setpgid",
    "setpriority",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setrlimit",
    "setsid",
    "setuid",
    "vfork",
    "wait4",
    "waitid",
    // More confinement of oneself.
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "seccomp",
    // Signals, waiting, time.
    "alarm",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_ctl_old",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "epoll_wait_old",
    "eventfd",
    "eventfd2",
    "futex",
    "futex_requeue",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "getitimer",
    "gettimeofday",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "fanotify_mark",
    "kill",
    "nanosleep",
    "pause",
    "poll",
    "ppoll",
    "pselect6",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_tgsigqueueinfo",
    "select",
    "setitimer",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "tgkill",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_settime",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    "times",
    "tkill",
    // Asynchronous IO of the old kind; io_uring is left out as in Docker's default.
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_setup",
    "io_submit",
    // Sockets, pipes, System V and POSIX IPC.
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedsend",
    "mq_unlink",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "pipe",
    "pipe2",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    "shutdown",
    // Facts about the system.
    "getrandom",
    "sysinfo",
    "uname",
];

/// Numbers of capabilities (`linux/capability.h`).
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;

/// Namespaces a `clone` would make: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (clone(2)).
pub(super) const NAMESPACE_FLAGS: u64 =
    0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000;

/// Execution domains that are Linux with harmless flags, and the question which one is in force
/// (personality(2)): PER_LINUX, PER_LINUX32, UNAME26 with either, 0xffffffff.
const PERSONALITIES: [u64; 5] = [0, 8, 0x0002_0000, 0x0002_0008, 0xffff_ffff];

/// Families of sockets that a program gets: all others are refused, for each brings a part of the kernel with it (some
/// as a module that is loaded then) that no container needs and that few have looked at.
const FAMILIES: [libc::c_int; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];

/// The baseline as rules for this architecture, for programs that keep these capabilities.
pub(super) fn rules(kept: Capabilities) -> Rules {
    let mut arms = std::collections::BTreeMap::new();
    for name in ALLOWED {
        if let Some(number) = names::number(name) {
            arms.insert(number, vec![allow(Vec::new())]);
        }
    }
    let mut set = |name: &str, list: Vec<Arm>| {
        if let Some(number) = names::number(name) {
            arms.insert(number, list);
        }
    };
    let no_namespace = Condition { argument: 0, operator: Operator::MaskedEqual(NAMESPACE_FLAGS), value: 0 };
    set("clone", vec![allow(vec![no_namespace])]);
    // Its flags are in memory, where no filter can look: C libraries then use clone.
    set("clone3", vec![refuse(libc::ENOSYS)]);
    let equal = |value: u64| Condition { argument: 0, operator: Operator::Equal, value };
    set("personality", PERSONALITIES.into_iter().map(|value| allow(vec![equal(value)])).collect());
    set("socket", sockets(kept));
    set("socketpair", vec![allow(vec![is(0, libc::AF_UNIX)]), refuse(libc::EAFNOSUPPORT)]);
    Rules {
        arms,
        otherwise: Action::Errno(libc::EPERM as u16),
        known_up_to: names::highest(),
        unknown: Action::Errno(libc::ENOSYS as u16),
    }
}

/// What socket(2) answers. The error of a family that the kernel does not have is what programs are written for.
fn sockets(kept: Capabilities) -> Vec<Arm> {
    let mut list: Vec<Arm> = FAMILIES.into_iter().map(|family| allow(vec![is(0, family)])).collect();
    // Addresses and routes, which C libraries ask for; more only for those who may configure the network.
    let mut netlink = vec![is(0, libc::AF_NETLINK)];
    if !kept.contains(CAP_NET_ADMIN) {
        netlink.push(is(2, libc::NETLINK_ROUTE));
    }
    list.push(allow(netlink));
    if kept.contains(CAP_NET_RAW) {
        list.push(allow(vec![is(0, libc::AF_PACKET)]));
    }
    list.push(refuse(libc::EAFNOSUPPORT));
    list
}

fn allow(conditions: Vec<Condition>) -> Arm {
    Arm { conditions, action: Action::Allow }
}

fn refuse(error: libc::c_int) -> Arm {
    Arm { conditions: Vec::new(), action: Action::Errno(error as u16) }
}

/// Whether an argument of type `int` has a value: the kernel looks at its low half only.
fn is(argument: u8, value: libc::c_int) -> Condition {
    Condition { argument, operator: Operator::MaskedEqual(0xffff_ffff), value: u64::from(value.unsigned_abs()) }
}
