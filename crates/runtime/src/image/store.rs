//! The store: what is here, getting what is not, removing what nobody needs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use nix::fcntl::Flock;
use parking_lot::Mutex;
use tokio::sync::{RwLock, Semaphore};
use tokio::task::JoinSet;

use super::catalog::{self, CatalogImage};
use super::disk::{
    REFS_VERSION, Refs, Temporary, boot_id, distrust_unflushed, is_durable, make_durable, read_refs, remove_others,
    sweep, take_lock, write_durably,
};
use super::error::ImageError;
use super::manifest::{self, CONFIG_BYTES_MAX, Document, LayerBlob, MANIFEST_BYTES_MAX, Manifest};
use super::pipeline;
use super::progress::{NoProgress, Progress, ProgressEvent};
use super::reference::{Reference, hex_of};
use super::registry::{Credentials, Registries, RegistryConfig, RegistryImage, SharedRegistries};
use super::settings::ImageSettings;
use super::stop::{Stop, Stoppable};
use super::user;
use crate::container::UserIds;

/// Layers unpacked at once unless configured otherwise; each keeps about two CPUs busy.
const PARALLEL_UNPACKS_DEFAULT: usize = 2;

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
    /// Fetch, verify and unpack every layer anew even if it is here (implies pulling).
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

/// What [`ImageStore::collect`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Manifests and configurations.
    pub blobs: usize,
    /// Layers.
    pub layers: usize,
}

/// Images of this node. Clones share the same store.
#[derive(Clone)]
pub struct ImageStore {
    inner: Arc<Inner>,
}

struct Inner {
    config: ImageConfig,
    registries: SharedRegistries,
    refs: Mutex<Refs>,
    /// One pull of a reference, one unpacking of a layer at a time.
    locks: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
    unpacks: Arc<Semaphore>,
    /// Read while pulling, written while collecting.
    collecting: RwLock<()>,
    /// Work that makes layers durable.
    flushing: Mutex<JoinSet<()>>,
    boot: String,
    next: AtomicU64,
    _lock: Flock<File>,
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
        if !wants_pull && let Some(image) = self.stored(&reference)? {
            progress.on(ProgressEvent::Ready { digest: &image.digest });
            return Ok(image);
        }
        if options.policy == PullPolicy::Never {
            return Err(ImageError::NotPresent { reference: name });
        }
        let _not_collecting = self.inner.collecting.read().await;
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

    /// Removes what no reference needs, except the layers in use by containers.
    pub async fn collect(&self, in_use: &BTreeSet<PathBuf>) -> Result<Collected, ImageError> {
        let _no_pulls = self.inner.collecting.write().await;
        let store = self.clone();
        let in_use = in_use.clone();
        let collected = tokio::task::spawn_blocking(move || store.collect_now(&in_use)).await;
        collected.unwrap_or_else(|_ended| Err(ImageError::Cancelled { reference: "(collection)".to_owned() }))
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
        self.inner.write_blob(&digest, source.manifest_bytes())?;
        self.inner.write_blob(&manifest.config.digest, &config_bytes)?;
        self.inner
            .change_refs(|refs| refs.images.insert(reference.to_string(), digest.clone()).as_ref() != Some(&digest))?;
        self.flush_later(&config.diff_ids);
        progress.on(ProgressEvent::Ready { digest: &digest });
        Ok(self.image(reference, digest, config))
    }

    fn image(&self, reference: &Reference, digest: String, config: ImageSettings) -> Image {
        let layers = distinct(&config.diff_ids).into_iter().map(|diff_id| self.inner.layer(diff_id).join("diff"));
        Image { reference: reference.to_string(), digest, layers: layers.collect(), config }
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
        let complete = config.diff_ids.iter().all(|diff_id| self.inner.layer(diff_id).exists());
        Ok(complete.then(|| self.image(reference, digest, config)))
    }

    fn stored_documents(&self, reference: &Reference) -> Result<Option<(String, Manifest, ImageSettings)>, ImageError> {
        let digest = self.inner.refs.lock().images.get(&reference.to_string()).cloned();
        let Some(digest) = digest else { return Ok(None) };
        self.inner.documents(&digest).map(|found| found.map(|(manifest, config)| (digest, manifest, config)))
    }

    /// Makes new layers survive a power cut, without making anybody wait.
    fn flush_later(&self, diff_ids: &[String]) {
        let layers = diff_ids.iter().map(|diff_id| (self.inner.layer(diff_id), self.inner.temporary()));
        let layers: Vec<(PathBuf, PathBuf)> = layers.collect();
        let mut flushing = self.inner.flushing.lock();
        while flushing.try_join_next().is_some() {}
        flushing.spawn_blocking(move || {
            let waiting: Vec<_> = layers.into_iter().filter(|(layer, _)| !is_durable(layer)).collect();
            if let Err(error) = make_durable(&waiting) {
                tracing::warn!(%error, "layers are not on the disk yet; a power cut would cost another pull");
            }
        });
    }

