//! Requirements on the host, checked before anything is started.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use cli::Exit;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::statfs::{TMPFS_MAGIC, statfs},
    unistd::geteuid,
};

/// Size limit of the tmpfs; nothing is reserved.
const RUN_SIZE: &str = "size=256m,mode=0711";

/// Why a node cannot start on this host. Each has its own exit code.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Root is needed.
    #[error("`nanocloud {verb}` needs root: it makes namespaces, mounts and firewall rules; run it with sudo")]
    NotRoot {
        /// The verb.
        verb: &'static str,
    },
    /// The kernel lacks something.
    #[error("the kernel lacks {feature} ({place}): {remedy}")]
    Kernel {
        /// What is missing.
        feature: &'static str,
        /// Where it was looked for.
        place: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The port is in use.
    #[error(
        "{address} is in use by another program: stop it (`ss -ltnp` shows which), or choose another with --listen"
    )]
    PortTaken {
        /// The address.
        address: SocketAddr,
    },
    /// The server cannot listen on the address.
    #[error("cannot listen on {address}: does this host have that address?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The disk is full.
    #[error("the disk of {} is full: free some space, or choose another --state-root", .path.display())]
    DiskFull {
        /// The folder.
        path: PathBuf,
    },
    /// A folder cannot be used.
    #[error("cannot {action} {}", .path.display())]
    Folder {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl HostError {
    /// The exit code, distinct for each cause (see docs/cli.md).
    pub fn exit(&self) -> Exit {
        match self {
            Self::NotRoot { .. } => Exit::Permission,
            Self::Kernel { .. } => Exit::Kernel,
            Self::PortTaken { .. } | Self::Listen { .. } => Exit::PortTaken,
            Self::DiskFull { .. } | Self::Folder { .. } => Exit::Storage,
        }
    }
}

/// Fails unless the effective user is root.
pub fn require_root(verb: &'static str) -> Result<(), HostError> {
    if geteuid().is_root() { Ok(()) } else { Err(HostError::NotRoot { verb }) }
}

/// Fails if the kernel lacks a feature that containers need.
pub fn check_kernel() -> Result<(), HostError> {
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.lines().any(|line| line.split_whitespace().last() == Some("overlay")) {
        return Err(HostError::Kernel {
            feature: "overlayfs",
            place: "/proc/filesystems",
            remedy: "load it with `modprobe overlay`, or enable CONFIG_OVERLAY_FS",
        });
    }
    for (feature, path, remedy) in [
        ("network namespaces", "/proc/self/ns/net", "enable CONFIG_NET_NS"),
        ("pid namespaces", "/proc/self/ns/pid", "enable CONFIG_PID_NS"),
        ("seccomp filters", "/proc/sys/kernel/seccomp/actions_avail", "enable CONFIG_SECCOMP_FILTER"),
        ("control groups", "/proc/self/cgroup", "enable CONFIG_CGROUPS"),
    ] {
        if !Path::new(path).exists() {
            return Err(HostError::Kernel { feature, place: path, remedy });
        }
    }
    Ok(())
}

/// Mounts a tmpfs on `root`, unless it is on one, so that secrets written below it stay in memory.
pub fn prepare_run_root(root: &Path) -> Result<(), HostError> {
    let fail = |action| move |source| HostError::Folder { action, path: root.to_owned(), source };
    fs::create_dir_all(root).map_err(fail("create"))?;
    let in_memory = statfs(root).map(|info| info.filesystem_type() == TMPFS_MAGIC);
    if !in_memory.map_err(|e| fail("inspect")(e.into()))? {
        mount_memory(root).map_err(|e| fail("mount a tmpfs on")(e.into()))?;
    }
    Ok(())
}

/// Mounts a tmpfs, with `noswap` if the kernel supports it (since Linux 6.4).
fn mount_memory(root: &Path) -> nix::Result<()> {
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    let attempt = |options: &str| mount(Some("nanocloud"), root, Some("tmpfs"), flags, Some(options));
    match attempt(&format!("{RUN_SIZE},noswap")) {
        Err(nix::Error::EINVAL) => attempt(RUN_SIZE),
        result => result,
    }
}

/// Disables core dumps of this process and its children, because their memory contains secrets.
pub fn forbid_core_dumps() -> nix::Result<()> {
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0)
}

/// Removes the run root and the tmpfs on it.
pub fn remove_run_root(root: &Path) -> Result<(), HostError> {
    match umount2(root, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
        Err(error) => return Err(HostError::Folder { action: "unmount", path: root.to_owned(), source: error.into() }),
    }
    match fs::remove_dir_all(root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(HostError::Folder { action: "remove", path: root.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// Checks that the directory is writable.
pub fn check_writable(folder: &Path) -> Result<(), HostError> {
    let probe = folder.join(".writable");
    let written = fs::write(&probe, [0_u8; 4096]).and_then(|()| fs::remove_file(&probe));
    written.map_err(|source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => HostError::DiskFull { path: folder.to_owned() },
        _ => HostError::Folder { action: "write to", path: folder.to_owned(), source },
    })
}

/// Listens on the address of the API.
pub async fn listen(address: SocketAddr) -> Result<tokio::net::TcpListener, HostError> {
    tokio::net::TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => HostError::PortTaken { address },
        _ => HostError::Listen { address, source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_has_its_own_exit_code() {
        let held = listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let error = listen(held.local_addr().unwrap()).await.unwrap_err();
        assert_eq!(error.exit(), Exit::PortTaken);
        assert!(error.to_string().contains("is in use"), "{error}");
        let elsewhere = listen(([192, 0, 2, 1], 1).into()).await.unwrap_err();
        assert!(matches!(elsewhere, HostError::Listen { .. }));
    }

    #[test]
    fn no_core_can_be_dumped_from_here_on() {
        forbid_core_dumps().unwrap();
        let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE).unwrap();
        assert_eq!(limit, (0, 0), "nor can it be raised again");
    }

    #[test]
    fn the_run_root_is_memory_that_is_not_swapped_where_the_kernel_can() {
        // Not on a tmpfs, or nothing would be mounted.
        let folder = tempfile::Builder::new().prefix("nct-run").tempdir_in("/var/tmp").unwrap();
        let root = folder.path().join("run");
        prepare_run_root(&root).unwrap();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        remove_run_root(&root).unwrap();
        let line = mounts.lines().find(|line| line.contains(root.to_str().unwrap())).unwrap().to_owned();
        let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
        let mut numbers = release.split('.').map_while(|part| part.parse::<u32>().ok());
        let can = (numbers.next(), numbers.next()) >= (Some(6), Some(4));
        assert!(line.contains(" tmpfs ") && line.contains("noswap") == can, "{line}");
    }

    #[test]
    fn a_folder_that_is_none_is_named() {
        let error = check_writable(Path::new("/proc/nowhere")).unwrap_err();
        assert!(error.to_string().contains("/proc/nowhere"), "{error}");
    }
}
