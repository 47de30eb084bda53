//! Cgroups of containers: making, limiting, reading, killing, removing, on v1 (and the hybrid of both)
//! and v2.
//!
//! On v1 a container has one directory per controller that is used, on v2 one in all; both are
//! addressed by the same path below the mount(s).

mod create;
mod limits;
mod oom;

pub(crate) use oom::OomWatch;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::container::{ContainerError, Stats};
use crate::process;

/// Longest wait for killed processes to leave a cgroup.
const EMPTY_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause between two looks at a cgroup that is not empty yet.
const EMPTY_PAUSE: Duration = Duration::from_millis(2);
/// Deepest nesting looked at below a root.
const DEPTH_MAX: usize = 8;
/// A v1 memory limit at or above this is "unlimited" (the kernel rounds it to pages).
const V1_UNLIMITED: u64 = 1 << 60;
/// Controllers without which limits would not be enforced.
const NEEDED: [&str; 3] = ["memory", "cpu", "pids"];

/// Where cgroups are mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hierarchy {
    /// One mount per controller or group of controllers.
    V1(Vec<V1Mount>),
    /// One mount for all.
    V2(PathBuf),
}

/// One v1 mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct V1Mount {
    controllers: Vec<String>,
    path: PathBuf,
}

impl Hierarchy {
    /// Looks at the mounts of this process.
    pub(crate) fn detect() -> Result<Self, ContainerError> {
        let path = PathBuf::from("/proc/self/mountinfo");
        let text = fs::read_to_string(&path).map_err(|source| ContainerError::Cgroup { path, source })?;
        let hierarchy = Self::parse(&text)
            .ok_or(ContainerError::Unsupported { what: "a cgroup mount", remedy: "mount /sys/fs/cgroup" })?;
        for controller in NEEDED {
            if !hierarchy.has(controller)? {
                return Err(ContainerError::Unsupported {
                    what: controller_name(controller),
                    remedy: "enable it in the kernel, or delegate it to this service",
                });
            }
        }
        Ok(hierarchy)
    }

    /// Reads proc_pid_mountinfo(5). With a memory controller on v1, v1 is what limits.
    fn parse(mountinfo: &str) -> Option<Self> {
        let mut v1 = Vec::new();
        let mut v2 = None;
        for line in mountinfo.lines() {
            let Some((head, tail)) = line.split_once(" - ") else { continue };
            let Some(path) = head.split(' ').nth(4).map(PathBuf::from) else { continue };
            let mut tail = tail.split(' ');
            match (tail.next(), tail.nth(1)) {
                (Some("cgroup"), Some(options)) => {
                    let controllers: Vec<String> = options
                        .split(',')
                        .filter(|option| !matches!(*option, "rw" | "ro") && !option.contains('='))
                        .map(str::to_owned)
                        .collect();
                    if !controllers.is_empty() {
                        v1.push(V1Mount { controllers, path });
                    }
                }
                (Some("cgroup2"), _) => v2 = Some(path),
                _ => {}
            }
        }
        let v1_limits = v1.iter().any(|mount| mount.controllers.iter().any(|name| name == "memory"));
        if v1_limits { Some(Self::V1(v1)) } else { v2.map(Self::V2) }
    }

    /// Whether this is cgroup v2.
    pub(crate) fn is_v2(&self) -> bool {
        matches!(self, Self::V2(_))
    }

    fn has(&self, controller: &str) -> Result<bool, ContainerError> {
        match self {
            Self::V1(_) => Ok(self.v1_mount(controller).is_some()),
            Self::V2(root) => {
                let names = read(&root.join("cgroup.controllers"))?;
                Ok(names.split_whitespace().any(|name| name == controller))
            }
        }
    }

    fn v1_mount(&self, controller: &str) -> Option<&Path> {
        match self {
            Self::V1(mounts) => mounts
                .iter()
                .find(|mount| mount.controllers.iter().any(|name| name == controller))
                .map(|mount| mount.path.as_path()),
            Self::V2(_) => None,
        }
    }

    /// The directories of one cgroup, whether they exist or not.
    fn directories(&self, cgroup: &Path) -> Vec<PathBuf> {
        let below = cgroup.strip_prefix("/").unwrap_or(cgroup);
        match self {
            Self::V1(mounts) => mounts.iter().map(|mount| mount.path.join(below)).collect(),
            Self::V2(root) => vec![root.join(below)],
        }
    }

    fn directory(&self, controller: &str, cgroup: &Path) -> PathBuf {
        let below = cgroup.strip_prefix("/").unwrap_or(cgroup);
        match self {
            Self::V2(root) => root.join(below),
            Self::V1(_) => self.v1_mount(controller).unwrap_or(Path::new("/")).join(below),
        }
    }

