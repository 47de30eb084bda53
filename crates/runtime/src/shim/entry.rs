//! Where a program starts and which file it is, for the first program and for exec'd ones alike.
//!
//! Both are names that a container or an image chose, looked up by a process that comes from the host. Three things
//! keep them inside:
//!
//! 1. before anything is looked up, every descriptor that is not named is closed ([`super::streams::keep_only`]), so
//!    there is nothing of the host that the kernel's own links (`/proc/self/fd/N`) could lead to;
//! 2. the kernel resolves both without such links (openat2(2), `RESOLVE_NO_MAGICLINKS`), below a root that is the
//!    container's by then, and the result is used by descriptor;
//! 3. the directory that was entered has to be inside of that root.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::{FileStat, fstatat};
use nix::unistd::{AccessFlags, faccessat};
use rooted::Links;

use super::rootfs::below_root;
use crate::container::PATH_DEFAULT;

/// Longest path the kernel takes or tells (`PATH_MAX`).
const PATH_BYTES_MAX: usize = 4096;

/// Makes `path`, which has to be there, the working directory.
pub(super) fn enter_directory(path: &Path) -> io::Result<()> {
    super::look::descriptors_are_settled();
    let root = File::open("/")?;
    let directory = rooted::open(&root, &below_root(path)?, OFlag::O_PATH | OFlag::O_DIRECTORY, Links::InRoot)?;
    nix::unistd::fchdir(&directory)?;
    require_inside()
}

/// Fails unless the working directory is below the root of this process. The C library would guess where the kernel
/// says that it is not, so the kernel is asked itself.
fn require_inside() -> io::Result<()> {
    let mut path = [0_u8; PATH_BYTES_MAX];
    // SAFETY: getcwd(2) writes at most the given number of bytes to memory that lives until it returns.
    let length = unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) };
    if length < 0 {
        return Err(io::Error::last_os_error());
    }
    match path.first() {
        Some(b'/') => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is outside of the container")),
    }
}

/// A program that was found: a regular file that this process may execute.
#[derive(Debug)]
pub(super) struct Program {
    /// The directory it is in, or its link is.
    directory: OwnedFd,
    name: CString,
    /// Whether that name is a link, as in most images `sh` is one.
    link: bool,
    /// As it was asked for, or found in `PATH`.
    path: CString,
}

impl Program {
    /// Looks a program up, in `PATH` as execvp(3) does unless the name holds a `/`, in the filesystem and with the
    /// rights this process has now.
    pub(super) fn find(name: &str, env: &[CString]) -> Result<Self, String> {
        if name.contains('/') {
            return Self::open(Path::new(name)).map_err(|error| match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => format!("{name:?} does not exist in the container"),
                Some(libc::EACCES) => format!("{name:?} may not be executed by this user"),
                Some(libc::ELOOP) => format!("{name:?} leads through a link of the kernel, or in a circle"),
                _ => format!("{name:?}: {error}"),
            });
        }
        let path = env.iter().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH="));
        let path = path.unwrap_or(PATH_DEFAULT.as_bytes());
        let directories = path.split(|byte| *byte == b':').filter(|directory| !directory.is_empty());
        let mut candidates = directories.map(|directory| Path::new(OsStr::from_bytes(directory)).join(name));
        let found = candidates.find_map(|candidate| Self::open(&candidate).ok());
        found.ok_or_else(|| format!("{name:?} is not in the container's PATH"))
    }

    fn open(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(Errno::EACCES)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = rooted::open_here(AT_FDCWD, parent, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        let file = rooted::open_here(directory.as_fd(), Path::new(name), OFlag::O_PATH)?;
        if kind(nix::sys::stat::fstat(&file)?) != libc::S_IFREG {
            return Err(Errno::EACCES.into());
        }
        faccessat(&file, c"", AccessFlags::X_OK, AtFlags::AT_EACCESS | AtFlags::AT_EMPTY_PATH)?;
        let link = kind(fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?) == libc::S_IFLNK;
        let (name, path) = (CString::new(name.as_bytes())?, CString::new(path.as_os_str().as_bytes())?);
        Ok(Self { directory, name, link, path })
    }

    /// As it was asked for, or found in `PATH`.
    pub(super) fn path(&self) -> &CStr {
        &self.path
    }

    /// Executes it; returns only on failure.
    ///
    /// By the descriptor of its directory and the one name in it, which is not followed unless it was a link that
    /// leads to no link of the kernel a moment ago. Not by a descriptor of the file itself: the process would have a
    /// number or the link's target for a name, by which nobody finds it (`pidof`, `pgrep`).
    ///
    /// What an interpreter has to open by name (a script) is executed by its path: the kernel says so by `ENOENT`, as
    /// the descriptor closes at the execution. Were that path, or the link, exchanged since it was looked at, and
    /// whatever the script's own first line names: all are looked up in a process without any descriptor of a file of
    /// the host's, with the user's rights, below the container's root. What is left for the kernel's links to reach is
    /// the shim's program, which is mounted read-only for that reason.
    pub(super) fn execute(&self, argv: &[CString], env: &[CString]) -> io::Error {
        let follow = if self.link { AtFlags::empty() } else { AtFlags::AT_SYMLINK_NOFOLLOW };
        let result = match nix::unistd::execveat(&self.directory, &self.name, argv, env, follow) {
            Err(Errno::ENOENT) => nix::unistd::execve(&self.path, argv, env),
            result => result,
        };
        match result {
            Ok(never) => match never {},
            Err(error) => error.into(),
        }
    }
}

