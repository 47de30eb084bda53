//! Unpacking a layer's tar into a directory as overlayfs wants it.
//!
//! The tar comes from anywhere, so nothing in it is trusted: every name is resolved by the kernel
//! below the target directory, links included; device nodes are refused; sizes and counts are
//! limited. Whiteouts become what overlayfs knows: a character device 0/0 for a removed name, an
//! attribute for a directory that hides those below it.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstatat, futimens, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, LinkatFlags, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};
use rooted::Links;
use tar::EntryType;
use xattr::FileExt;

use crate::error::ImageError;

/// Most entries of one layer.
const ENTRIES_MAX: u64 = 4_000_000;
/// Longest path or link target (`PATH_MAX`).
const PATH_BYTES_MAX: usize = 4096;
/// Most bytes of extended headers of one entry; attributes are here.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;
/// Bytes copied at once.
const COPY_BYTES: usize = 256 << 10;

/// Why an entry of either sparse form is refused.
const SPARSE: &str = "is stored sparse; build the layer without tar's --sparse";

/// Prefix of names that remove (image-spec, `layer.md`).
const WHITEOUT: &[u8] = b".wh.";
/// Name that hides all that is below.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What overlayfs looks for on a directory that hides those below it.
const OPAQUE_ATTRIBUTE: &str = "trusted.overlay.opaque";

/// Unpacks into `target`, an empty directory. `layer` names the layer in errors. Gives the directories that the layer
/// has no entry for: they were only made to hold others.
pub(crate) fn unpack(reader: impl Read, target: &Path, layer: &str) -> Result<BTreeSet<PathBuf>, ImageError> {
    let root = File::open(target).map_err(ImageError::store(target))?;
    let mut unpacker = Unpacker {
        layer,
        root,
        parent: None,
        holders: BTreeSet::new(),
        directories: Vec::new(),
        buffer: vec![0; COPY_BYTES],
    };
    let io = |source| ImageError::Unpack { layer: layer.to_owned(), source };
    let mut archive = tar::Archive::new(reader);
    let mut extensions = Extensions::default();
    let mut count = 0_u64;
    for entry in archive.entries().map_err(io)?.raw(true) {
        let mut entry = entry.map_err(io)?;
        count += 1;
        if count > ENTRIES_MAX {
            return Err(ImageError::TooLarge {
                what: format!("the list of entries of layer {layer}"),
                limit: ENTRIES_MAX,
            });
        }
        if extensions.absorb(&mut entry).map_err(io)? {
            continue;
        }
        let item = Item::new(&entry, std::mem::take(&mut extensions)).map_err(|problem| ImageError::Layer {
            layer: layer.to_owned(),
            entry: String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
            problem,
        })?;
        unpacker.item(&item, &mut entry)?;
    }
    unpacker.finish()
}

/// Extended headers that came before an entry.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    uid: Option<u64>,
    gid: Option<u64>,
    size: Option<u64>,
    mtime: Option<(i64, i64)>,
    sparse: bool,
    attributes: Vec<(OsString, Vec<u8>)>,
}

impl Extensions {
    /// Takes an entry that describes the next one; false if it is an entry of its own.
    fn absorb(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> io::Result<bool> {
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => self.path = Some(name_of(entry)?),
            EntryType::GNULongLink => self.link = Some(name_of(entry)?),
            EntryType::XHeader => {
                let bytes = read_extension(entry)?;
                self.pax(&bytes)?;
            }
            // Comments of tools, git's commit for one.
            EntryType::XGlobalHeader => drop(read_extension(entry)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn pax(&mut self, bytes: &[u8]) -> io::Result<()> {
        for extension in tar::PaxExtensions::new(bytes) {
            let extension = extension?;
            let (key, value) = (extension.key_bytes(), extension.value_bytes());
            let number = || std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"uid" => self.uid = number(),
                b"gid" => self.gid = number(),
                b"size" => self.size = number(),
                b"mtime" => self.mtime = seconds(value),
                // The content then is a map and pieces, under another name (GNU tar, "PAX format").
                _ if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        self.attributes.push((OsString::from_vec(name.to_vec()), value.to_vec()));
                    }
                }
            }
        }
        Ok(())
    }
}

