//! What a container sees as `/`: its image, kernel filesystems, volumes, and what is hidden.
//!
//! ```text
//!  before: Sources::open      copies of the volumes' mounts, while host paths still mean something
//!          enter              the image becomes `/`, everything of the host is detached
//!  after:  furnish            kernel filesystems, volumes, parameters, masks
//! ```
//!
//! After [`enter`] no path can lead out, whatever the image holds, because nothing outside is there
//! any more.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::{UnlinkatFlags, unlinkat};
use rooted::Links;

use super::mounts::{Attributes, Mount, NO_POWER, NO_PROGRAMS, Reach, SEALED, make_root_read_only};
use crate::container::{ContainerSpec, MountSpec, Namespace};

/// Most of `/dev`, which holds no data.
const DEV_BYTES: &std::ffi::CStr = c"65536k";

/// Devices in every container: name, major and minor number.
const DEVICES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Links in `/dev`.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Hidden from containers: the usual list of OCI runtimes.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Read-only in containers: the usual list of OCI runtimes.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Says what was being done when something failed.
fn at<T>(what: impl std::fmt::Display, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{what}: {}", rooted::in_words(&error))))
}

/// Mounts of the host that the container gets, opened while host paths still mean something.
pub(super) struct Sources(Vec<Mount>);

impl Sources {
    /// One per bind mount of the spec, in order, with its attributes.
    pub(super) fn open(spec: &ContainerSpec) -> io::Result<Self> {
        let binds = spec.mounts.iter().filter_map(|mount| match mount {
            MountSpec::Bind { source, read_only, .. } => Some((source, *read_only)),
            MountSpec::Tmpfs { .. } => None,
        });
        let mounts = binds.map(|(source, read_only)| {
            // A read-only bind mount shows no mounts below its source: what is in them stays private.
            let (reach, access) =
                if read_only { (Reach::Alone, libc::MOUNT_ATTR_RDONLY) } else { (Reach::Recursive, 0) };
            let opened = Mount::copy_of(source, reach);
            let restricted = opened.and_then(|mount| mount.restrict(NO_POWER | access, reach).map(|()| mount));
            at(source.display(), restricted)
        });
        Ok(Self(mounts.collect::<io::Result<_>>()?))
    }
}

/// Cuts this mount namespace off from the host's: what is mounted here stays here.
pub(super) fn isolate() -> io::Result<()> {
    Ok(mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?)
}

/// Makes a mounted directory the root of this process and detaches everything of the host
/// (pivot_root(2), "pivot_root(".", ".")").
pub(super) fn enter(root: &Path) -> io::Result<()> {
    std::env::set_current_dir(root)?;
    nix::unistd::pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    std::env::set_current_dir("/")
}

/// Fills the root: kernel filesystems, volumes, parameters, working directory, masks. `cgroups` says
/// whether the container's own cgroup is shown, which is safe on v2 only.
pub(super) fn furnish(spec: &ContainerSpec, sources: Sources, cgroups: bool) -> io::Result<()> {
    let root = File::open("/")?;
    let null = kernel_filesystems(&root, spec, cgroups)?;
    volumes(&root, spec, sources)?;
    parameters(&root, spec)?;
    working_directory(&root, spec)?;
    Masks { root: &root, null: &null, empty: None }.apply(spec)?;
    if spec.read_only_rootfs {
        make_root_read_only()?;
    }
    Ok(())
}

/// `/proc`, `/dev`, `/sys` and what belongs to them. Gives `/dev/null`, which masks are made of.
fn kernel_filesystems(root: &File, spec: &ContainerSpec, cgroups: bool) -> io::Result<OwnedFd> {
    let place = |path: &str, mount: io::Result<Mount>| at(format_args!("/{path}"), attach_real(root, path, mount));
    place("proc", Mount::new(c"proc", &[], NO_PROGRAMS))?;
    let dev_attributes: Attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_STRICTATIME;
    place("dev", Mount::new(c"tmpfs", &[(c"mode", c"755"), (c"size", DEV_BYTES)], dev_attributes))?;
    let null = at("/dev", devices(root))?;
    let terminals = [(c"ptmxmode", c"0666"), (c"mode", c"0620"), (c"gid", c"5")];
    place("dev/pts", Mount::new(c"devpts", &terminals, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC))?;
    let size = number(spec.shm_bytes)?;
    place("dev/shm", Mount::new(c"tmpfs", &[(c"mode", c"1777"), (c"size", &size)], NO_PROGRAMS))?;
    if spec.namespaces.ipc == Namespace::New {
        place("dev/mqueue", Mount::new(c"mqueue", &[], NO_PROGRAMS))?;
    }
    place("sys", Mount::new(c"sysfs", &[], SEALED))?;
    if cgroups {
        place("sys/fs/cgroup", Mount::new(c"cgroup2", &[], SEALED))?;
    }
    Ok(null)
}

