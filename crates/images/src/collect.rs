//! Removing images and layers that nobody needs.
//!
//! ```text
//!  measure ─► (no image is looked up or begun meanwhile: stock ─► plan ─► forget, move away) ─► delete
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::disk::remove_others;
use crate::error::ImageError;
use crate::inner::Inner;
use crate::manifest::Manifest;
use crate::reference::hex_of;
use crate::retention::{CollectPolicy, Disk, Leaving, Stock, StoredImage, StoredLayer, plan};
use crate::settings::ImageSettings;
use crate::store::ImageStore;

/// File beside a layer that tells its size, so that it is measured once.
const SIZE: &str = "bytes";

/// What [`ImageStore::collect`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Images.
    pub images: usize,
    /// Manifests and configurations.
    pub blobs: usize,
    /// Layers.
    pub layers: usize,
    /// Bytes of these layers on the disk.
    pub bytes: u64,
    /// How full the store's file system is then, in percent.
    pub used_percent: u8,
}

/// An image by its digest: its documents, unless they are damaged, and whether a name leads to it.
type Documents = BTreeMap<String, (Option<(Manifest, ImageSettings)>, bool)>;

impl ImageStore {
    /// Whether more than a share of the store's file system is used, in percent.
    pub fn is_fuller_than(&self, percent: u8) -> Result<bool, ImageError> {
        let root = &self.inner.config.root;
        disk(root).map(|disk| disk.is_fuller_than(percent)).map_err(ImageError::store(root))
    }

    /// Removes what the policy lets go: images that no container uses, and what only they needed. `in_use` are the
    /// layer directories of all containers, ended ones included ([`Image::layers`](crate::Image)). Pulls and starts
    /// go on meanwhile; what they need stays.
    pub async fn collect(&self, in_use: &BTreeSet<PathBuf>, policy: &CollectPolicy) -> Result<Collected, ImageError> {
        let in_use =
            in_use.iter().filter_map(|layer| Some(layer.parent()?.file_name()?.to_str()?.to_owned())).collect();
        let policy = *policy;
        self.inner.blocking(Inner::measure_layers).await?;
        let (collected, away) = {
            let _nothing_begins = self.inner.collecting.write().await;
            self.inner.blocking(move |inner| inner.collect_now(in_use, &policy)).await?
        };
        self.inner.blocking(move |_| away.iter().try_for_each(|path| remove_tree(path))).await?;
        Ok(collected)
    }
}

