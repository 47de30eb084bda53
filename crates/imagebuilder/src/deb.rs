//! Reading a `.deb` into the tree, without running anything of it.

#![expect(clippy::disallowed_methods, reason = "apt and dpkg-deb are programs, and are waited for")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;

use sha2::{Digest, Sha256};
use tar::EntryType;

use crate::tool::{collect_stderr, start_error, tail};
use crate::tree::{Kind, Node, Tree, is_below, is_named, retarget};
use crate::{AptConfig, Error};

/// Left out of every image, as placed: documentation, translations, other init systems' business,
/// what only package management needs.
const EXCLUDED: [&str; 24] = [
    "etc/cron.d",
    "etc/cron.daily",
    "etc/cron.weekly",
    "etc/init.d",
    "etc/logcheck",
    "etc/logrotate.d",
    "usr/include",
    "usr/lib/systemd",
    "usr/lib/tmpfiles.d",
    "usr/lib/sysusers.d",
    "usr/share/apport",
    "usr/share/bash-completion",
    "usr/share/bug",
    "usr/share/debconf",
    "usr/share/doc-base",
    "usr/share/groff",
    "usr/share/help",
    "usr/share/info",
    "usr/share/linda",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/menu",
    "usr/share/pixmaps",
];

/// Bytes of files, one after the other, in an unlinked file.
pub(crate) struct Spool {
    file: BufWriter<File>,
    len: u64,
}

impl Spool {
    /// An empty spool in a folder.
    pub(crate) fn new(folder: &Path) -> Result<Self, Error> {
        let file = tempfile::tempfile_in(folder).map_err(Error::write(folder))?;
        Ok(Self { file: BufWriter::with_capacity(1 << 18, file), len: 0 })
    }

    /// Appends everything of a reader.
    pub(crate) fn add(&mut self, mut reader: impl Read) -> std::io::Result<Kind> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0u8; 1 << 16];
        let offset = self.len;
        loop {
            let read = reader.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            self.file.write_all(&buffer[..read])?;
            self.len += read as u64;
        }
        Ok(Kind::File { offset, len: self.len - offset, sha256: hasher.finalize().into() })
    }

    /// Appends copies of earlier ranges, one after the other.
    pub(crate) fn join(&mut self, ranges: &[(u64, u64)]) -> std::io::Result<Kind> {
        self.file.flush()?;
        let mut joined = Vec::new();
        for (offset, len) in ranges {
            let start = joined.len();
            joined.resize(start + usize::try_from(*len).map_err(std::io::Error::other)?, 0);
            self.file.get_ref().read_exact_at(&mut joined[start..], *offset)?;
        }
        self.add(joined.as_slice())
    }

    /// The file, for reading.
    pub(crate) fn into_file(self) -> std::io::Result<File> {
        self.file.into_inner().map_err(std::io::IntoInnerError::into_error)
    }
}

/// Which paths are left out.
pub(crate) struct Filter {
    prefixes: Vec<PathBuf>,
}

impl Filter {
    /// The standard ones and those of a recipe.
    pub(crate) fn new(more: &[String]) -> Self {
        let own = more.iter().map(|path| PathBuf::from(path.trim_start_matches('/')));
        Self { prefixes: EXCLUDED.iter().map(PathBuf::from).chain(own).collect() }
    }

    fn excludes(&self, placed: &Path) -> bool {
        // The licences of what is in the image stay in it; the rest of the documentation does not.
        if placed.starts_with("usr/share/doc") {
            return !is_named(placed, "copyright");
        }
        is_below(placed, &self.prefixes)
    }
}

/// Adds the contents of one package to the tree.
pub(crate) fn unpack(
    tool: &AptConfig,
    archive: &Path,
    filter: &Filter,
    tree: &mut Tree,
    spool: &mut Spool,
) -> Result<(), Error> {
    let package = archive.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut child = Command::new(&tool.dpkg_deb)
        .arg("--fsys-tarfile")
        .arg(archive)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| start_error(&tool.dpkg_deb, "dpkg", source))?;
    let said = collect_stderr(&mut child);
    let stdout = child.stdout.take();
    let merged = match stdout {
        Some(stdout) => merge(&package, stdout, filter, tree, spool),
        None => Ok(()),
    };
    // Closing our end first (above) lets the child end even when merging stopped early.
    let status = child.wait().map_err(|source| Error::Tool { tool: tool.dpkg_deb.clone(), source })?;
    let said = said.and_then(|thread| thread.join().ok()).unwrap_or_default();
    merged?;
    if status.success() {
        return Ok(());
    }
    let doing = format!("reading {package}");
    Err(Error::ToolFailed { tool: tool.dpkg_deb.clone(), doing, said: tail(said.trim()).to_owned() })
}