fn number(value: u64) -> io::Result<std::ffi::CString> {
    Ok(std::ffi::CString::new(value.to_string())?)
}

/// Attaches to a real directory; where an image has a link in its place, the start fails.
fn attach_real(root: &File, path: &str, mount: io::Result<Mount>) -> io::Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let target = match rooted::open(root, Path::new(path), flags, Links::StayBeneath) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            rooted::open_or_make_directory(root, Path::new(path), Links::StayBeneath)?
        }
        result => result?,
    };
    mount?.attach(target.as_fd())
}

/// Makes nodes and links in the new `/dev`; gives `null`.
fn devices(root: &File) -> io::Result<OwnedFd> {
    let dev = rooted::open(root, Path::new("dev"), OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW, Links::StayBeneath)?;
    let all = Mode::from_bits_truncate(0o666);
    for (name, major, minor) in DEVICES {
        nix::sys::stat::mknodat(&dev, name, SFlag::S_IFCHR, all, nix::sys::stat::makedev(major, minor))?;
        // The mask of this process has taken bits away.
        nix::sys::stat::fchmodat(&dev, name, all, nix::sys::stat::FchmodatFlags::FollowSymlink)?;
    }
    for (name, target) in LINKS {
        nix::unistd::symlinkat(target, &dev, name)?;
    }
    rooted::open(&dev, Path::new("null"), OFlag::O_PATH | OFlag::O_NOFOLLOW, Links::StayBeneath)
}

fn volumes(root: &File, spec: &ContainerSpec, sources: Sources) -> io::Result<()> {
    let mut sources = sources.0.into_iter();
    for wanted in &spec.mounts {
        let mount = match wanted {
            MountSpec::Bind { .. } => sources.next().ok_or(io::ErrorKind::NotFound.into()),
            MountSpec::Tmpfs { size_bytes, mode, uid, gid, .. } => {
                let mode = std::ffi::CString::new(format!("{mode:o}"))?;
                let (size, uid, gid) = (number(*size_bytes)?, number((*uid).into())?, number((*gid).into())?);
                let options = [(c"size", &*size), (c"mode", &*mode), (c"uid", &*uid), (c"gid", &*gid)];
                Mount::new(c"tmpfs", &options, NO_POWER)
            }
        };
        let attached = mount.and_then(|mount| {
            let target = mount_point(root, wanted.target(), mount.is_directory()?)?;
            if fstatfs(&target)?.filesystem_type() == PROC_SUPER_MAGIC {
                return Err(io::Error::other("a link of the image leads into /proc, which is the kernel's"));
            }
            mount.attach(target.as_fd())
        });
        at(wanted.target().display(), attached)?;
    }
    Ok(())
}

/// Opens the file or directory to mount on; makes what is missing.
fn mount_point(root: &File, path: &Path, directory: bool) -> io::Result<OwnedFd> {
    let below = below_root(path)?;
    match rooted::open(root, &below, OFlag::O_PATH, Links::InRoot) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => return result,
    }
    if directory {
        return rooted::open_or_make_directory(root, &below, Links::InRoot);
    }
    let (Some(parent), Some(name)) = (below.parent(), below.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = rooted::open_or_make_directory(root, parent, Links::InRoot)?;
    let make = || {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC | OFlag::O_WRONLY;
        nix::fcntl::openat(&parent, name, flags, Mode::from_bits_truncate(0o644))
    };
    match make() {
        // A link to nowhere, as images have in the place of /etc/resolv.conf.
        Err(Errno::EEXIST) => {
            unlinkat(&parent, name, UnlinkatFlags::NoRemoveDir)?;
            Ok(make()?)
        }
        result => Ok(result?),
    }
}

