//! The store: what is here, getting what is not, removing what nobody needs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use rooted::UserIds;
use tokio::sync::{RwLock, Semaphore};
use tokio::task::JoinSet;

use crate::catalog::{self, CatalogImage};
use crate::disk::{boot_id, distrust_unflushed, is_durable, make_durable, read_refs, sweep, take_lock};
use crate::error::ImageError;
use crate::inner::{ImageConfig, Inner, check_config};
use crate::layers::Layer;
use crate::manifest::{self, CONFIG_BYTES_MAX, Document, Manifest};
use crate::parents;
use crate::progress::{NoProgress, Progress, ProgressEvent};
use crate::reference::{Reference, hex_of};
use crate::registry::{Credentials, Registries, RegistryImage, SharedRegistries};
use crate::settings::ImageSettings;
use crate::stop::{Stop, Stoppable};
use crate::user;

/// Layers unpacked at once unless configured otherwise; each keeps about two CPUs busy.
const PARALLEL_UNPACKS_DEFAULT: usize = 2;

/// When to look whether a tag has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// Only if the store has no such image.
    #[default]
    IfNotPresent,
    /// Each time; layers that are here are used.
    Always,
    /// Not at all.
    Never,
}

/// Details of getting an image.
#[derive(Clone, Debug, Default)]
pub struct EnsureOptions {
    /// When to pull.
    pub policy: PullPolicy,
    /// Fetch, verify and unpack every layer again even if it is here (implies pulling).
    pub no_layer_cache: bool,
    /// Proof for this image's registry, before the configured one.
    pub credentials: Option<Credentials>,
}

/// An image ready to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Full reference it was asked by.
    pub reference: String,
    /// Manifest digest.
    pub digest: String,
    /// Its settings.
    pub config: ImageSettings,
    /// Directories for overlayfs, lowest first.
    pub layers: Vec<PathBuf>,
}

impl Image {
    /// Numeric user: `wanted`, or the image's own when that is `None`. Names are looked up in the
    /// image.
    pub fn user(&self, wanted: Option<&str>) -> Result<UserIds, ImageError> {
        let user = wanted.unwrap_or(&self.config.user);
        user::resolve(user, &self.layers).map_err(|problem| ImageError::User {
            user: user.to_owned(),
            reference: self.reference.clone(),
            problem,
        })
    }
}

/// Images of this node. Clones share the same store.
#[derive(Clone)]
pub struct ImageStore {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for ImageStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageStore").field("root", &self.inner.config.root).finish_non_exhaustive()
    }
}

