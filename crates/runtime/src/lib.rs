//! Images and containers: pull, verify, unpack, run in a shim, exec, logs.
//!
//! ```text
//!  image::ImageStore ── layers ──► container::Runtime ── spawn ──► shim (one per container)
//!   catalog, registry               start, exec, stop,               namespaces, log files,
//!   verify, unpack                  adopt, remove                    exit file, exec
//!                                                                       │
//!  logs::LogReader ◄──────────────── CRI log files ◄────────────────────┘
//! ```
//!
//! Invariants:
//! - knows Linux, not nanocloud: callers hand over plain structs and get facts back;
//! - nothing from an image is trusted: digests are checked, unpacking cannot leave its directory;
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
pub mod image;
pub mod logs;
pub mod memory;
mod process;
mod pty;
pub mod seccomp;
pub mod shim;
mod wire;