pub(super) fn below_root(path: &Path) -> io::Result<PathBuf> {
    let below = path.strip_prefix("/").ok().and_then(rooted::relative);
    below.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Kernel parameters, by the container's own `/proc`.
fn parameters(root: &File, spec: &ContainerSpec) -> io::Result<()> {
    if spec.sysctls.is_empty() {
        return Ok(());
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let directory = rooted::open(root, Path::new("proc/sys"), flags, Links::StayBeneath)?;
    for (name, value) in &spec.sysctls {
        let path = name.replace('.', "/");
        let file = rooted::open(&directory, Path::new(&path), OFlag::O_WRONLY, Links::StayBeneath);
        let written = file.and_then(|file| io::Write::write_all(&mut File::from(file), value.as_bytes()));
        at(format_args!("kernel parameter {name}"), written)?;
    }
    Ok(())
}

/// Inside the image's links, and the user's if it had to be made.
fn working_directory(root: &File, spec: &ContainerSpec) -> io::Result<()> {
    let below = below_root(&spec.cwd)?;
    let opened = match rooted::open(root, &below, OFlag::O_PATH | OFlag::O_DIRECTORY, Links::InRoot) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            rooted::open_or_make_directory(root, &below, Links::InRoot)
                .and_then(|made| std::os::unix::fs::fchown(&made, Some(spec.user.uid), Some(spec.user.gid)))
        }
        result => result.map(drop),
    };
    at(format_args!("working directory {}", spec.cwd.display()), opened)
}

/// A new terminal of the container (master, slave) that is also its `/dev/console`.
pub(super) fn open_console(root: &File) -> io::Result<(OwnedFd, OwnedFd)> {
    let (master, slave) = crate::pty::open_terminal()?;
    let target = mount_point(root, Path::new("/dev/console"), false)?;
    Mount::copy_at(slave.as_fd(), Reach::Alone)?.attach(target.as_fd())?;
    Ok((master, slave))
}

/// Hides and seals parts of the kernel's filesystems.
struct Masks<'a> {
    root: &'a File,
    null: &'a OwnedFd,
    /// An empty read-only filesystem, once one is attached.
    empty: Option<Mount>,
}

impl Masks<'_> {
    fn apply(&mut self, spec: &ContainerSpec) -> io::Result<()> {
        for path in chosen(&spec.masked_paths, &MASKED) {
            at(format_args!("mask {}", path.display()), self.hide(&path))?;
        }
        for path in chosen(&spec.readonly_paths, &READ_ONLY) {
            at(format_args!("seal {}", path.display()), self.seal(&path))?;
        }
        Ok(())
    }

    /// What is not there need not be hidden.
    fn find(&self, path: &Path) -> io::Result<Option<OwnedFd>> {
        match rooted::open(self.root, &below_root(path)?, OFlag::O_PATH, Links::InRoot) {
            Ok(found) => Ok(Some(found)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn hide(&mut self, path: &Path) -> io::Result<()> {
        let Some(target) = self.find(path)? else { return Ok(()) };
        let kind = nix::sys::stat::fstat(&target)?.st_mode & libc::S_IFMT;
        if kind == libc::S_IFDIR {
            return self.hide_directory(target.as_fd());
        }
        let cover = Mount::copy_at(self.null.as_fd(), Reach::Alone)?;
        cover.restrict(libc::MOUNT_ATTR_RDONLY, Reach::Alone)?;
        cover.attach(target.as_fd())
    }

    fn hide_directory(&mut self, target: BorrowedFd<'_>) -> io::Result<()> {
        match &self.empty {
            Some(empty) => empty.copy()?.attach(target),
            None => {
                let empty = Mount::new(c"tmpfs", &[(c"mode", c"755"), (c"nr_inodes", c"1")], SEALED)?;
                empty.attach(target)?;
                self.empty = Some(empty);
                Ok(())
            }
        }
    }

    fn seal(&self, path: &Path) -> io::Result<()> {
        let Some(target) = self.find(path)? else { return Ok(()) };
        let sealed = Mount::copy_at(target.as_fd(), Reach::Recursive)?;
        sealed.restrict(libc::MOUNT_ATTR_RDONLY, Reach::Recursive)?;
        sealed.attach(target.as_fd())
    }
}

fn chosen(wanted: &Option<Vec<PathBuf>>, usual: &[&str]) -> Vec<PathBuf> {
    match wanted {
        Some(paths) => paths.clone(),
        None => usual.iter().map(PathBuf::from).collect(),
    }
}

/// Host name of this UTS namespace.
pub(super) fn name_host(spec: &ContainerSpec) -> io::Result<()> {
    spec.hostname.as_ref().map_or(Ok(()), |name| Ok(nix::unistd::sethostname(name)?))
}

/// Wanted out-of-memory score; lowering it may be forbidden, then it stays as it is
/// (proc_pid_oom_score_adj(5)). By the host's `/proc`, so before [`enter`].
pub(super) fn score_for_memory(wanted: Option<i32>) {
    if let Some(wanted) = wanted {
        // Not being able to is no reason not to run.
        let _ = fs::write("/proc/self/oom_score_adj", wanted.clamp(-1000, 1000).to_string());
    }
}
