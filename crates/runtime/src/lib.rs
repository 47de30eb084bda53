//! Containers: run in a shim, exec, logs.
//!
//! ```text
//!  layers (unpacked elsewhere) ──► container::Runtime ── spawn ──► shim (one per container)
//!                                   start, exec, stop,               namespaces, log files,
//!                                   adopt, remove                    exit file, exec
//!                                                                       │
//!  logs::LogReader ◄──────────────── CRI log files ◄────────────────────┘
//! ```
//!
//! Invariants:
//! - knows Linux, not nanocloud: callers hand over plain structs and get facts back;
//! - nothing in a container's root is trusted: no path that its links lead out of is followed (`rooted`);
//! - no program in a container has a capability, gains privileges, or escapes the system call
//!   filter, whether it is the first one or exec'd later, unless the caller says so explicitly;
//! - containers do not need the daemon; [`container::Runtime::adopt`] finds them again;
//! - environment variables may be secret: they are never written to a file nor printed.
//!
//! Limits: Linux with overlayfs and seccomp on x86_64 or aarch64; runs as root; cgroup v1, v2 and
//! the hybrid of both; no user namespaces, no checkpointing, no device access.

#![allow(unsafe_code, reason = "it asks the kernel for what no crate wraps; every block says why it is sound")]

pub mod apparmor;
mod capabilities;
mod cgroup;
pub mod container;
pub mod logs;
pub mod memory;
mod process;
mod pty;
pub mod seccomp;
pub mod shim;
mod wire;