    fn collect_now(&self, in_use: &BTreeSet<PathBuf>) -> Result<Collected, ImageError> {
        let (mut blobs, mut layers) = (BTreeSet::new(), BTreeSet::new());
        let digests: Vec<String> = self.inner.refs.lock().images.values().cloned().collect();
        for digest in digests {
            if let Some((manifest, config)) = self.inner.documents(&digest)? {
                blobs.extend(
                    [digest, manifest.config.digest].iter().filter_map(|digest| hex_of(digest)).map(str::to_owned),
                );
                layers.extend(config.diff_ids.iter().filter_map(|diff_id| hex_of(diff_id)).map(str::to_owned));
            }
        }
        layers.extend(in_use.iter().filter_map(|layer| Some(layer.parent()?.file_name()?.to_str()?.to_owned())));
        let root = &self.inner.config.root;
        let removed_blobs = remove_others(&root.join("blobs/sha256"), &blobs, |path| fs::remove_file(path))?;
        let removed_layers = remove_others(&root.join("layers"), &layers, |path| {
            // Out of the way in one step, so that no half a layer is ever found.
            let away = self.inner.temporary();
            fs::rename(path, &away)?;
            fs::remove_dir_all(away)
        })?;
        Ok(Collected { blobs: removed_blobs, layers: removed_layers })
    }
}

#[derive(Clone)]
struct Layer {
    blob: LayerBlob,
    diff_id: String,
    fresh: bool,
    progress: Arc<dyn Progress>,
    stopped: Arc<AtomicBool>,
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

fn check_config(bytes: &[u8], digest: &str, manifest: &Manifest) -> Result<ImageSettings, ImageError> {
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

/// Each layer once: of equal ones the highest counts, since it hides the lower ones wholly, and
/// overlayfs does not take one twice.
fn distinct(diff_ids: &[String]) -> Vec<&String> {
    let last = |index: usize, diff_id: &&String| !diff_ids[index + 1..].contains(diff_id);
    diff_ids.iter().enumerate().filter(|(index, diff_id)| last(*index, diff_id)).map(|(_, diff_id)| diff_id).collect()
}

impl Inner {
    fn lock(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
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

    /// Digests were checked before they come here.
    fn layer(&self, diff_id: &str) -> PathBuf {
        self.config.root.join("layers").join(hex_of(diff_id).unwrap_or("invalid"))
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.config.root.join("blobs/sha256").join(hex_of(digest).unwrap_or("invalid"))
    }

    fn temporary(&self) -> PathBuf {
        self.config.root.join("tmp").join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Manifest and configuration of a stored digest; `None` if they are not (any more) sound.
    fn documents(&self, digest: &str) -> Result<Option<(Manifest, ImageSettings)>, ImageError> {
        let Some(bytes) = self.read_blob(digest, MANIFEST_BYTES_MAX)? else { return Ok(None) };
        let Document::Manifest(manifest) = manifest::parse(&bytes, digest)? else { return Ok(None) };
        let Some(bytes) = self.read_blob(&manifest.config.digest, CONFIG_BYTES_MAX)? else { return Ok(None) };
        let config = check_config(&bytes, &manifest.config.digest, &manifest)?;
        Ok(Some((manifest, config)))
    }

    fn read_blob(&self, digest: &str, limit: u64) -> Result<Option<Vec<u8>>, ImageError> {
        let path = self.blob(digest);
        match catalog::read_limited(&path, limit) {
            Ok(bytes) if catalog::digest_of(&bytes) == digest => Ok(Some(bytes)),
            // Damaged on the disk: as good as missing, it will be pulled again.
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ImageError::Store { path, source }),
        }
    }

    fn write_blob(&self, digest: &str, bytes: &[u8]) -> Result<(), ImageError> {
        let path = self.blob(digest);
        write_durably(&path, &self.temporary(), bytes).map_err(ImageError::store(path))
    }

    fn change_refs(&self, change: impl FnOnce(&mut Refs) -> bool) -> Result<(), ImageError> {
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

    /// Blocking. Leaves the layer at its place, or nothing.
    fn unpack_layer(&self, reader: impl Read + Send, layer: &Layer) -> Result<(), ImageError> {
        let temporary = Temporary(self.temporary());
        let diff = temporary.0.join("diff");
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(&diff);
        made.and_then(|()| fs::set_permissions(&diff, fs::Permissions::from_mode(0o755)))
            .map_err(ImageError::store(&diff))?;
        let advanced = |bytes| layer.progress.on(ProgressEvent::LayerAdvanced { digest: &layer.blob.digest, bytes });
        pipeline::unpack_verified(reader, &layer.blob, &layer.diff_id, &diff, &advanced)?;
        fs::write(temporary.0.join("mark"), &self.boot).map_err(ImageError::store(&temporary.0))?;
        let target = self.layer(&layer.diff_id);
        match fs::rename(&temporary.0, &target) {
            Ok(()) => Ok(()),
            // Fetched anew though it was here: the content is the same, and containers may use it.
            Err(_exists) if target.exists() => Ok(()),
            Err(source) => Err(ImageError::Store { path: target, source }),
        }
    }
}

/// Ignoring progress, ready to pass.
impl From<NoProgress> for Arc<dyn Progress> {
    fn from(none: NoProgress) -> Self {
        Arc::new(none)
    }
}