fn read_extension(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Vec<u8>> {
    let size = entry.header().entry_size()?;
    if size > EXTENSION_BYTES_MAX {
        return Err(io::Error::other(format!(
            "an extended header of {size} bytes is over the limit of {EXTENSION_BYTES_MAX}"
        )));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn name_of(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Vec<u8>> {
    let mut name = read_extension(entry)?;
    name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
    Ok(name)
}

/// `seconds[.fraction]` as seconds and nanoseconds.
fn seconds(text: &[u8]) -> Option<(i64, i64)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let (whole, nanos): (i64, i64) = (whole.parse().ok()?, digits.parse().ok()?);
    // Before the epoch the fraction counts downwards.
    if text.starts_with('-') && nanos > 0 { Some((whole - 1, 1_000_000_000 - nanos)) } else { Some((whole, nanos)) }
}

/// One entry, checked in itself.
struct Item {
    path: PathBuf,
    link: Option<PathBuf>,
    kind: EntryType,
    mode: Mode,
    uid: Uid,
    gid: Gid,
    modified: TimeSpec,
    attributes: Vec<(OsString, Vec<u8>)>,
}

impl Item {
    fn new(entry: &tar::Entry<'_, impl Read>, extensions: Extensions) -> Result<Self, String> {
        if extensions.sparse {
            return Err(SPARSE.to_owned());
        }
        let header = entry.header();
        let unreadable = |error: io::Error| format!("has an unreadable header: {error}");
        let raw = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
        if raw.len() > PATH_BYTES_MAX {
            return Err(format!("has a name of {} bytes", raw.len()));
        }
        let path = rooted::relative(Path::new(OsStr::from_bytes(&raw)))
            .ok_or("has a name that is absolute, holds `..` or NUL: it would leave the layer")?;
        let link = extensions.link.or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
        if link.as_ref().is_some_and(|link| link.len() > PATH_BYTES_MAX || link.contains(&0)) {
            return Err("has an impossible link target".to_owned());
        }
        let size = header.entry_size().map_err(unreadable)?;
        if extensions.size.is_some_and(|real| real != size) {
            return Err("is larger than its header can say; such layers are not supported".to_owned());
        }
        let id = |extended: Option<u64>, own: io::Result<u64>| -> Result<u32, String> {
            let id = extended.map_or(own, Ok).map_err(unreadable)?;
            u32::try_from(id).map_err(|_| format!("has owner {id}, which is no user id"))
        };
        let old = header.as_old();
        let own_time = || number(&old.mtime, || header.mtime()).map(|time| (i64::try_from(time).unwrap_or(0), 0));
        let (secs, nanos) = extensions.mtime.map_or_else(own_time, Ok).map_err(unreadable)?;
        let mode = number(&old.mode, || header.mode().map(u64::from)).map_err(unreadable)? & 0o7777;
        let mode = u32::try_from(mode).unwrap_or(0);
        Ok(Self {
            path,
            link: link.map(|link| PathBuf::from(OsString::from_vec(link))),
            kind: header.entry_type(),
            mode: Mode::from_bits_truncate(mode),
            uid: Uid::from_raw(id(extensions.uid, number(&old.uid, || header.uid()))?),
            gid: Gid::from_raw(id(extensions.gid, number(&old.gid, || header.gid()))?),
            modified: TimeSpec::new(secs, nanos),
            attributes: extensions.attributes,
        })
    }
}

/// A field that was left blank is 0, as other readers have it.
fn number(field: &[u8], parse: impl FnOnce() -> io::Result<u64>) -> io::Result<u64> {
    let blank = field.iter().all(|byte| matches!(byte, 0 | b' '));
    if blank { Ok(0) } else { parse() }
}

/// Why an entry failed: it is refused, or the system could not.
enum Failure {
    Refused(String),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EXDEV | libc::ELOOP) => {
                Self::Refused("leads through a link that leaves the layer or leads nowhere".to_owned())
            }
            Some(libc::ENOTDIR) => Self::Refused("lies below something that is no directory".to_owned()),
            Some(libc::ENAMETOOLONG) => Self::Refused("has too long a name".to_owned()),
            _ => Self::Io(error),
        }
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}

fn refused(problem: &str) -> Failure {
    Failure::Refused(problem.to_owned())
}

struct Unpacker<'a> {
    layer: &'a str,
    root: File,
    /// The last directory worked in: most entries follow one of the same directory.
    parent: Option<(PathBuf, OwnedFd)>,
    /// Directories that something was made in.
    holders: BTreeSet<PathBuf>,
    /// Times are set at the end, since each new entry changes its directory's.
    directories: Vec<(PathBuf, TimeSpec)>,
    buffer: Vec<u8>,
}