impl Inner {
    async fn blocking<T: Send + 'static>(
        self: &std::sync::Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, ImageError> {
        let inner = std::sync::Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|_ended| Err(ImageError::Cancelled { reference: "(collection)".to_owned() }))
    }

    /// Notes the size of every layer that has none yet.
    fn measure_layers(&self) -> Result<(), ImageError> {
        let layers = self.config.root.join("layers");
        for entry in fs::read_dir(&layers).map_err(ImageError::store(&layers))? {
            let layer = entry.map_err(ImageError::store(&layers))?.path();
            let file = layer.join(SIZE);
            if file.exists() {
                continue;
            }
            let noted = tree_bytes(&layer.join("diff")).and_then(|bytes| fs::write(&file, bytes.to_string()));
            match noted {
                // Removed by another collection.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                noted => noted.map_err(ImageError::store(&file))?,
            }
        }
        Ok(())
    }

    /// Decides, forgets, and moves layers out of the way; gives what is to be deleted.
    fn collect_now(
        &self,
        in_use: BTreeSet<String>,
        policy: &CollectPolicy,
    ) -> Result<(Collected, Vec<PathBuf>), ImageError> {
        let root = &self.config.root;
        let documents = self.all_documents()?;
        let pulling = self.pulling();
        let stock = self.stock(&documents, in_use, pulling.clone())?;
        let disk = disk(root).map_err(ImageError::store(root))?;
        let leaving = plan(&stock, disk, policy, SystemTime::now());
        let mut kept = pulling;
        for (digest, (found, _)) in &documents {
            if let Some((manifest, _)) = found.as_ref().filter(|_| !leaving.images.contains(digest)) {
                kept.extend(
                    [digest, &manifest.config.digest].into_iter().filter_map(|it| hex_of(it)).map(str::to_owned),
                );
            }
        }
        // Names first: after a crash in between, they would lead to what is gone.
        self.change_refs(|refs| {
            let before = refs.images.len();
            refs.images.retain(|_, digest| !leaving.images.contains(digest));
            refs.images.len() != before
        })?;
        let blobs = remove_others(&root.join("blobs/sha256"), &kept, |path| fs::remove_file(path))?;
        let away = leaving.layers.iter().map(|layer| self.move_away(layer)).collect::<Result<Vec<_>, _>>()?;
        let Leaving { images, layers, bytes } = leaving;
        let used_percent = disk.percent_after(bytes);
        Ok((Collected { images: images.len(), blobs, layers: layers.len(), bytes, used_percent }, away))
    }

    /// In one step, so that no half a layer is ever found.
    fn move_away(&self, layer: &str) -> Result<PathBuf, ImageError> {
        let path = self.config.root.join("layers").join(layer);
        let away = self.temporary();
        fs::rename(&path, &away).map_err(ImageError::store(path))?;
        Ok(away)
    }

    /// Every manifest that is here, found by name or among the blobs.
    fn all_documents(&self) -> Result<Documents, ImageError> {
        let mut documents = Documents::new();
        let named: BTreeSet<String> = self.refs.lock().images.values().cloned().collect();
        let blobs = self.config.root.join("blobs/sha256");
        let mut digests = named.clone();
        for entry in fs::read_dir(&blobs).map_err(ImageError::store(&blobs))? {
            let entry = entry.map_err(ImageError::store(&blobs))?;
            digests.insert(format!("sha256:{}", entry.file_name().to_string_lossy()));
        }
        for digest in digests {
            let found = match self.documents(&digest) {
                Err(error @ ImageError::Store { .. }) => return Err(error),
                found => found.ok().flatten(),
            };
            let named = named.contains(&digest);
            // Blobs that are no manifest are configurations.
            if named || found.is_some() {
                documents.insert(digest, (found, named));
            }
        }
        Ok(documents)
    }

    fn stock(
        &self,
        documents: &Documents,
        in_use: BTreeSet<String>,
        pulling: BTreeSet<String>,
    ) -> Result<Stock, ImageError> {
        let mut stock = Stock { in_use, pulling, ..Stock::default() };
        for (digest, (found, named)) in documents {
            if hex_of(digest).is_some_and(|hex| stock.pulling.contains(hex)) {
                // Its layers are being pulled, too; whether it had a name before does not matter.
                continue;
            }
            let layers = found.iter().flat_map(|(_, settings)| self.layer_names(&settings.diff_ids)).collect();
            let mut image = StoredImage {
                digest: digest.clone(),
                // A name of something damaged is of no use; it will be pulled again.
                named: *named && found.is_some(),
                layers,
                last_used: self.last_used(digest),
            };
            if stock.runs(&image) {
                self.mark_used(digest);
                image.last_used = SystemTime::now();
            }
            stock.images.push(image);
        }
        let layers = self.config.root.join("layers");
        for entry in fs::read_dir(&layers).map_err(ImageError::store(&layers))? {
            let entry = entry.map_err(ImageError::store(&layers))?;
            // Without a mark it is nothing that a pull has left lately.
            let made = fs::metadata(entry.path().join("mark")).and_then(|meta| meta.modified());
            let made = made.unwrap_or(SystemTime::UNIX_EPOCH);
            let bytes = fs::read_to_string(entry.path().join(SIZE)).ok().and_then(|text| text.trim().parse().ok());
            let layer = StoredLayer { bytes: bytes.unwrap_or(0), made };
            stock.layers.insert(entry.file_name().to_string_lossy().into_owned(), layer);
        }
        Ok(stock)
    }

    /// When the image was last pulled or a container made from it.
    fn last_used(&self, digest: &str) -> SystemTime {
        let modified = fs::metadata(self.blob(digest)).and_then(|meta| meta.modified());
        modified.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Notes that an image is used now, by the time of its manifest.
    pub(crate) fn mark_used(&self, digest: &str) {
        let marked = File::open(self.blob(digest)).and_then(|blob| blob.set_modified(SystemTime::now()));
        if let Err(error) = marked {
            tracing::warn!(%digest, %error, "the use of an image was not noted; it may be collected early");
        }
    }
}

fn disk(root: &Path) -> io::Result<Disk> {
    let facts = nix::sys::statvfs::statvfs(root)?;
    let block = facts.fragment_size();
    let used = (facts.blocks() - facts.blocks_free()).saturating_mul(block);
    // Blocks reserved for root are neither used nor to be had.
    Ok(Disk { total: used.saturating_add(facts.blocks_available().saturating_mul(block)), used })
}

/// Bytes that a tree takes on the disk; files with several names count once.
fn tree_bytes(path: &Path) -> io::Result<u64> {
    let mut counted = BTreeSet::new();
    let mut bytes = 0;
    let mut waiting = vec![path.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            // Of the entry itself: links are not followed.
            let meta = entry.metadata()?;
            if meta.nlink() < 2 || meta.is_dir() || counted.insert(meta.ino()) {
                bytes += meta.blocks().saturating_mul(512);
            }
            if meta.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    Ok(bytes)
}

fn remove_tree(path: &Path) -> Result<(), ImageError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ImageError::store(path)(error)),
        _ => Ok(()),
    }
}
