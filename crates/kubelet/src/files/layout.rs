//! Where everything of a pod is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use api::kinds::Pod;

use crate::{
    config::Config,
    error::{Error, Result},
};

/// Directories of pods, by UID.
///
/// ```text
///  <run_root>/pods/<uid>/etc/{hosts,resolv.conf,hostname}
///  <run_root>/pods/<uid>/volumes/<volume>/      secret files, emptyDirs in memory
///  <run_root>/pods/<uid>/subpaths/<container>/<n>
///  <run_root>/pods/<uid>/ns/{ipc,uts}           shared namespaces of pods with several containers
///  <run_root>/pods/<uid>/words/<container>.<run>  termination messages
///  <state_root>/pods/<uid>/empty/<volume>/      emptyDirs on disk
///  <state_root>/pods/<uid>/layers/<container>.<run>/  writable layers
///  <log_root>/<namespace>_<pod>_<uid>/<container>/<run>.log
/// ```
#[derive(Debug, Clone)]
pub struct Layout {
    run: PathBuf,
    state: PathBuf,
    logs: PathBuf,
}

/// Log directory of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDir(PathBuf);

impl LogDir {
    /// Log file of a run.
    #[must_use]
    pub fn file(&self, container: &str, attempt: u32) -> PathBuf {
        self.0.join(container).join(format!("{attempt}.log"))
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Layout {
    /// Reads the roots.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self { run: config.run_root.join("pods"), state: config.state_root.join("pods"), logs: config.log_root.clone() }
    }

    /// Makes the directories that hold those of pods; only root may enter.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn prepare(&self) -> Result<()> {
        [&self.run, &self.state, &self.logs].into_iter().try_for_each(|dir| private_dir(dir))
    }

    /// Directory of a pod in memory.
    #[must_use]
    pub fn run(&self, uid: &str) -> PathBuf {
        self.run.join(uid)
    }

    /// Directory of a pod on disk.
    #[must_use]
    pub fn state(&self, uid: &str) -> PathBuf {
        self.state.join(uid)
    }

    /// A file of `/etc` of a pod.
    #[must_use]
    pub fn etc(&self, uid: &str, name: &str) -> PathBuf {
        self.run(uid).join("etc").join(name)
    }

    /// A volume in memory.
    #[must_use]
    pub fn memory_volume(&self, uid: &str, volume: &str) -> PathBuf {
        self.run(uid).join("volumes").join(volume)
    }

    /// A volume on disk.
    #[must_use]
    pub fn disk_volume(&self, uid: &str, volume: &str) -> PathBuf {
        self.state(uid).join("empty").join(volume)
    }

    /// Writable layer of a run.
    #[must_use]
    pub fn layer(&self, uid: &str, container: &str, attempt: u32) -> PathBuf {
        self.state(uid).join("layers").join(format!("{container}.{attempt}"))
    }

    /// Termination message of a run.
    #[must_use]
    pub fn words(&self, uid: &str, container: &str, attempt: u32) -> PathBuf {
        self.run(uid).join("words").join(format!("{container}.{attempt}"))
    }

    /// Log directory of a pod.
    #[must_use]
    pub fn logs(&self, pod: &Pod) -> LogDir {
        let meta = &pod.metadata;
        let (namespace, name, uid) = (meta.namespace.as_deref(), meta.name.as_deref(), meta.uid.as_deref());
        let dir =
            format!("{}_{}_{}", namespace.unwrap_or("default"), name.unwrap_or_default(), uid.unwrap_or_default());
        LogDir(self.logs.join(dir))
    }

    /// Log directories of the pod with this UID, whatever its name was.
    #[must_use]
    pub fn log_dirs(&self, uid: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.logs).into_iter().flatten().flatten();
        let of_pod = |entry: &fs::DirEntry| {
            entry.file_name().to_string_lossy().rsplit_once('_').is_some_and(|(_, known)| known == uid)
        };
        entries.filter(of_pod).map(|entry| entry.path()).collect()
    }

    /// UIDs of all pods that have a directory.
    #[must_use]
    pub fn uids(&self) -> Vec<String> {
        let names = |dir: &Path| {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            entries.filter_map(|e| e.file_name().into_string().ok()).collect::<Vec<_>>()
        };
        let mut all = names(&self.run);
        all.extend(names(&self.state));
        all.extend(names(&self.logs).iter().filter_map(|name| name.rsplit_once('_')).map(|(_, uid)| uid.to_owned()));
        all.sort();
        all.dedup();
        all
    }
}

/// Makes a directory only root may enter.
pub(crate) fn private_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(Error::file("create", dir))
}

/// Removes a directory with everything in it, if it exists. Nothing may be mounted below it.
pub(crate) fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", dir)(e)),
        _ => Ok(()),
    }
}