impl Unpacker<'_> {
    fn item(&mut self, item: &Item, content: &mut impl Read) -> Result<(), ImageError> {
        self.place(item, content).map_err(|failure| match failure {
            Failure::Refused(problem) => {
                ImageError::Layer { layer: self.layer.to_owned(), entry: item.path.display().to_string(), problem }
            }
            Failure::Io(error) => ImageError::Unpack {
                layer: self.layer.to_owned(),
                source: io::Error::new(error.kind(), format!("{}: {error}", item.path.display())),
            },
        })
    }

    fn place(&mut self, item: &Item, content: &mut impl Read) -> Result<(), Failure> {
        let Some(name) = item.path.file_name() else {
            return self.top(item);
        };
        let parent = item.path.parent().unwrap_or(Path::new(""));
        if let Some(removed) = name.as_bytes().strip_prefix(WHITEOUT) {
            return self.whiteout(parent, name, OsStr::from_bytes(removed));
        }
        match item.kind {
            EntryType::Regular | EntryType::Continuous => self.file(parent, name, item, content),
            EntryType::Directory => self.directory(parent, name, item),
            EntryType::Symlink => self.symlink(parent, name, item),
            EntryType::Link => self.hard_link(parent, name, item),
            EntryType::Fifo => self.fifo(parent, name, item),
            EntryType::Block | EntryType::Char => {
                Err(refused("is a device node; images must not bring devices, the runtime makes those of /dev"))
            }
            EntryType::GNUSparse => Err(refused(SPARSE)),
            other => Err(Failure::Refused(format!("is of unknown type {:?}", char::from(other.as_byte())))),
        }
    }

    /// The layer's own top directory.
    fn top(&mut self, item: &Item) -> Result<(), Failure> {
        if item.kind != EntryType::Directory {
            return Err(refused("names the layer's top, which can only be a directory"));
        }
        let directory = self.root.try_clone()?;
        dress(&directory, item)?;
        self.directories.push((PathBuf::new(), item.modified));
        Ok(())
    }

    fn parent(&mut self, path: &Path) -> Result<&OwnedFd, Failure> {
        if self.parent.as_ref().is_none_or(|(known, _)| known != path) {
            let opened = rooted::open_or_make_directory(&self.root, path, Links::StayBeneath)?;
            let above = path.ancestors().take_while(|above| !above.as_os_str().is_empty());
            self.holders.extend(above.map(Path::to_owned));
            self.parent = Some((path.to_owned(), opened));
        }
        match &self.parent {
            Some((_, opened)) => Ok(opened),
            None => Err(Failure::Io(io::ErrorKind::NotFound.into())),
        }
    }

    /// Makes something, in place of what is there if need be.
    fn make<T>(
        &mut self,
        parent: &Path,
        name: &OsStr,
        mut attempt: impl FnMut(&OwnedFd) -> nix::Result<T>,
    ) -> Result<T, Failure> {
        match attempt(self.parent(parent)?) {
            Err(Errno::EEXIST) => {
                self.remove(parent, name)?;
                Ok(attempt(self.parent(parent)?)?)
            }
            result => Ok(result?),
        }
    }

    /// Removes what an earlier entry made.
    fn remove(&mut self, parent: &Path, name: &OsStr) -> Result<(), Failure> {
        let directory = self.parent(parent)?;
        match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => Ok(()),
            Err(Errno::EISDIR) => {
                let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
                // It opens every directory without following links.
                std::fs::remove_dir_all(path)?;
                self.parent = None;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn file(&mut self, parent: &Path, name: &OsStr, item: &Item, content: &mut impl Read) -> Result<(), Failure> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let private = Mode::S_IRUSR | Mode::S_IWUSR;
        let mut file = File::from(self.make(parent, name, |directory| openat(directory, name, flags, private))?);
        loop {
            let read = match content.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Io(error)),
            };
            file.write_all(&self.buffer[..read])?;
        }
        dress(&file, item)?;
        futimens(&file, &item.modified, &item.modified)?;
        Ok(())
    }

    fn directory(&mut self, parent: &Path, name: &OsStr, item: &Item) -> Result<(), Failure> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut hides = false;
        let directory = self.parent(parent)?;
        match mkdirat(directory, name, Mode::S_IRWXU) {
            Err(Errno::EEXIST) => {
                let there = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
                let kind = SFlag::from_bits_truncate(there.st_mode) & SFlag::S_IFMT;
                if kind != SFlag::S_IFDIR {
                    // Removed and then made again: nothing of the layers below shows through.
                    hides = kind == SFlag::S_IFCHR;
                    self.remove(parent, name)?;
                    mkdirat(self.parent(parent)?, name, Mode::S_IRWXU)?;
                }
            }
            result => result?,
        }
        let opened = File::from(openat(self.parent(parent)?, name, flags, Mode::empty())?);
        dress(&opened, item)?;
        if hides {
            opened.set_xattr(OPAQUE_ATTRIBUTE, b"y")?;
        }
        self.directories.push((item.path.clone(), item.modified));
        Ok(())
    }

    fn symlink(&mut self, parent: &Path, name: &OsStr, item: &Item) -> Result<(), Failure> {
        let target = item.link.as_deref().filter(|link| !link.as_os_str().is_empty());
        let target = target.ok_or_else(|| refused("is a link to nothing"))?;
        self.make(parent, name, |directory| symlinkat(target, directory, name))?;
        let directory = self.parent(parent)?;
        fchownat(directory, name, Some(item.uid), Some(item.gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        utimensat(directory, name, &item.modified, &item.modified, UtimensatFlags::NoFollowSymlink)?;
        Ok(())
    }

    fn hard_link(&mut self, parent: &Path, name: &OsStr, item: &Item) -> Result<(), Failure> {
        let outside = || refused("is a hard link to something outside of the layer");
        let target = item.link.as_deref().map(strip_root).and_then(rooted::relative).ok_or_else(outside)?;
        let target_name = target.file_name().ok_or_else(outside)?.to_owned();
        if target == item.path {
            return Err(refused("is a hard link to itself"));
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let target_parent = target.parent().unwrap_or(Path::new(""));
        let missing = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => refused("is a hard link to something that is not in the layer"),
            _ => error.into(),
        };
        let from = rooted::open(&self.root, target_parent, flags, Links::StayBeneath).map_err(missing)?;
        let made = self.make(parent, name, |directory| {
            linkat(&from, target_name.as_os_str(), directory, name, LinkatFlags::empty())
        });
        made.map_err(|failure| match failure {
            Failure::Io(error) => missing(error),
            refused => refused,
        })
    }

    fn fifo(&mut self, parent: &Path, name: &OsStr, item: &Item) -> Result<(), Failure> {
        self.make(parent, name, |directory| mknodat(directory, name, SFlag::S_IFIFO, Mode::S_IRWXU, 0))?;
        let directory = self.parent(parent)?;
        fchownat(directory, name, Some(item.uid), Some(item.gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        fchmodat(directory, name, item.mode, FchmodatFlags::NoFollowSymlink)?;
        Ok(())
    }

    fn whiteout(&mut self, parent: &Path, name: &OsStr, removed: &OsStr) -> Result<(), Failure> {
        if name.as_bytes() == OPAQUE {
            let directory = File::from(self.parent(parent)?.try_clone()?);
            directory.set_xattr(OPAQUE_ATTRIBUTE, b"y")?;
            return Ok(());
        }
        if removed.as_bytes().starts_with(WHITEOUT) {
            // Bookkeeping of aufs, which has no meaning for others.
            return Ok(());
        }
        if matches!(removed.as_bytes(), b"" | b"." | b"..") {
            return Err(refused("removes an impossible name"));
        }
        let directory = self.parent(parent)?;
        match mknodat(directory, removed, SFlag::S_IFCHR, Mode::empty(), 0) {
            // Removed below and made again in this layer, in either order.
            Err(Errno::EEXIST) => {
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                match openat(directory, removed, flags, Mode::empty()) {
                    Ok(made) => Ok(File::from(made).set_xattr(OPAQUE_ATTRIBUTE, b"y")?),
                    Err(Errno::ENOTDIR | Errno::ELOOP) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
            result => Ok(result?),
        }
    }

    /// Sets the times of directories, the deepest made last and so first. Gives those without an entry of their own.
    fn finish(mut self) -> Result<BTreeSet<PathBuf>, ImageError> {
        for (path, modified) in self.directories.iter().rev() {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
            let set = rooted::open(self.root.as_fd(), path, flags, Links::StayBeneath)
                .and_then(|directory| Ok(futimens(&directory, modified, modified)?));
            match set {
                // Replaced by a later entry.
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::EXDEV)
                    ) => {}
                Err(source) => return Err(ImageError::Unpack { layer: self.layer.to_owned(), source }),
                Ok(()) => {}
            }
        }
        for (path, _) in &self.directories {
            self.holders.remove(path);
        }
        Ok(self.holders)
    }
}

/// Hard link targets are written with or without a leading slash.
fn strip_root(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Owner, mode, attributes: in this order, since a change of owner clears the set-id bits and the
/// capability attribute.
fn dress(file: &File, item: &Item) -> Result<(), Failure> {
    fchown(file, Some(item.uid), Some(item.gid))?;
    fchmod(file, item.mode)?;
    for (name, value) in &item.attributes {
        let bytes = name.as_bytes();
        if bytes.starts_with(b"trusted.") {
            return Err(Failure::Refused(format!(
                "has the attribute {name:?}, which could forge what overlayfs keeps"
            )));
        }
        // Labels of security modules belong to the host that set them.
        if bytes.starts_with(b"user.") || bytes == b"security.capability" || bytes.starts_with(b"system.posix_acl_") {
            CString::new(bytes).map_err(|_| refused("has an attribute with an impossible name"))?;
            file.set_xattr(name, value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
