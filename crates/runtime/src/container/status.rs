//! What is known about a container: facts for the caller, no decisions.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; `128 + signal` when a signal ended it, 137 when the shim was lost.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The kernel killed a process of this container for lack of memory.
    pub oom_killed: bool,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Whether the code is the program's own.
    pub cause: ExitCause,
}

/// Why a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitCause {
    /// The program ended: code and signal are its own.
    Process,
    /// The shim died, so the code is not known; the rest of the container was killed.
    ShimLost,
}

/// State of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The program runs.
    Running,
    /// The program has ended.
    Exited(Exit),
}

/// One container as the runtime sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerInfo {
    /// The id it was started with.
    pub id: String,
    /// The caller's marks.
    pub labels: BTreeMap<String, String>,
    /// The image layers it was started with: they must stay while it runs.
    pub layers: Vec<PathBuf>,
    /// Host pid of the program. Use it only while the state is running.
    pub pid: i32,
    /// Host pid of the shim.
    pub shim_pid: i32,
    /// When the program was started.
    pub started_at: Timestamp,
    /// Running or ended.
    pub state: State,
}

/// Usage counters of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Memory in use in bytes, page cache included.
    pub memory_bytes: u64,
    /// Memory in use less inactive file pages in bytes (the kubelet's "working set").
    pub memory_working_set_bytes: u64,
    /// Limit in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// CPU time used since the start in nanoseconds.
    pub cpu_nanos: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Times the kernel killed a process of it for lack of memory.
    pub oom_kills: u64,
}

/// What [`Runtime::adopt`](super::Runtime::adopt) found.
#[derive(Clone, Debug, Default)]
pub struct Adoption {
    /// Containers that run on, and ended ones that were not removed yet.
    pub containers: Vec<ContainerInfo>,
    /// Ids of half-made or torn leftovers that were removed.
    pub swept: Vec<String>,
}