    /// Kills every process in the cgroup and waits until there is none. A container's processes are
    /// in all of its directories, so one tells of all.
    pub(crate) fn kill(&self, cgroup: &Path) -> Result<(), ContainerError> {
        let directory = self.directory("pids", cgroup);
        let deadline = Instant::now() + EMPTY_TIMEOUT;
        loop {
            let members = members(&directory, DEPTH_MAX)?;
            if members.is_empty() {
                return Ok(());
            }
            if self.is_v2() {
                write(&directory.join("cgroup.kill"), "1")?;
            } else {
                for pid in members {
                    let pid = nix::unistd::Pid::from_raw(pid);
                    // Gone already is as good as killed.
                    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
                }
            }
            if Instant::now() > deadline {
                return Err(busy(directory));
            }
            process::pause(EMPTY_PAUSE);
        }
    }

    /// Removes the (empty) cgroup and cgroups inside it.
    pub(crate) fn remove(&self, cgroup: &Path) -> Result<(), ContainerError> {
        for directory in self.directories(cgroup) {
            remove_directory(&directory, DEPTH_MAX)?;
        }
        Ok(())
    }

    /// Kills and removes cgroups of this name anywhere below the root.
    pub(crate) fn remove_named(&self, root: &str, name: &str) -> Result<(), ContainerError> {
        let mut found = BTreeSet::new();
        for directory in self.directories(Path::new(root)) {
            walk(&directory, DEPTH_MAX, &mut |path| {
                if path.file_name().is_some_and(|last| last == name)
                    && let Ok(below) = path.strip_prefix(&directory)
                {
                    found.insert(Path::new("/").join(root).join(below));
                }
            })?;
        }
        for cgroup in found {
            self.kill(&cgroup)?;
            self.remove(&cgroup)?;
        }
        Ok(())
    }

    /// Removes the parents of a removed cgroup that are empty now, up to and with the root.
    pub(crate) fn prune_parents(&self, root: &str, cgroup: &Path) {
        let root = Path::new("/").join(root);
        let empty = |parent: &Path| {
            let removed = self.directories(parent).into_iter().map(|directory| fs::remove_dir(directory).is_ok());
            // Every directory is tried; what is not empty stays, which is no error.
            removed.fold(false, |any, removed| any | removed)
        };
        let parents = cgroup.ancestors().skip(1).take_while(|parent| parent.starts_with(&root));
        for parent in parents {
            if !empty(parent) {
                return;
            }
        }
    }

    /// Removes the empty cgroups below the root, and the root itself if it is empty then.
    pub(crate) fn prune(&self, root: &str) {
        for directory in self.directories(Path::new(root)) {
            prune(&directory, DEPTH_MAX);
        }
    }

    /// Kills processes in cgroups whose name is not known, and removes what is empty then.
    pub(crate) fn sweep(&self, root: &str, known: &BTreeSet<String>) -> Result<(), ContainerError> {
        let mut strangers = Vec::new();
        for directory in self.directories(Path::new(root)) {
            walk(&directory, DEPTH_MAX, &mut |path| {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                let occupied = members(path, 0).is_ok_and(|members| !members.is_empty());
                if occupied
                    && path != directory
                    && !known.contains(&name)
                    && let Ok(below) = path.strip_prefix(&directory)
                {
                    strangers.push(Path::new("/").join(root).join(below));
                }
            })?;
        }
        for cgroup in strangers {
            tracing::warn!(cgroup = %cgroup.display(), "processes of no known container are killed");
            self.kill(&cgroup)?;
        }
        self.prune(root);
        Ok(())
    }

    /// Times the kernel killed a process of the cgroup for lack of memory; 0 when it cannot be told.
    pub(crate) fn oom_kills(&self, cgroup: &Path) -> u64 {
        let directory = self.directory("memory", cgroup);
        let file = if self.is_v2() { "memory.events" } else { "memory.oom_control" };
        fs::read_to_string(directory.join(file)).ok().and_then(|text| field(&text, "oom_kill")).unwrap_or(0)
    }

    /// Usage counters.
    pub(crate) fn stats(&self, cgroup: &Path) -> Result<Stats, ContainerError> {
        let memory = self.directory("memory", cgroup);
        let pids = number(&self.directory("pids", cgroup).join("pids.current"))?.unwrap_or(0);
        let (used, limit, inactive, cpu_nanos) = if self.is_v2() {
            let cpu = read(&self.directory("cpu", cgroup).join("cpu.stat"))?;
            (
                number(&memory.join("memory.current"))?.unwrap_or(0),
                number(&memory.join("memory.max"))?,
                field(&read(&memory.join("memory.stat"))?, "inactive_file").unwrap_or(0),
                field(&cpu, "usage_usec").unwrap_or(0).saturating_mul(1000),
            )
        } else {
            (
                number(&memory.join("memory.usage_in_bytes"))?.unwrap_or(0),
                number(&memory.join("memory.limit_in_bytes"))?.filter(|limit| *limit < V1_UNLIMITED),
                field(&read(&memory.join("memory.stat"))?, "total_inactive_file").unwrap_or(0),
                number(&self.directory("cpuacct", cgroup).join("cpuacct.usage"))?.unwrap_or(0),
            )
        };
        Ok(Stats {
            memory_bytes: used,
            memory_working_set_bytes: used.saturating_sub(inactive),
            memory_limit_bytes: limit,
            cpu_nanos,
            pids,
            oom_kills: self.oom_kills(cgroup),
        })
    }
}