impl ImageStore {
    /// Opens the store, makes it when missing, removes half-made things of an earlier process.
    pub fn open(config: ImageConfig) -> Result<Self, ImageError> {
        let root = &config.root;
        fs::create_dir_all(root).map_err(ImageError::store(root))?;
        let lock = take_lock(root)?;
        for directory in ["blobs/sha256", "layers", "tmp"] {
            let path = root.join(directory);
            fs::create_dir_all(&path).map_err(ImageError::store(&path))?;
        }
        sweep(&root.join("tmp"))?;
        let boot = boot_id();
        distrust_unflushed(&root.join("layers"), &boot)?;
        let refs = read_refs(&root.join("refs.json"))?;
        let unpacks = if config.parallel_unpacks == 0 { PARALLEL_UNPACKS_DEFAULT } else { config.parallel_unpacks };
        let inner = Inner {
            registries: Arc::new(Registries::new(config.registries.clone())),
            refs: Mutex::new(refs),
            locks: Mutex::new(HashMap::new()),
            unpacks: Arc::new(Semaphore::new(unpacks)),
            collecting: RwLock::new(()),
            pulling: Mutex::new(HashMap::new()),
            flushing: Mutex::new(JoinSet::new()),
            boot,
            next: AtomicU64::new(0),
            _lock: lock,
            config,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The image, pulled if the policy says so.
    pub async fn ensure(
        &self,
        reference: &str,
        policy: PullPolicy,
        progress: Arc<dyn Progress>,
    ) -> Result<Image, ImageError> {
        self.ensure_with(reference, EnsureOptions { policy, ..Default::default() }, progress).await
    }

    /// As [`Self::ensure`], with details.
    pub async fn ensure_with(
        &self,
        reference: &str,
        options: EnsureOptions,
        progress: Arc<dyn Progress>,
    ) -> Result<Image, ImageError> {
        let reference = self.parse(reference)?;
        let name = reference.to_string();
        let lock = self.inner.lock(&format!("ref {name}"));
        let _one_at_a_time = lock.lock().await;
        let wants_pull = options.policy == PullPolicy::Always || options.no_layer_cache;
        if !wants_pull {
            let _not_collecting = self.inner.collecting.read().await;
            if let Some(image) = self.stored(&reference)? {
                self.inner.mark_used(&image.digest);
                // A pinned name that a tag had brought is kept under its own name from now on.
                self.inner.change_refs(|refs| refs.images.insert(name, image.digest.clone()).is_none())?;
                progress.on(ProgressEvent::Ready { digest: &image.digest });
                return Ok(image);
            }
        }
        if options.policy == PullPolicy::Never {
            return Err(ImageError::NotPresent { reference: name });
        }
        self.pull(&reference, &options, progress).await
    }

    /// The image if the store has all of it.
    pub fn get(&self, reference: &str) -> Result<Option<Image>, ImageError> {
        self.stored(&self.parse(reference)?)
    }

    /// Settings of an image, without its layers; see [`ImageStore::inspect`].
    pub async fn settings(&self, reference: &str, policy: PullPolicy) -> Result<ImageSettings, ImageError> {
        self.inspect(reference, policy).await.map(|(_, settings)| settings)
    }

    /// Manifest digest and settings of an image, without its layers. A stored image answers, unless
    /// the policy is `Always`; otherwise its source.
    pub async fn inspect(&self, reference: &str, policy: PullPolicy) -> Result<(String, ImageSettings), ImageError> {
        let reference = self.parse(reference)?;
        if policy != PullPolicy::Always
            && let Some((digest, _, config)) = self.stored_documents(&reference)?
        {
            return Ok((digest, config));
        }
        if policy == PullPolicy::Never {
            return Err(ImageError::NotPresent { reference: reference.to_string() });
        }
        let source = self.find(&reference, None).await?;
        let (digest, manifest) = source.manifest()?;
        self.read_config(&source, &manifest).await.map(|(_, settings)| (digest, settings))
    }

    /// One label of an image; `None` if it has none of that name.
    pub async fn label(&self, reference: &str, name: &str) -> Result<Option<String>, ImageError> {
        let settings = self.settings(reference, PullPolicy::IfNotPresent).await?;
        Ok(settings.labels.get(name).cloned())
    }

    /// References in the store and their manifest digests.
    pub fn list(&self) -> BTreeMap<String, String> {
        self.inner.refs.lock().images.clone()
    }

    /// Forgets a reference; what only it needed goes with the next [`Self::collect`]. Forgetting
    /// what is not there succeeds.
    pub fn forget(&self, reference: &str) -> Result<(), ImageError> {
        let name = self.parse(reference)?.to_string();
        self.inner.change_refs(|refs| refs.images.remove(&name).is_some())
    }

    /// Waits until everything unpacked so far has reached the disk.
    pub async fn flush(&self) {
        let mut flushing = std::mem::take(&mut *self.inner.flushing.lock());
        while flushing.join_next().await.is_some() {}
    }

    fn parse(&self, reference: &str) -> Result<Reference, ImageError> {
        let default = self.inner.config.catalog_registries.first().map_or("docker.io", String::as_str);
        Reference::parse(reference, default)
    }

    async fn pull(
        &self,
        reference: &Reference,
        options: &EnsureOptions,
        progress: Arc<dyn Progress>,
    ) -> Result<Image, ImageError> {
        let source = Arc::new(self.find(reference, options.credentials.as_ref()).await?);
        let (digest, manifest) = source.manifest()?;
        let (config_bytes, config) = self.read_config(&source, &manifest).await?;
        let _stays = {
            let _not_collecting = self.inner.collecting.read().await;
            let own = [&digest, &manifest.config.digest].into_iter().chain(&config.diff_ids);
            self.inner.keep(own.filter_map(|digest| hex_of(digest)).chain([&*parents::name(&config.diff_ids)]))
        };
        progress.on(ProgressEvent::Resolved {
            digest: &digest,
            layers: manifest.layers.len(),
            bytes: manifest.layers.iter().map(|layer| layer.size).sum(),
        });
        // Stops the threads when this future is dropped.
        let stop = Stop::default();
        let mut work = JoinSet::new();
        let mut started = BTreeSet::new();
        for (blob, diff_id) in manifest.layers.iter().zip(&config.diff_ids) {
            if started.insert(diff_id.clone()) {
                let layer = Layer {
                    blob: blob.clone(),
                    diff_id: diff_id.clone(),
                    fresh: options.no_layer_cache,
                    progress: Arc::clone(&progress),
                    stopped: stop.flag(),
                };
                work.spawn(self.clone().ensure_layer(Arc::clone(&source), layer));
            }
        }
        let mut failed = None;
        while let Some(done) = work.join_next().await {
            let done = done.unwrap_or_else(|_ended| Err(ImageError::Cancelled { reference: reference.to_string() }));
            if let Err(error) = done {
                // The others are of no use any more; they are waited for, so that nothing is left.
                stop.now();
                failed.get_or_insert(error);
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let (inner, diff_ids) = (Arc::clone(&self.inner), config.diff_ids.clone());
        let made = tokio::task::spawn_blocking(move || inner.make_parents(&diff_ids)).await;
        made.unwrap_or_else(|_ended| Err(ImageError::Cancelled { reference: reference.to_string() }))?;
        self.inner.write_blob(&digest, source.manifest_bytes())?;
        self.inner.write_blob(&manifest.config.digest, &config_bytes)?;
        self.inner.mark_used(&digest);
        self.inner
            .change_refs(|refs| refs.images.insert(reference.to_string(), digest.clone()).as_ref() != Some(&digest))?;
        self.flush_later(&config.diff_ids);
        progress.on(ProgressEvent::Ready { digest: &digest });
        Ok(self.image(reference, digest, config))
    }

    fn image(&self, reference: &Reference, digest: String, config: ImageSettings) -> Image {
        let mut layers: Vec<PathBuf> = self.inner.layers(&config.diff_ids);
        layers.extend(self.inner.parents(&config.diff_ids).filter(|layer| layer.exists()));
        layers.iter_mut().for_each(|layer| layer.push("diff"));
        Image { reference: reference.to_string(), digest, layers, config }
    }

    async fn find(&self, reference: &Reference, credentials: Option<&Credentials>) -> Result<Source, ImageError> {
        let config = &self.inner.config;
        let in_catalog = config.catalog_registries.iter().any(|name| name == reference.registry());
        let Some(catalog) = config.catalog.as_ref().filter(|_| in_catalog) else {
            let image = self.inner.registries.find(reference, credentials).await?;
            return Ok(Source::Registry(Arc::clone(&self.inner.registries), image));
        };
        match catalog::find(catalog, reference)? {
            Some(image) => Ok(Source::Catalog(image)),
            None => Err(ImageError::NotFound {
                reference: reference.to_string(),
                place: "in the local catalog; build it or correct the name".to_owned(),
            }),
        }
    }

    /// The configuration, checked against the manifest and this machine.
    async fn read_config(&self, source: &Source, manifest: &Manifest) -> Result<(Vec<u8>, ImageSettings), ImageError> {
        let digest = &manifest.config.digest;
        let bytes = match source {
            Source::Catalog(image) => image.read(digest, "image configuration", CONFIG_BYTES_MAX)?,
            Source::Registry(registries, image) => registries.read(image, digest, CONFIG_BYTES_MAX).await?,
        };
        let settings = check_config(&bytes, digest, manifest)?;
        Ok((bytes, settings))
    }

    async fn ensure_layer(self, source: Arc<Source>, layer: Layer) -> Result<(), ImageError> {
        let lock = self.inner.lock(&format!("layer {}", layer.diff_id));
        let _one_at_a_time = lock.lock().await;
        let digest = layer.blob.digest.as_str();
        if !layer.fresh && self.inner.layer(&layer.diff_id).exists() {
            layer.progress.on(ProgressEvent::LayerPresent { digest, bytes: layer.blob.size });
            return Ok(());
        }
        let cancelled = || ImageError::Cancelled { reference: digest.to_owned() };
        let permit = Arc::clone(&self.inner.unpacks).acquire_owned().await.map_err(|_closed| cancelled())?;
        let reader: Box<dyn Read + Send> = match &*source {
            Source::Catalog(image) => Box::new(image.open(digest)?),
            Source::Registry(registries, image) => Box::new(registries.open(image, &layer.blob)),
        };
        let inner = Arc::clone(&self.inner);
        let unpacking = layer.clone();
        let unpacked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let reader = Stoppable { reader, stopped: Arc::clone(&unpacking.stopped) };
            inner.unpack_layer(reader, &unpacking)
        });
        unpacked.await.unwrap_or_else(|_ended| Err(cancelled()))?;
        layer.progress.on(ProgressEvent::LayerDone { digest });
        Ok(())
    }

    fn stored(&self, reference: &Reference) -> Result<Option<Image>, ImageError> {
        let Some((digest, _, config)) = self.stored_documents(reference)? else {
            return Ok(None);
        };
        let own = config.diff_ids.iter().map(|diff_id| self.inner.layer(diff_id));
        let complete = own.chain(self.inner.parents(&config.diff_ids)).all(|layer| layer.exists());
        Ok(complete.then(|| self.image(reference, digest, config)))
    }

    fn stored_documents(&self, reference: &Reference) -> Result<Option<(String, Manifest, ImageSettings)>, ImageError> {
        let Some(digest) = self.inner.refs.lock().digest_of(reference) else { return Ok(None) };
        self.inner.documents(&digest).map(|found| found.map(|(manifest, config)| (digest, manifest, config)))
    }

    /// Makes new layers survive a power cut, without making anybody wait.
    fn flush_later(&self, diff_ids: &[String]) {
        let own = diff_ids.iter().map(|diff_id| self.inner.layer(diff_id)).chain(self.inner.parents(diff_ids));
        let layers: Vec<(PathBuf, PathBuf)> = own.map(|layer| (layer, self.inner.temporary())).collect();
        let mut flushing = self.inner.flushing.lock();
        while flushing.try_join_next().is_some() {}
        flushing.spawn_blocking(move || {
            let waiting: Vec<_> = layers.into_iter().filter(|(layer, _)| !is_durable(layer)).collect();
            if let Err(error) = make_durable(&waiting) {
                tracing::warn!(%error, "layers are not on the disk yet; a power cut would cost another pull");
            }
        });
    }
}

/// Where an image was found.
enum Source {
    Catalog(CatalogImage),
    Registry(SharedRegistries, RegistryImage),
}

impl Source {
    fn manifest_bytes(&self) -> &[u8] {
        match self {
            Self::Catalog(image) => &image.manifest,
            Self::Registry(_, image) => &image.manifest,
        }
    }

    fn manifest(&self) -> Result<(String, Manifest), ImageError> {
        let digest = match self {
            Self::Catalog(image) => &image.digest,
            Self::Registry(_, image) => &image.digest,
        };
        match manifest::parse(self.manifest_bytes(), digest)? {
            Document::Manifest(manifest) => Ok((digest.clone(), manifest)),
            Document::Index(_) => Err(ImageError::Invalid {
                what: "manifest",
                digest: digest.clone(),
                problem: "it is an index inside of an index".to_owned(),
            }),
        }
    }
}

/// Ignoring progress, ready to pass.
impl From<NoProgress> for Arc<dyn Progress> {
    fn from(none: NoProgress) -> Self {
        Arc::new(none)
    }
}
