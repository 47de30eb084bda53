//! Where everything of a pod is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use api::{kinds::Pod, meta::DEFAULT_NAMESPACE};

use super::{ContainerName, NamespaceName, PodUid, VolumeName};
use crate::{
    config::Config,
    error::{Error, Result},
};

/// Longest name of a file (`NAME_MAX`).
const FILE_NAME_MAX: usize = 255;

/// Directories of pods, by UID. Every part that comes from outside is of a checked type, so that each path is below its
/// root.
///
/// ```text
///  <run_root>/pods/<uid>/                       a tmpfs of its own
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

/// A file of `/etc` that the kubelet writes for a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtcFile {
    /// `/etc/hosts`.
    Hosts,
    /// `/etc/resolv.conf`.
    ResolvConf,
    /// `/etc/hostname`.
    Hostname,
}

impl EtcFile {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hosts, Self::ResolvConf, Self::Hostname];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::ResolvConf => "resolv.conf",
            Self::Hostname => "hostname",
        }
    }
}

/// Log directory of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDir(PathBuf);

impl LogDir {
    /// Log file of a run.
    #[must_use]
    pub fn file(&self, container: &ContainerName, attempt: u32) -> PathBuf {
        self.0.join(container.as_str()).join(format!("{attempt}.log"))
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
    pub fn run(&self, uid: &PodUid) -> PathBuf {
        self.run.join(uid.as_str())
    }

    /// Directory of a pod on disk.
    #[must_use]
    pub fn state(&self, uid: &PodUid) -> PathBuf {
        self.state.join(uid.as_str())
    }

    /// A file of `/etc` of a pod.
    #[must_use]
    pub fn etc(&self, uid: &PodUid, file: EtcFile) -> PathBuf {
        self.run(uid).join("etc").join(file.name())
    }

    /// A volume in memory.
    #[must_use]
    pub fn memory_volume(&self, uid: &PodUid, volume: &VolumeName) -> PathBuf {
        self.run(uid).join("volumes").join(volume.as_str())
    }

    /// A volume on disk.
    #[must_use]
    pub fn disk_volume(&self, uid: &PodUid, volume: &VolumeName) -> PathBuf {
        self.state(uid).join("empty").join(volume.as_str())
    }

    /// Where the `index`-th mount of a container shows a part of a volume.
    #[must_use]
    pub fn sub_path(&self, uid: &PodUid, container: &ContainerName, index: usize) -> PathBuf {
        self.run(uid).join("subpaths").join(container.as_str()).join(index.to_string())
    }

    /// Directory of the namespaces that the containers of a pod share.
    #[must_use]
    pub fn namespaces(&self, uid: &PodUid) -> PathBuf {
        self.run(uid).join("ns")
    }

    /// Writable layer of a run.
    #[must_use]
    pub fn layer(&self, uid: &PodUid, container: &ContainerName, attempt: u32) -> PathBuf {
        self.state(uid).join("layers").join(format!("{container}.{attempt}"))
    }

    /// Termination message of a run.
    #[must_use]
    pub fn termination_message(&self, uid: &PodUid, container: &ContainerName, attempt: u32) -> PathBuf {
        self.run(uid).join("words").join(format!("{container}.{attempt}"))
    }

    /// Log directory of a pod. A name that would make the directory's too long is cut; the UID tells pods apart.
    ///
    /// # Errors
    /// [`Error::Refused`] for a pod without a proper namespace, name or UID.
    pub fn logs(&self, pod: &Pod) -> Result<LogDir> {
        let meta = &pod.metadata;
        let namespace = meta.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        let namespace = NamespaceName::new(namespace, "metadata.namespace")?;
        let uid = PodUid::new(meta.uid.clone().unwrap_or_default(), "metadata.uid")?;
        let name = meta.name.as_deref().unwrap_or_default();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(Error::refused("metadata.name", format!("{name:?} is no name of a pod; use a DNS subdomain")));
        }
        let room = FILE_NAME_MAX.saturating_sub(namespace.as_str().len() + uid.as_str().len() + 2);
        let name = name.get(..room).unwrap_or(name);
        Ok(LogDir(self.logs.join(format!("{namespace}_{name}_{uid}"))))
    }

    /// Log directories of a pod. One of which only the UID is known is looked for.
    #[must_use]
    pub fn log_dirs(&self, pod: &Pod) -> Vec<PathBuf> {
        if pod.metadata.name.is_some()
            && let Ok(dir) = self.logs(pod)
        {
            return Vec::from_iter(dir.0.exists().then_some(dir.0));
        }
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let entries = fs::read_dir(&self.logs).into_iter().flatten().flatten();
        let of_pod = |entry: &fs::DirEntry| {
            entry.file_name().to_string_lossy().rsplit_once('_').is_some_and(|(_, known)| known == uid)
        };
        entries.filter(of_pod).map(|entry| entry.path()).collect()
    }

    /// UIDs of all pods that have a directory.
    #[must_use]
    pub fn uids(&self) -> Vec<PodUid> {
        let names = |dir: &Path| {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            entries.filter_map(|e| e.file_name().into_string().ok()).collect::<Vec<_>>()
        };
        let mut all = names(&self.run);
        all.extend(names(&self.state));
        all.extend(names(&self.logs).iter().filter_map(|name| name.rsplit_once('_')).map(|(_, uid)| uid.to_owned()));
        let mut all: Vec<PodUid> = all.into_iter().filter_map(|uid| PodUid::new(uid, "metadata.uid").ok()).collect();
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

#[cfg(test)]
mod tests;
