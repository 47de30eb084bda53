//! What the runtime and those that watch its containers share.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::RwLock;

use super::handle::Handle;
use super::program::Program;
use crate::cgroup::Hierarchy;

/// How containers are run on this node.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Directory in memory (tmpfs) for sockets and bundles; containers live in `containers/` below.
    pub run_root: PathBuf,
    /// Cgroup all containers are below, relative to the cgroup mount(s), like `nanocloud`. It is
    /// owned by this runtime: empty groups below it are removed.
    pub cgroup_root: String,
    /// Program that becomes the shim; it must call [`crate::shim::main`] first thing.
    pub shim_exe: PathBuf,
    /// Arguments before the shim's own, like `["shim"]`.
    pub shim_args: Vec<OsString>,
}

/// The containers, and what is needed to run them.
pub(super) struct Inner {
    pub(super) config: RuntimeConfig,
    pub(super) cgroups: Hierarchy,
    pub(super) shim: Program,
    pub(super) containers: Mutex<HashMap<String, Slot>>,
    /// Read while a container is being started, written while empty cgroups are removed.
    pub(super) starts: Arc<RwLock<()>>,
}

/// An id in use.
pub(super) enum Slot {
    /// Being started or adopted.
    Reserved,
    /// Known.
    Known(Arc<Handle>),
}

/// An id that is taken; given back on drop unless filled.
pub(super) struct Reservation {
    pub(super) inner: Arc<Inner>,
    pub(super) id: String,
    pub(super) filled: bool,
}

impl Reservation {
    pub(super) fn fill(mut self, handle: Arc<Handle>) {
        self.inner.containers.lock().insert(self.id.clone(), Slot::Known(handle));
        self.filled = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.filled {
            self.inner.containers.lock().remove(&self.id);
        }
    }
}
