//! Containers: described by [`ContainerSpec`], run by a shim each, handled through [`Runtime`].
//!
//! ```text
//!  Runtime (daemon)                     shim (one per container)          container
//!    start ── spawn, spec over stdin ──► cgroup, namespaces, overlay ────► program
//!    watch ◄── Exited ─────────────────  log files, exit file  ◄── stdout, stderr
//!    exec  ── shim.sock + pipes ───────► fork, setns, confine ───────────► program
//! ```
//!
//! Invariants: a container does not need the daemon; a container never outlives its shim; every
//! program inside has the same confinement, whether first or exec'd; everything about a container
//! is under one directory of the run root and one cgroup, and [`Runtime::remove`] leaves nothing.

mod adopt;
mod attach;
mod error;
mod exec;
mod handle;
mod inner;
mod monitor;
mod program;
mod runtime;
mod session;
mod spec;
mod status;
mod validate;

pub use attach::{Attachment, Conversation};
pub use error::ContainerError;
pub use exec::{
    EXTRA_FDS_MAX, ExecCapture, ExecControl, ExecExit, ExecOutput, ExecSession, ExecSpec, ExecStdin, OUTPUT_AFTER_END,
    StdinMode,
};
pub use inner::RuntimeConfig;
pub use rooted::UserIds;
pub use runtime::Runtime;
pub use spec::{
    ContainerSpec, LOG_BYTES_DEFAULT, LOG_FILES_DEFAULT, LogTarget, MountSpec, Namespace, Namespaces, PATH_DEFAULT,
    Resources, SHM_BYTES_DEFAULT, SeccompProfile, TermSize, WritableLayer,
};
pub use status::{Adoption, ContainerInfo, Exit, ExitCause, State, Stats};
