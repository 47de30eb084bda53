//! What lies below a root directory: files opened without leaving it, and the ids of its users.
//!
//! ```text
//!  images    layers ────────┐
//!                           ├─► rooted::open(root, path, links) ─► openat2(2)
//!  runtime   root of a ─────┘     StayBeneath: a link that leads out is an error
//!            container            InRoot: links are followed as if the root were `/`
//! ```
//!
//! Invariant: built on openat2(2), where the kernel refuses the escape, so that there is no moment between a check and
//! a use, whatever links are planted.
//!
//! Limits: Linux 5.6 or later; a path is walked [`WALKS_MAX`] times at most while others rename parts of it.

mod user;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};

pub use user::UserIds;

/// How links in the way are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// A link that leads out of the root, or is absolute, is an error (`EXDEV`).
    StayBeneath,
    /// Links are followed as if the root were `/` (as inside a container).
    InRoot,
}

/// Most walks of one path: a neighbour that renames all the time must not hold a start for ever.
pub const WALKS_MAX: usize = 128;

/// Opens a path below `root`; `path` is relative.
pub fn open(root: impl AsFd, path: &Path, flags: OFlag, links: Links) -> io::Result<OwnedFd> {
    let resolve = match links {
        Links::StayBeneath => ResolveFlag::RESOLVE_BENEATH,
        Links::InRoot => ResolveFlag::RESOLVE_IN_ROOT,
    };
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    walk(root.as_fd(), path, how)
}

/// Opens a path as this process sees it, absolute or relative to a directory. Only for processes whose root is the one
/// not to leave: the kernel's own links (`/proc/self/fd/N`, `/proc/1/root`) are what could.
pub fn open_here(from: BorrowedFd<'_>, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS);
    walk(from, path, how)
}

fn walk(from: BorrowedFd<'_>, path: &Path, how: OpenHow) -> io::Result<OwnedFd> {
    let mut walks = 1;
    loop {
        match openat2(from, path, how) {
            Ok(fd) => return Ok(fd),
            // EAGAIN: something was renamed during the walk (openat2(2)).
            Err(Errno::EINTR | Errno::EAGAIN) if walks < WALKS_MAX => walks += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The text of a regular file below `root`; what a container or an image put in its place (a device, a pipe nobody
/// writes, an endless file) is an error, never a wait.
pub fn read_regular(root: impl AsFd, path: &Path, links: Links, bytes_max: u64) -> io::Result<String> {
    let file = File::from(open(root, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY, links)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {bytes_max} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Opens a directory below `root`, making what is missing of it with mode 0755.
pub fn open_or_make_directory(root: impl AsFd, path: &Path, links: Links) -> io::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY;
    match open(root.as_fd(), path, flags, links) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => return result,
    }
    let mut walked = PathBuf::new();
    let mut current = open(root.as_fd(), Path::new("."), flags, links)?;
    for component in path.components() {
        walked.push(component);
        current = match open(root.as_fd(), &walked, flags, links) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match mkdirat(&current, component.as_os_str(), Mode::from_bits_truncate(0o755)) {
                    Ok(()) => {}
                    // The name exists, yet leads nowhere.
                    Err(Errno::EEXIST) => return Err(io::Error::from_raw_os_error(libc::ELOOP)),
                    Err(error) => return Err(error.into()),
                }
                open(root.as_fd(), &walked, flags, links)?
            }
            result => result?,
        };
    }
    Ok(current)
}

/// The error in words, where the kernel's own say nothing of what happened.
pub fn in_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ELOOP) => "it crosses a symbolic link that is not followed, or that leads in a circle".to_owned(),
        Some(libc::EXDEV) => "it crosses a symbolic link that leads out of its root".to_owned(),
        _ => error.to_string(),
    }
}

/// A relative path without `.`, or `None` if it is absolute or holds `..` or a NUL.
pub fn relative(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) if !name.as_encoded_bytes().contains(&0) => clean.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(clean)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_out_are_refused_or_kept_inside() -> io::Result<()> {
        let outside = tempfile::tempdir()?;
        let root = tempfile::tempdir()?;
        symlink(outside.path(), root.path().join("absolute"))?;
        symlink("../..", root.path().join("up"))?;
        fs::create_dir_all(root.path().join("usr/lib"))?;
        symlink("usr/lib", root.path().join("lib"))?;
        let dir = File::open(root.path())?;
        let open = |path: &str, links| open_or_make_directory(&dir, Path::new(path), links).map(drop);
        for path in ["absolute/x", "up/x", "absolute", "up"] {
            let error = open(path, Links::StayBeneath).err().and_then(|error| error.raw_os_error());
            assert_eq!(error, Some(libc::EXDEV), "{path}");
        }
        for code in [libc::EXDEV, libc::ELOOP] {
            let words = in_words(&io::Error::from_raw_os_error(code));
            assert!(words.contains("symbolic link") && !words.contains("os error"), "{words}");
        }
        open("lib/deep/er", Links::StayBeneath)?;
        assert!(root.path().join("usr/lib/deep/er").is_dir());
        open("up/kept", Links::InRoot)?;
        assert!(root.path().join("kept").is_dir());
        assert_eq!(fs::read_dir(outside.path())?.count(), 0);
        Ok(())
    }

    #[test]
    fn only_regular_files_of_bounded_size_are_read() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let dir = File::open(root.path())?;
        fs::write(root.path().join("plain"), "text")?;
        symlink("plain", root.path().join("link"))?;
        symlink("/dev/zero", root.path().join("endless"))?;
        symlink("/proc/self/fd/0", root.path().join("magic"))?;
        fs::create_dir(root.path().join("folder"))?;
        nix::unistd::mkfifo(&root.path().join("pipe"), Mode::from_bits_truncate(0o600))?;
        File::create(root.path().join("huge"))?.set_len(1 << 40)?;
        let read = |name: &str, links| read_regular(&dir, Path::new(name), links, 4);
        assert_eq!(read("plain", Links::StayBeneath)?, "text");
        assert_eq!(read("link", Links::InRoot)?, "text");
        for name in ["endless", "magic", "folder", "pipe", "huge", "none"] {
            assert!(read(name, Links::InRoot).is_err(), "{name}");
        }
        let here = File::open("/")?;
        assert!(read_regular(&here, Path::new("dev/zero"), Links::InRoot, 4).is_err(), "a device");
        Ok(())
    }

    #[test]
    fn names_are_cleaned_or_refused() {
        assert_eq!(relative(Path::new("./a//b/.")), Some(PathBuf::from("a/b")));
        assert_eq!(relative(Path::new("/a")), None);
        assert_eq!(relative(Path::new("a/../b")), None);
        assert_eq!(relative(Path::new("")), Some(PathBuf::new()));
    }
}
