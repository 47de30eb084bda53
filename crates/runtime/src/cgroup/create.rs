//! Making a container's cgroup, limiting it, and getting processes into it.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::limits::{self, Setting};
use super::{Hierarchy, NEEDED, failed, read};
use crate::container::{ContainerError, Resources};

/// v1 controllers a container gets a group in: those that limit, count or forbid. It stays with the
/// shim in all others, whose groups would hold no setting.
const USED_V1: [&str; 5] = ["cpu", "cpuacct", "devices", "memory", "pids"];

impl Hierarchy {
    /// Makes the cgroup and its parents, and writes the limits.
    pub(crate) fn create(&self, cgroup: &Path, wanted: &Resources) -> Result<(), ContainerError> {
        let settings = match self {
            Self::V1(mounts) => {
                let used = |name: &String| USED_V1.contains(&name.as_str());
                for mount in mounts.iter().filter(|mount| mount.controllers.iter().any(used)) {
                    make(&mount.path.join(below(cgroup)))?;
                }
                limits::v1(wanted)
            }
            Self::V2(root) => {
                enable_controllers(root, cgroup)?;
                make(&root.join(below(cgroup)))?;
                limits::v2(wanted)
            }
        };
        settings.iter().try_for_each(|setting| self.apply(cgroup, setting))
    }

    fn apply(&self, cgroup: &Path, setting: &Setting) -> Result<(), ContainerError> {
        if matches!(self, Self::V1(_)) && self.v1_mount(setting.controller).is_none() {
            // Kernels without it can neither limit nor forbid so; `detect` insists on those needed.
            return Ok(());
        }
        let directory = self.directory(setting.controller, cgroup);
        if setting.is_missing(&directory) {
            return Ok(());
        }
        let file = directory.join(setting.file);
        fs::write(&file, &setting.value).map_err(failed(&file))
    }

    /// What clone3(2) takes to start a process in the cgroup. Only v2 has that; on v1 the process calls
    /// [`Self::enter`] itself.
    pub(crate) fn place(&self, cgroup: &Path) -> Result<Option<OwnedFd>, ContainerError> {
        let Self::V2(root) = self else { return Ok(None) };
        let directory = root.join(below(cgroup));
        let opened = File::options().read(true).custom_flags(libc::O_DIRECTORY).open(&directory);
        Ok(Some(opened.map_err(failed(&directory))?.into()))
    }

    /// Moves this process, which must have a single thread, into the cgroup; nothing on v2, see
    /// [`Self::place`].
    ///
    /// By the file `tasks`: for a thread that moves itself the kernel need not stop all forks and exits
    /// of the host, as it does for `cgroup.procs`, which takes a grace period of RCU (5 to 15 ms).
    pub(crate) fn enter(&self, cgroup: &Path) -> io::Result<()> {
        let Self::V1(mounts) = self else { return Ok(()) };
        let mut entered = false;
        for mount in mounts {
            match fs::write(mount.path.join(below(cgroup)).join("tasks"), "0") {
                Ok(()) => entered = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if entered { Ok(()) } else { Err(io::Error::other("the container's cgroup is gone")) }
    }
}

fn below(cgroup: &Path) -> &Path {
    cgroup.strip_prefix("/").unwrap_or(cgroup)
}

fn make(directory: &Path) -> Result<(), ContainerError> {
    fs::create_dir_all(directory).map_err(failed(directory))
}

/// On v2 each parent hands its controllers down (cgroups(7), `cgroup.subtree_control`).
fn enable_controllers(root: &Path, cgroup: &Path) -> Result<(), ContainerError> {
    let parents: Vec<&Path> = below(cgroup).ancestors().skip(1).collect();
    for parent in parents.into_iter().rev() {
        let directory: PathBuf = root.join(parent);
        make(&directory)?;
        let file = directory.join("cgroup.subtree_control");
        let enabled = read(&file)?;
        let missing = NEEDED.iter().filter(|name| !enabled.split_whitespace().any(|known| known == **name));
        let missing: Vec<String> = missing.map(|name| format!("+{name}")).collect();
        if !missing.is_empty() {
            fs::write(&file, missing.join(" ")).map_err(failed(&file))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::V1Mount;
    use super::*;

    #[test]
    fn v2_parents_hand_down_and_the_group_is_limited() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        // As the kernel makes them with each directory.
        for parent in ["", "n", "n/pod"] {
            fs::create_dir_all(root.path().join(parent))?;
            fs::write(root.path().join(parent).join("cgroup.subtree_control"), "memory\n")?;
        }
        let group = root.path().join("n/pod/c");
        fs::create_dir(&group)?;
        fs::write(group.join("memory.swap.max"), "max")?;
        let wanted = Resources { memory_bytes: Some(4096), pids: Some(3), ..Resources::default() };
        let hierarchy = Hierarchy::V2(root.path().to_owned());
        hierarchy.create(Path::new("/n/pod/c"), &wanted)?;
        for parent in ["", "n", "n/pod"] {
            let text = fs::read_to_string(root.path().join(parent).join("cgroup.subtree_control"))?;
            assert_eq!(text, "+cpu +pids", "{parent:?}: only what is missing is written");
        }
        assert_eq!(fs::read_to_string(group.join("memory.max"))?, "4096");
        assert_eq!(fs::read_to_string(group.join("memory.swap.max"))?, "0");
        assert_eq!(fs::read_to_string(group.join("pids.max"))?, "3");
        assert!(hierarchy.place(Path::new("/n/pod/c"))?.is_some());
        assert!(hierarchy.enter(Path::new("/n/pod/c")).is_ok(), "nothing to do");
        Ok(())
    }

    #[test]
    fn v1_groups_are_made_where_something_is_limited_and_entered_where_they_exist()
    -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let mount = |names: &[&str]| V1Mount {
            controllers: names.iter().map(|name| (*name).to_owned()).collect(),
            path: root.path().join(names.join(",")),
        };
        let hierarchy = Hierarchy::V1(vec![mount(&["cpu", "cpuacct"]), mount(&["memory"]), mount(&["freezer"])]);
        let cgroup = Path::new("/n/c");
        assert!(hierarchy.enter(cgroup).is_err(), "a process is never left outside in silence");
        hierarchy.create(cgroup, &Resources { memory_bytes: Some(4096), ..Resources::default() })?;
        assert!(!root.path().join("freezer").exists());
        assert_eq!(fs::read_to_string(root.path().join("memory/n/c/memory.limit_in_bytes"))?, "4096");
        hierarchy.enter(cgroup)?;
        for group in ["cpu,cpuacct", "memory"] {
            assert_eq!(fs::read_to_string(root.path().join(group).join("n/c/tasks"))?, "0");
        }
        assert!(hierarchy.place(cgroup)?.is_none());
        Ok(())
    }
}