fn merge(package: &str, stream: impl Read, filter: &Filter, tree: &mut Tree, spool: &mut Spool) -> Result<(), Error> {
    let read_error = |source| Error::ReadPackage { package: package.to_owned(), source };
    let origin: Rc<str> = Rc::from(package.split('_').next().unwrap_or(package));
    let mut archive = tar::Archive::new(stream);
    // Hard links name an earlier entry by the path it was shipped under.
    let mut shipped_files: BTreeMap<PathBuf, Node> = BTreeMap::new();
    for entry in archive.entries().map_err(read_error)? {
        let mut entry = entry.map_err(read_error)?;
        let shipped = entry.path().map_err(read_error)?.into_owned();
        let bad = |problem| Error::BadPackage { package: package.to_owned(), path: shipped.clone(), problem };
        let placed = tree.place(&shipped).ok_or_else(|| bad("which lies outside of the root"))?;
        let header = entry.header().clone();
        let kind = match header.entry_type() {
            EntryType::Directory => Kind::Directory,
            EntryType::Regular | EntryType::Continuous if filter.excludes(&placed) => continue,
            EntryType::Regular | EntryType::Continuous => spool.add(&mut entry).map_err(read_error)?,
            EntryType::Symlink => {
                let target = entry.link_name().map_err(read_error)?.ok_or_else(|| bad("a link to nothing"))?;
                Kind::Symlink(retarget(&shipped, &placed, &target))
            }
            EntryType::Link => {
                let target = entry.link_name().map_err(read_error)?.ok_or_else(|| bad("a link to nothing"))?;
                let target = tree.place(&target).ok_or_else(|| bad("a link out of the root"))?;
                match shipped_files.get(&target) {
                    Some(node) if !filter.excludes(&placed) => tree.add(placed, node.clone())?,
                    Some(_) => {}
                    None if filter.excludes(&target) => {}
                    None => return Err(bad("a hard link to a file that did not come before")),
                }
                continue;
            }
            EntryType::XGlobalHeader => continue,
            _ => return Err(bad("a device, a pipe or another special file, which no image may hold")),
        };
        if filter.excludes(&placed) && !keeps_licences(&placed, &kind) {
            continue;
        }
        let node = Node {
            kind,
            // Set-id bits have no effect under no_new_privs.
            mode: header.mode().map_err(read_error)? & 0o1777,
            uid: header.uid().map_err(read_error)?,
            gid: header.gid().map_err(read_error)?,
            mtime: i64::try_from(header.mtime().map_err(read_error)?).unwrap_or(i64::MAX),
            origin: origin.clone(),
        };
        if matches!(node.kind, Kind::File { .. }) {
            shipped_files.insert(placed.clone(), node.clone());
        }
        tree.add(placed, node)?;
    }
    Ok(())
}

/// The folders of the licences stay with them.
fn keeps_licences(placed: &Path, kind: &Kind) -> bool {
    let depth = placed.strip_prefix("usr/share/doc").map(|rest| rest.components().count());
    *kind == Kind::Directory && depth.is_ok_and(|depth| depth <= 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, data) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o4755);
            header.set_mtime(7);
            header.set_uid(0);
            header.set_gid(0);
            if matches!(kind, EntryType::Symlink | EntryType::Link) {
                header.set_size(0);
                builder.append_link(&mut header, path, data).unwrap();
            } else {
                header.set_size(data.len() as u64);
                builder.append_data(&mut header, path, data.as_bytes()).unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    fn merged(entries: &[(&str, EntryType, &str)]) -> Result<Tree, Error> {
        let folder = tempfile::tempdir().unwrap();
        let (mut tree, mut spool) = (Tree::default(), Spool::new(folder.path()).unwrap());
        let bytes = archive(entries);
        merge("a_1_all.deb", bytes.as_slice(), &Filter::new(&["/opt/big".to_owned()]), &mut tree, &mut spool)?;
        Ok(tree)
    }

    #[test]
    fn takes_files_links_and_hard_links_and_drops_documentation() {
        let tree = merged(&[
            ("bin/", EntryType::Directory, ""),
            ("bin/a", EntryType::Regular, "A"),
            ("bin/b", EntryType::Link, "bin/a"),
            ("sbin/c", EntryType::Symlink, "../bin/a"),
            ("usr/share/doc/a/", EntryType::Directory, ""),
            ("usr/share/doc/a/copyright", EntryType::Regular, "free"),
            ("usr/share/doc/a/changelog.gz", EntryType::Regular, "x"),
            ("usr/share/man/man1/a.1", EntryType::Regular, "x"),
            ("opt/big/x", EntryType::Regular, "x"),
        ])
        .unwrap();
        let paths: Vec<_> = tree.nodes().map(|(path, _)| path.to_string_lossy().into_owned()).collect();
        assert_eq!(
            paths,
            ["usr/bin", "usr/bin/a", "usr/bin/b", "usr/sbin/c", "usr/share/doc/a", "usr/share/doc/a/copyright"]
        );
        assert_eq!(tree.get(Path::new("usr/bin/a")), tree.get(Path::new("usr/bin/b")));
        assert_eq!(tree.get(Path::new("usr/bin/a")).unwrap().mode, 0o755, "no set-id bits");
        assert_eq!(tree.get(Path::new("usr/sbin/c")).unwrap().kind, Kind::Symlink("/bin/a".into()));
    }

    #[test]
    fn refuses_special_files_and_dangling_hard_links() {
        for (entries, problem) in [
            (vec![("dev/x", EntryType::Char, "")], "special file"),
            (vec![("p", EntryType::Fifo, "")], "special file"),
            (vec![("b", EntryType::Link, "a")], "hard link"),
        ] {
            let error = merged(&entries).unwrap_err();
            assert!(matches!(error, Error::BadPackage { problem: found, .. } if found.contains(problem)));
        }
    }
}
