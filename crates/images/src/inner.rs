//! What the store, its pulls and its collection share: files by digest, references, locks.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use nix::fcntl::Flock;
use parking_lot::Mutex;
use tokio::sync::{RwLock, Semaphore};
use tokio::task::JoinSet;

use crate::catalog;
use crate::disk::{REFS_VERSION, Refs, write_durably};
use crate::error::ImageError;
use crate::manifest::{self, CONFIG_BYTES_MAX, Document, MANIFEST_BYTES_MAX, Manifest};
use crate::reference::hex_of;
use crate::registry::{RegistryConfig, SharedRegistries};
use crate::settings::ImageSettings;

/// Where images are kept and come from.
#[derive(Clone, Debug)]
pub struct ImageConfig {
    /// Directory of the store; made when missing. One process at a time has it open.
    pub root: PathBuf,
    /// The local catalog of OCI image layouts, if any.
    pub catalog: Option<PathBuf>,
    /// Registry names the catalog answers for; the first one is the registry of short names.
    pub catalog_registries: Vec<String>,
    /// How other registries are reached.
    pub registries: RegistryConfig,
    /// Layers unpacked at once; 0 is the default of 2.
    pub parallel_unpacks: usize,
}

/// The store's configuration, files and locks.
pub(crate) struct Inner {
    pub(crate) config: ImageConfig,
    pub(crate) registries: SharedRegistries,
    pub(crate) refs: Mutex<Refs>,
    /// One pull of a reference, one unpacking of a layer at a time.
    pub(crate) locks: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
    pub(crate) unpacks: Arc<Semaphore>,
    /// Read while an image is looked up or its pull begins, written while it is decided what goes.
    pub(crate) collecting: RwLock<()>,
    /// Blobs and layers that pulls under way need, by their digests' hexadecimal part, with how many need them.
    pub(crate) pulling: Mutex<HashMap<String, usize>>,
    /// Work that makes layers durable.
    pub(crate) flushing: Mutex<JoinSet<()>>,
    pub(crate) boot: String,
    pub(crate) next: AtomicU64,
    pub(crate) _lock: Flock<File>,
}

/// Blobs and layers that a pull needs; see [`Inner::keep`].
pub(crate) struct Kept {
    inner: Arc<Inner>,
    names: Vec<String>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut pulling = self.inner.pulling.lock();
        for name in &self.names {
            if let Some(users) = pulling.get_mut(name) {
                *users -= 1;
            }
        }
        pulling.retain(|_, users| *users > 0);
    }
}

pub(crate) fn check_config(bytes: &[u8], digest: &str, manifest: &Manifest) -> Result<ImageSettings, ImageError> {
    let invalid =
        |problem: String| ImageError::Invalid { what: "image configuration", digest: digest.to_owned(), problem };
    let settings = ImageSettings::parse(bytes).map_err(|error| invalid(error.to_string()))?;
    if settings.diff_ids.len() != manifest.layers.len() {
        let problem = format!("it names {} layers, the manifest {}", settings.diff_ids.len(), manifest.layers.len());
        return Err(invalid(problem));
    }
    if let Some(bad) = settings.diff_ids.iter().find(|diff_id| hex_of(diff_id).is_none()) {
        return Err(invalid(format!("diff_id {bad:?} is not SHA-256")));
    }
    let other_os = !matches!(settings.os.as_str(), "" | "linux");
    if other_os || !matches!(settings.architecture.as_str(), "" | manifest::ARCHITECTURE) {
        let problem = format!(
            "it is for {}/{}, this machine is linux/{}",
            settings.os,
            settings.architecture,
            manifest::ARCHITECTURE
        );
        return Err(invalid(problem));
    }
    Ok(settings)
}

impl Inner {
    pub(crate) fn lock(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock();
        locks.retain(|_, lock| lock.strong_count() > 0);
        match locks.get(name).and_then(Weak::upgrade) {
            Some(lock) => lock,
            None => {
                let lock = Arc::new(tokio::sync::Mutex::new(()));
                locks.insert(name.to_owned(), Arc::downgrade(&lock));
                lock
            }
        }
    }

    /// Keeps blobs and layers of these names from being collected until the guard is dropped.
    pub(crate) fn keep<'a>(self: &Arc<Self>, names: impl Iterator<Item = &'a str>) -> Kept {
        let names: Vec<String> = names.map(str::to_owned).collect();
        let mut pulling = self.pulling.lock();
        for name in &names {
            *pulling.entry(name.clone()).or_default() += 1;
        }
        Kept { inner: Arc::clone(self), names }
    }

    /// What pulls under way need.
    pub(crate) fn pulling(&self) -> BTreeSet<String> {
        self.pulling.lock().keys().cloned().collect()
    }

    /// Digests were checked before they come here.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        self.config.root.join("blobs/sha256").join(hex_of(digest).unwrap_or("invalid"))
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.config.root.join("tmp").join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Manifest and configuration of a stored digest; `None` if they are not (any more) sound.
    pub(crate) fn documents(&self, digest: &str) -> Result<Option<(Manifest, ImageSettings)>, ImageError> {
        let Some(bytes) = self.read_blob(digest, MANIFEST_BYTES_MAX)? else { return Ok(None) };
        let Document::Manifest(manifest) = manifest::parse(&bytes, digest)? else { return Ok(None) };
        let Some(bytes) = self.read_blob(&manifest.config.digest, CONFIG_BYTES_MAX)? else { return Ok(None) };
        let config = check_config(&bytes, &manifest.config.digest, &manifest)?;
        Ok(Some((manifest, config)))
    }

    pub(crate) fn read_blob(&self, digest: &str, limit: u64) -> Result<Option<Vec<u8>>, ImageError> {
        let path = self.blob(digest);
        match catalog::read_limited(&path, limit) {
            Ok(bytes) if catalog::digest_of(&bytes) == digest => Ok(Some(bytes)),
            // Damaged on the disk: as good as missing, it will be pulled again.
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ImageError::Store { path, source }),
        }
    }

    pub(crate) fn write_blob(&self, digest: &str, bytes: &[u8]) -> Result<(), ImageError> {
        let path = self.blob(digest);
        write_durably(&path, &self.temporary(), bytes).map_err(ImageError::store(path))
    }

    pub(crate) fn change_refs(&self, change: impl FnOnce(&mut Refs) -> bool) -> Result<(), ImageError> {
        let mut refs = self.refs.lock();
        let mut next = refs.clone();
        next.version = REFS_VERSION;
        if !change(&mut next) {
            return Ok(());
        }
        let path = self.config.root.join("refs.json");
        let text = serde_json::to_vec_pretty(&next).map_err(io::Error::from).map_err(ImageError::store(&path))?;
        write_durably(&path, &self.temporary(), &text).map_err(ImageError::store(path))?;
        *refs = next;
        Ok(())
    }
}