fn kind(stat: FileStat) -> libc::mode_t {
    stat.st_mode & libc::S_IFMT
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    fn env(text: String) -> io::Result<[CString; 1]> {
        Ok([CString::new(text)?])
    }

    #[test]
    fn programs_are_found_or_the_reason_is_told() -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir()?;
        let program = root.path().join("run");
        std::fs::write(&program, "#!/bin/sh\n")?;
        let env = env(format!("PATH=/none:{}", root.path().display()))?;
        let find = |name: &str| Program::find(name, &env).map(|program| program.path);
        assert!(find("run").is_err_and(|problem| problem.contains("not in the container's PATH")));
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        let found = find("run").map_err(io::Error::other)?;
        assert_eq!(found.as_bytes(), program.as_os_str().as_bytes());
        assert!(find("/none/such").is_err_and(|problem| problem.contains("does not exist")));
        let directory = root.path().display().to_string();
        assert!(find(&directory).is_err_and(|problem| problem.contains("may not be executed")));
        Ok(())
    }

    #[test]
    fn links_of_the_kernel_name_no_program_and_no_directory() -> io::Result<()> {
        let directory = File::open("/")?;
        let env = env("PATH=/proc/self/root/bin:/proc/self/fd".to_owned())?;
        for name in [
            "/proc/self/exe".to_owned(),
            "/proc/self/root/bin/sh".to_owned(),
            format!("/proc/self/fd/{}/bin/sh", directory.as_raw_fd()),
            format!("/proc/thread-self/fd/{}/bin/sh", directory.as_raw_fd()),
            format!("/dev/fd/{}/bin/sh", directory.as_raw_fd()),
        ] {
            let problem = Program::find(&name, &env).err().unwrap_or_default();
            assert!(problem.contains("link of the kernel"), "{name}: {problem}");
        }
        assert!(Program::find("sh", &env).is_err(), "nor does PATH lead through one");
        let error = enter_directory(Path::new("/proc/self/cwd")).err().and_then(|error| error.raw_os_error());
        assert_eq!(error, Some(libc::ELOOP));
        Ok(())
    }

    #[test]
    fn a_link_is_followed_once_it_was_seen_to_be_one() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        std::fs::copy("/bin/true", root.path().join("real"))?;
        std::os::unix::fs::symlink("real", root.path().join("alias"))?;
        let find = |name: &str| Program::open(&root.path().join(name)).map(|program| (program.name, program.link));
        assert_eq!(find("real")?, (c"real".to_owned(), false));
        assert_eq!(find("alias")?, (c"alias".to_owned(), true), "a process is named as it was called");
        Ok(())
    }
}
