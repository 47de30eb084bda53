//! The store's files: locks, atomic writes, what survives a power cut.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::error::ImageError;
use crate::reference::Reference;

/// Mark of a layer that has reached the disk.
const DURABLE: &str = "durable";

/// `refs.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Refs {
    pub(crate) version: u32,
    pub(crate) images: BTreeMap<String, String>,
}

impl Refs {
    /// The digest a reference is known by: its own, or, when it is pinned, that of any tag of the same repository.
    pub(crate) fn digest_of(&self, reference: &Reference) -> Option<String> {
        if let Some(digest) = self.images.get(&reference.to_string()) {
            return Some(digest.clone());
        }
        let pinned = reference.digest()?;
        let repository = format!("{}/{}", reference.registry(), reference.repository());
        let of_it = |name: &str| name.strip_prefix(&repository).is_some_and(|rest| rest.starts_with([':', '@']));
        let known = self.images.iter().any(|(name, digest)| digest == pinned && of_it(name));
        known.then(|| pinned.to_owned())
    }
}

/// Version of `refs.json`.
pub(crate) const REFS_VERSION: u32 = 1;

/// A directory that goes unless it was renamed.
pub(crate) struct Temporary(pub(super) PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.0.display(), %error, "left until the store is opened again");
            }
            _ => {}
        }
    }
}

pub(crate) fn take_lock(root: &Path) -> Result<Flock<File>, ImageError> {
    let path = root.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(ImageError::store(&path))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, nix::Error::EWOULDBLOCK)) => Err(ImageError::Busy { path: root.to_owned() }),
        Err((_, error)) => Err(ImageError::Store { path, source: error.into() }),
    }
}

pub(crate) fn sweep(directory: &Path) -> Result<(), ImageError> {
    let removed = remove_others(directory, &BTreeSet::new(), |path| match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    })?;
    if removed > 0 {
        tracing::info!(removed, "half-made files of an earlier run were removed");
    }
    Ok(())
}

pub(crate) fn remove_others(
    directory: &Path,
    kept: &BTreeSet<String>,
    remove: impl Fn(&Path) -> io::Result<()>,
) -> Result<usize, ImageError> {
    let mut removed = 0;
    for entry in fs::read_dir(directory).map_err(ImageError::store(directory))? {
        let entry = entry.map_err(ImageError::store(directory))?;
        if !kept.contains(&*entry.file_name().to_string_lossy()) {
            remove(&entry.path()).map_err(ImageError::store(entry.path()))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Identity of this run of the kernel: what was written in an earlier one and not flushed may be lost.
pub(crate) fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    text.map_or_else(|_unknown| "unknown boot".to_owned(), |text| text.trim().to_owned())
}

pub(crate) fn distrust_unflushed(layers: &Path, boot: &str) -> Result<(), ImageError> {
    for entry in fs::read_dir(layers).map_err(ImageError::store(layers))? {
        let path = entry.map_err(ImageError::store(layers))?.path();
        let mark = fs::read_to_string(path.join("mark")).unwrap_or_default();
        if mark != DURABLE && mark != boot {
            tracing::info!(layer = %path.display(), "may be torn by a power cut; it will be unpacked again");
            fs::remove_dir_all(&path).map_err(ImageError::store(&path))?;
        }
    }
    Ok(())
}

pub(crate) fn is_durable(layer: &Path) -> bool {
    fs::read_to_string(layer.join("mark")).is_ok_and(|mark| mark == DURABLE)
}

/// Layers, each with a name of its own for its mark to be written under: two pulls may share a layer.
pub(crate) fn make_durable(layers: &[(PathBuf, PathBuf)]) -> io::Result<()> {
    let Some((first, _)) = layers.first() else { return Ok(()) };
    let filesystem = File::open(first)?;
    nix::unistd::syncfs(filesystem)?;
    layers.iter().try_for_each(|(layer, next)| write_durably(&layer.join("mark"), next, DURABLE.as_bytes()))
}

pub(crate) fn read_refs(path: &Path) -> Result<Refs, ImageError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Refs::default()),
        Err(source) => return Err(ImageError::Store { path: path.to_owned(), source }),
    };
    let refs: Refs = serde_json::from_slice(&bytes).map_err(io::Error::from).map_err(ImageError::store(path))?;
    if refs.version > REFS_VERSION {
        let source = io::Error::other(format!("version {} was written by a newer nanocloud", refs.version));
        return Err(ImageError::Store { path: path.to_owned(), source });
    }
    Ok(refs)
}

/// Whole or not at all, also after a power cut.
pub(crate) fn write_durably(path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_pinned_name_is_known_by_any_tag_of_its_repository() {
        let (one, two) = (format!("sha256:{}", "1".repeat(64)), format!("sha256:{}", "2".repeat(64)));
        let images = BTreeMap::from([("r.example/team/app:latest".to_owned(), one.clone())]);
        let refs = Refs { version: REFS_VERSION, images };
        let known = |name: &str| refs.digest_of(&Reference::parse(name, "r.example").unwrap());
        assert_eq!(known("r.example/team/app"), Some(one.clone()));
        assert_eq!(known(&format!("r.example/team/app@{one}")), Some(one.clone()));
        assert_eq!(known(&format!("r.example/team/app:old@{one}")), Some(one.clone()));
        // Of another repository, or with other contents, it has to be fetched.
        assert_eq!(known(&format!("r.example/team/app@{two}")), None);
        assert_eq!(known(&format!("r.example/team/application@{one}")), None);
        assert_eq!(known(&format!("other.example/team/app@{one}")), None);
    }

    #[test]
    fn pulls_at_once_make_a_shared_layer_durable() {
        let folder = tempfile::tempdir().unwrap();
        let layer = folder.path().join("layer");
        fs::create_dir(&layer).unwrap();
        let names = AtomicUsize::new(0);
        let shared = || (layer.clone(), folder.path().join(names.fetch_add(1, Ordering::Relaxed).to_string()));
        std::thread::scope(|scope| {
            let pull = || (0..25).try_for_each(|_| make_durable(&[shared()]));
            let pulls: Vec<_> = (0..4).map(|_| scope.spawn(pull)).collect();
            pulls.into_iter().for_each(|pull| pull.join().unwrap().unwrap());
        });
        assert!(is_durable(&layer));
    }
}