fn controller_name(controller: &str) -> &'static str {
    match controller {
        "memory" => "the memory cgroup controller",
        "cpu" => "the cpu cgroup controller",
        _ => "the pids cgroup controller",
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ContainerError + '_ {
    move |source| ContainerError::Cgroup { path: path.to_owned(), source }
}

fn busy(path: PathBuf) -> ContainerError {
    ContainerError::Cgroup { path, source: io::ErrorKind::ResourceBusy.into() }
}

fn read(path: &Path) -> Result<String, ContainerError> {
    fs::read_to_string(path).map_err(failed(path))
}

fn write(path: &Path, text: &str) -> Result<(), ContainerError> {
    match fs::write(path, text) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}

/// A file of one number; `max` is none.
fn number(path: &Path) -> Result<Option<u64>, ContainerError> {
    Ok(read(path)?.trim().parse().ok())
}

/// The value behind a name in a file of `name value` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Pids in a cgroup and those inside it; none when it does not exist.
fn members(directory: &Path, depth: usize) -> Result<Vec<i32>, ContainerError> {
    let file = directory.join("cgroup.procs");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        // The cgroup is being removed.
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(Vec::new()),
        Err(error) => return Err(failed(&file)(error)),
    };
    // 0 is a process outside of our pid namespace: it cannot be signalled by number.
    let mut pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect();
    if depth > 0 {
        for child in children(directory)? {
            pids.extend(members(&child, depth - 1)?);
        }
    }
    Ok(pids)
}

fn children(directory: &Path) -> Result<Vec<PathBuf>, ContainerError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(directory)(error)),
    };
    let directories = entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(directories.map(|entry| entry.path()).collect())
}

fn walk(directory: &Path, depth: usize, visit: &mut dyn FnMut(&Path)) -> Result<(), ContainerError> {
    visit(directory);
    if depth > 0 {
        for child in children(directory)? {
            walk(&child, depth - 1, visit)?;
        }
    }
    Ok(())
}

fn remove_directory(directory: &Path, depth: usize) -> Result<(), ContainerError> {
    let deadline = Instant::now() + EMPTY_TIMEOUT;
    loop {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // Dead processes leave a moment after they were killed; children are in the way.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            Err(error) => return Err(failed(directory)(error)),
        }
        if depth > 0 {
            for child in children(directory)? {
                remove_directory(&child, depth - 1)?;
            }
        }
        if Instant::now() > deadline {
            return Err(busy(directory.to_owned()));
        }
        process::pause(EMPTY_PAUSE);
    }
}

/// Depth first; what is not empty stays, which is no error.
fn prune(directory: &Path, depth: usize) {
    if depth > 0 {
        for child in children(directory).unwrap_or_default() {
            prune(&child, depth - 1);
        }
    }
    let _ = fs::remove_dir(directory);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";

    #[test]
    fn hybrid_limits_through_v1_and_named_mounts_are_left_out() {
        let hierarchy = Hierarchy::parse(HYBRID);
        let paths = hierarchy.map(|hierarchy| hierarchy.directories(Path::new("/a/b")));
        let expected = ["/sys/fs/cgroup/cpu,cpuacct/a/b", "/sys/fs/cgroup/memory/a/b"].map(PathBuf::from);
        assert_eq!(paths, Some(expected.to_vec()));
    }

    #[test]
    fn unified_alone_is_v2_and_nothing_is_nothing() {
        let line = "34 30 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(Hierarchy::parse(line), Some(Hierarchy::V2("/sys/fs/cgroup".into())));
        assert_eq!(Hierarchy::parse("1 0 0:1 / / rw - ext4 /dev/x rw"), None);
    }

    #[test]
    fn field_matches_whole_names_only() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(field(text, "oom_kill"), Some(3));
        assert_eq!(field(text, "oom"), None);
    }

    #[test]
    fn v2_counters_come_from_v2_files() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let group = root.path().join("g");
        fs::create_dir(&group)?;
        for (file, text) in [
            ("memory.current", "5000\n"),
            ("memory.max", "max\n"),
            ("memory.stat", "anon 1\ninactive_file 2000\n"),
            ("memory.events", "low 0\noom 1\noom_kill 2\n"),
            ("cpu.stat", "usage_usec 7\nuser_usec 3\n"),
            ("pids.current", "4\n"),
        ] {
            fs::write(group.join(file), text)?;
        }
        let stats = Hierarchy::V2(root.path().to_owned()).stats(Path::new("/g"))?;
        let expected = Stats {
            memory_bytes: 5000,
            memory_working_set_bytes: 3000,
            memory_limit_bytes: None,
            cpu_nanos: 7000,
            pids: 4,
            oom_kills: 2,
        };
        assert_eq!(stats, expected);
        Ok(())
    }
}
