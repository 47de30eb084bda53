//! Directories that a layer holds without an entry of their own.
//!
//! A layer may bring `tmp/f` and say nothing of `tmp`. What it means is the directory of the layers below it, with its
//! mode, owner and attributes; but overlayfs shows those of the highest layer that has the directory at all, which here
//! was made only to hold the file. The same layer can lie on different ones below, so it cannot be given the right ones.
//! Instead an image with such layers gets one more on top: nothing but those directories, as the layers below have them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use xattr::FileExt;

/// File beside a layer that lists them, each ended by NUL.
const IMPLIED: &str = "implied";
/// What overlayfs takes for a directory that hides those below it.
const OPAQUE_ATTRIBUTE: &str = "trusted.overlay.opaque";

/// Notes them for a layer; nothing when there are none.
pub(crate) fn note(layer: &Path, implied: &BTreeSet<PathBuf>) -> io::Result<()> {
    if implied.is_empty() {
        return Ok(());
    }
    let bytes: Vec<u8> =
        implied.iter().flat_map(|path| path.as_os_str().as_bytes().iter().copied().chain([0])).collect();
    fs::write(layer.join(IMPLIED), bytes)
}

/// Whether an image of these layers, lowest first, needs one more.
pub(crate) fn needed(layers: &[PathBuf]) -> bool {
    layers.iter().skip(1).any(|layer| layer.join(IMPLIED).exists())
}

/// Name of the additional layer of an image, by the digests of its own.
pub(crate) fn name(diff_ids: &[String]) -> String {
    let mut hasher = Sha256::new();
    hasher.update("directories that layers only imply\n");
    for diff_id in diff_ids {
        hasher.update(diff_id);
        hasher.update("\n");
    }
    hex::encode(hasher.finalize())
}

/// Makes the directories in `target`, an empty directory, as the layers (lowest first) mean them.
pub(crate) fn make(layers: &[PathBuf], target: &Path) -> io::Result<()> {
    let stack = Stack::read(layers)?;
    let implied: BTreeSet<&PathBuf> = stack.0.iter().flat_map(|layer| &layer.implied).collect();
    for path in implied {
        if let Some(source) = stack.shadowed(path)? {
            make_with_parents(&stack, target, path)?;
            dress(&target.join(path), &source)?;
        }
    }
    Ok(())
}

/// Makes a directory and those above it, which have to be as they are meant, too.
fn make_with_parents(stack: &Stack, target: &Path, path: &Path) -> io::Result<()> {
    let mut above: Vec<&Path> = path.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
    above.reverse();
    for path in above {
        let made = target.join(path);
        if made.exists() {
            continue;
        }
        fs::create_dir(&made)?;
        fs::set_permissions(&made, fs::Permissions::from_mode(0o755))?;
        if let Some(source) = stack.meant(path)? {
            dress(&made, &source)?;
        }
    }
    Ok(())
}

/// Owner, mode, attributes as the source has them.
fn dress(made: &Path, source: &Path) -> io::Result<()> {
    let (from, to) = (File::open(source)?, File::open(made)?);
    let meta = from.metadata()?;
    std::os::unix::fs::fchown(&to, Some(meta.uid()), Some(meta.gid()))?;
    to.set_permissions(fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    for name in from.list_xattr()? {
        // Those of overlayfs speak of the layer they are in.
        if let Some(value) = from.get_xattr(&name)?.filter(|_| !name.as_bytes().starts_with(b"trusted.")) {
            to.set_xattr(&name, &value)?;
        }
    }
    Ok(())
}

struct Layer {
    diff: PathBuf,
    implied: BTreeSet<PathBuf>,
}

/// Layers, lowest first.
struct Stack(Vec<Layer>);

/// What a layer says of a directory.
enum Word {
    /// Nothing.
    Silent,
    /// It is no directory from here on down, or the layer's own hides all those below.
    Hides,
    /// It has one, and means it.
    Has(PathBuf),
    /// It only holds something in it.
    Holds,
}

impl Stack {
    fn read(layers: &[PathBuf]) -> io::Result<Self> {
        let read = |layer: &PathBuf| {
            let bytes = match fs::read(layer.join(IMPLIED)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                bytes => bytes?,
            };
            let paths = bytes.split(|byte| *byte == 0).filter(|path| !path.is_empty());
            let implied = paths.map(|path| PathBuf::from(OsString::from_vec(path.to_vec()))).collect();
            Ok(Layer { diff: layer.join("diff"), implied })
        };
        layers.iter().map(read).collect::<io::Result<_>>().map(Self)
    }

    /// The directory that a path means; `None` if no layer has one.
    fn meant(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        for layer in self.0.iter().rev() {
            match layer.word(path)? {
                Word::Silent | Word::Holds => {}
                Word::Hides => return Ok(None),
                Word::Has(source) => return Ok(Some(source)),
            }
        }
        Ok(None)
    }

    /// The same, if a layer that only holds something in it covers it.
    fn shadowed(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        for layer in self.0.iter().rev() {
            match layer.word(path)? {
                Word::Silent => {}
                Word::Holds => return self.meant(path),
                Word::Hides | Word::Has(_) => return Ok(None),
            }
        }
        Ok(None)
    }
}

impl Layer {
    /// Component by component, so that no link is followed.
    fn word(&self, path: &Path) -> io::Result<Word> {
        let mut place = self.diff.clone();
        let mut hides = false;
        for component in path.components() {
            place.push(component);
            let meta = match fs::symlink_metadata(&place) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(if hides { Word::Hides } else { Word::Silent });
                }
                meta => meta?,
            };
            if !meta.is_dir() {
                return Ok(Word::Hides);
            }
            hides |= is_opaque(&place)?;
        }
        Ok(match (self.implied.contains(path), hides) {
            (false, _) => Word::Has(place),
            (true, true) => Word::Hides,
            (true, false) => Word::Holds,
        })
    }
}

