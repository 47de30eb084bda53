//! Writing a tree as a layer: equal trees give equal bytes.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::{Compression, GzBuilder, read::GzDecoder};
use tar::{EntryType, Header};

use crate::hash::Tee;
use crate::tree::{Below, Kind, Node, Tree};

/// Compression level. It is part of the format, because another level gives other bytes.
const GZIP_LEVEL: u32 = 4;
/// `OS` byte of the gzip header (RFC 1952): unknown, regardless of the host.
const GZIP_OS_UNKNOWN: u8 = 255;
/// Bytes between two progress reports.
const REPORT_EVERY: u64 = 1 << 20;

/// A written layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Digest of the compressed bytes.
    pub(crate) digest: String,
    /// Digest of the tar archive.
    pub(crate) diff_id: String,
    /// Number of compressed bytes.
    pub(crate) size: u64,
}

/// Writes the tree; file contents come from the spool.
pub(crate) fn write(
    tree: &Tree,
    spool: &mut File,
    out: &mut File,
    mut report: impl FnMut(u64, u64),
) -> io::Result<Layer> {
    let total: u64 = tree.nodes().map(|(_, node)| len(node)).sum();
    let compressed = Tee::new(BufWriter::with_capacity(1 << 18, out));
    let gzip =
        GzBuilder::new().mtime(0).operating_system(GZIP_OS_UNKNOWN).write(compressed, Compression::new(GZIP_LEVEL));
    let mut builder = tar::Builder::new(Tee::new(BufWriter::with_capacity(1 << 18, gzip)));
    let (mut done, mut reported) = (0, 0);
    for (path, node) in tree.nodes() {
        append(&mut builder, spool, path, node)?;
        done += len(node);
        if done - reported >= REPORT_EVERY {
            report(done, total);
            reported = done;
        }
    }
    report(total, total);
    let (buffered, diff_id, _) = builder.into_inner()?.finish();
    let gzip = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
    let (mut out, digest, size) = gzip.finish()?.finish();
    out.flush()?;
    Ok(Layer { digest, diff_id, size })
}

fn len(node: &Node) -> u64 {
    match node.kind {
        Kind::File { len, .. } => len,
        Kind::Directory | Kind::Symlink(_) => 0,
    }
}

fn append<W: Write>(builder: &mut tar::Builder<W>, spool: &mut File, path: &Path, node: &Node) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(node.mode);
    header.set_uid(node.uid);
    header.set_gid(node.gid);
    header.set_mtime(node.mtime.unsigned_abs());
    header.set_size(len(node));
    match &node.kind {
        Kind::Directory => {
            header.set_entry_type(EntryType::Directory);
            let mut with_slash = path.as_os_str().to_owned();
            with_slash.push("/");
            builder.append_data(&mut header, PathBuf::from(with_slash), io::empty())
        }
        Kind::Symlink(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            builder.append_link(&mut header, path, target)
        }
        Kind::File { offset, len, .. } => {
            header.set_entry_type(EntryType::Regular);
            spool.seek(SeekFrom::Start(*offset))?;
            builder.append_data(&mut header, path, spool.take(*len))
        }
    }
}

/// The directories and links of a layer of the base, added to what is known of lower ones.
pub(crate) fn scan(layer: &File, below: &mut Below) -> io::Result<()> {
    let origin: Rc<str> = Rc::from("base");
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(layer)));
    for entry in archive.entries()? {
        let entry = entry?;
        let header = entry.header();
        let path: PathBuf = entry.path()?.components().collect();
        match header.entry_type() {
            EntryType::Directory => {
                let node = Node {
                    kind: Kind::Directory,
                    mode: header.mode()?,
                    uid: header.uid()?,
                    gid: header.gid()?,
                    mtime: i64::try_from(header.mtime()?).unwrap_or(i64::MAX),
                    origin: origin.clone(),
                };
                below.directories.insert(path, node);
            }
            EntryType::Symlink => {
                if let Some(target) = entry.link_name()? {
                    below.links.insert(path, target.into_owned());
                }
            }
            _ => {}
        }
    }
    Ok(())
}