fn is_opaque(directory: &Path) -> io::Result<bool> {
    Ok(xattr::get(directory, OPAQUE_ATTRIBUTE)?.as_deref() == Some(b"y"))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> io::Result<Self> {
            // A real filesystem: memory may lack the attributes.
            Ok(Self(tempfile::Builder::new().prefix("nct-parents").tempdir_in("/var/tmp")?))
        }

        /// A layer of directories with their mode, of which some are only implied.
        fn layer(&self, name: &str, directories: &[(&str, u32)], implied: &[&str]) -> Result<PathBuf> {
            let layer = self.0.path().join(name);
            for (path, mode) in directories {
                fs::create_dir_all(layer.join("diff").join(path))?;
                fs::set_permissions(layer.join("diff").join(path), fs::Permissions::from_mode(*mode))?;
            }
            note(&layer, &implied.iter().map(PathBuf::from).collect())?;
            Ok(layer)
        }

        fn made(&self, layers: &[PathBuf]) -> Result<Vec<(String, u32)>> {
            let target = self.0.path().join("target");
            fs::create_dir(&target)?;
            make(layers, &target)?;
            let mut found = Vec::new();
            let mut waiting = vec![target.clone()];
            while let Some(directory) = waiting.pop() {
                for entry in fs::read_dir(directory)? {
                    let entry = entry?;
                    let path = entry.path().strip_prefix(&target)?.display().to_string();
                    found.push((path, entry.metadata()?.mode() & 0o7777));
                    waiting.push(entry.path());
                }
            }
            found.sort();
            Ok(found)
        }
    }

    fn pairs(list: &[(&str, u32)]) -> Vec<(String, u32)> {
        list.iter().map(|(path, mode)| ((*path).to_owned(), *mode)).collect()
    }

    #[test]
    fn directories_are_as_the_nearest_layer_below_means_them() -> Result {
        let place = Place::new()?;
        let layers = [
            place.layer("0", &[("tmp", 0o1777), ("data", 0o700), ("data/db", 0o2770), ("own", 0o700)], &[])?,
            place.layer("1", &[("data", 0o711), ("data/db", 0o755)], &["data/db"])?,
            place.layer(
                "2",
                &[("tmp", 0o755), ("data", 0o755), ("data/db", 0o755), ("new", 0o755)],
                &["tmp", "data", "data/db", "new"],
            )?,
            place.layer("3", &[("own", 0o750)], &[])?,
        ];
        assert!(needed(&layers) && !needed(&layers[..1]));
        xattr::set(layers[0].join("diff/data/db"), "user.kept", b"1")?;
        std::os::unix::fs::chown(layers[0].join("diff/data/db"), Some(1500), Some(1777))?;
        fs::set_permissions(layers[0].join("diff/data/db"), fs::Permissions::from_mode(0o2770))?;
        assert_eq!(place.made(&layers)?, pairs(&[("data", 0o711), ("data/db", 0o2770), ("tmp", 0o1777)]));
        let made = place.0.path().join("target/data/db");
        assert_eq!((fs::metadata(&made)?.uid(), fs::metadata(&made)?.gid()), (1500, 1777));
        assert_eq!(xattr::get(&made, "user.kept")?.as_deref(), Some(&b"1"[..]));
        Ok(())
    }

    #[test]
    fn what_was_removed_hidden_or_replaced_in_between_does_not_shine_through() -> Result {
        let place = Place::new()?;
        let all = ["gone", "opaque", "below/opaque", "link", "file"];
        let lowest: Vec<_> = all.iter().map(|path| (*path, 0o700)).collect();
        let layers = [
            place.layer("0", &lowest, &[])?,
            place.layer("1", &[("opaque", 0o711), ("below", 0o711)], &["opaque"])?,
            place.layer(
                "2",
                &all.map(|path| (path, 0o755)),
                &["gone", "opaque", "below", "below/opaque", "link", "file"],
            )?,
        ];
        let diff = layers[1].join("diff");
        nix::sys::stat::mknod(&diff.join("gone"), nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::empty(), 0)?;
        for path in ["opaque", "below"] {
            xattr::set(diff.join(path), OPAQUE_ATTRIBUTE, b"y")?;
        }
        std::os::unix::fs::symlink("opaque", diff.join("link"))?;
        fs::write(diff.join("file"), "")?;
        assert_eq!(place.made(&layers)?, pairs(&[("below", 0o711)]), "of what hides, its own directory counts");
        Ok(())
    }
}
