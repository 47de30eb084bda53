//! Getting images from catalogs and registries, sound and broken.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use images::{
    CollectPolicy, Credentials, EnsureOptions, Image, ImageConfig, ImageError, ImageStore, NoProgress, Progress,
    ProgressEvent, PullPolicy, RegistryConfig,
};
use rooted::UserIds;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Result;
use crate::registry::{Door, Registry};

const REGISTRY: &str = "registry.example.test";

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

#[derive(Clone, Copy)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

fn pack(tar: &[u8], packing: Packing) -> Result<(Vec<u8>, &'static str)> {
    Ok(match packing {
        Packing::Plain => (tar.to_vec(), "application/vnd.oci.image.layer.v1.tar"),
        Packing::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(tar)?;
            (encoder.finish()?, "application/vnd.docker.image.rootfs.diff.tar.gzip")
        }
        Packing::Zstd => (zstd::encode_all(tar, 1)?, "application/vnd.oci.image.layer.v1.tar+zstd"),
    })
}

fn tar_of(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        // No owner is written, as some tools do: that is root.
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, *content)?;
    }
    Ok(builder.into_inner()?)
}

/// An image in memory: blobs by digest, and its manifest.
struct Made {
    blobs: Vec<(String, Vec<u8>)>,
    manifest: Value,
}

fn image(layers: &[(Vec<u8>, Packing)], config: Value) -> Result<Made> {
    let mut blobs = Vec::new();
    let mut descriptors = Vec::new();
    let mut diff_ids = Vec::new();
    for (tar, packing) in layers {
        let (blob, media_type) = pack(tar, *packing)?;
        diff_ids.push(digest(tar));
        descriptors.push(json!({ "mediaType": media_type, "digest": digest(&blob), "size": blob.len() }));
        blobs.push((digest(&blob), blob));
    }
    let config = serde_json::to_vec(&json!({
        "os": "linux", "config": config, "rootfs": { "type": "layers", "diff_ids": diff_ids },
    }))?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len() },
        "layers": descriptors,
    });
    blobs.push((digest(&config), config));
    Ok(Made { blobs, manifest })
}

fn simple(content: &str) -> Result<Made> {
    let lower = tar_of(&[("etc/passwd", b"app:x:12:13::/home/app:\n"), ("etc/name", b"lower"), ("only/lower", b"")])?;
    let upper = tar_of(&[("etc/name", content.as_bytes()), ("only/.wh.lower", b"")])?;
    image(&[(lower, Packing::Gzip), (upper, Packing::Zstd)], json!({ "User": "app", "Labels": { "l": content } }))
}

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Result<Self> {
        // A real filesystem: layers need attributes that memory may not have.
        Ok(Self { root: tempfile::Builder::new().prefix("nct-images").tempdir_in("/var/tmp")? })
    }

    fn store_root(&self) -> PathBuf {
        self.root.path().join("images")
    }

    fn catalog(&self) -> PathBuf {
        self.root.path().join("catalog")
    }

    fn open(&self, registries: RegistryConfig) -> std::result::Result<ImageStore, ImageError> {
        ImageStore::open(ImageConfig {
            root: self.store_root(),
            catalog: Some(self.catalog()),
            catalog_registries: vec![REGISTRY.to_owned()],
            registries,
            parallel_unpacks: 0,
        })
    }

    /// Puts an image into the catalog under a tag.
    fn publish(&self, repository: &str, tag: &str, made: &Made) -> Result {
        let layout = self.catalog().join(repository);
        let blobs = layout.join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        let manifest = serde_json::to_vec(&made.manifest)?;
        let all = made.blobs.iter().cloned().chain([(digest(&manifest), manifest.clone())]);
        for (digest, bytes) in all {
            fs::write(blobs.join(digest.trim_start_matches("sha256:")), bytes)?;
        }
        let index = json!({ "schemaVersion": 2, "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(&manifest),
            "size": manifest.len(), "annotations": { "org.opencontainers.image.ref.name": tag },
        }]});
        Ok(fs::write(layout.join("index.json"), index.to_string())?)
    }

    /// Removes everything, after what the store does in the background.
    async fn done(self, store: ImageStore) -> Result {
        store.flush().await;
        drop(store);
        Ok(self.root.close()?)
    }

    /// Every file of the store but the lock, with half-made ones.
    fn files(&self) -> usize {
        fn count(path: &Path) -> usize {
            fs::read_dir(path)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 })
                .sum()
        }
        count(&self.store_root()) - 1
    }
}

fn quiet() -> Arc<dyn Progress> {
    Arc::new(NoProgress)
}

fn push(registry: &Registry, repository: &str, tag: &str, made: &Made) -> Result {
    let mut content = registry.shelf.content.lock();
    for (digest, bytes) in &made.blobs {
        content.insert(format!("{repository}/blobs/{digest}"), ("application/octet-stream".into(), bytes.clone()));
    }
    let manifest = serde_json::to_vec(&made.manifest)?;
    let kind = "application/vnd.oci.image.manifest.v1+json".to_owned();
    content.insert(format!("{repository}/manifests/{}", digest(&manifest)), (kind.clone(), manifest.clone()));
    content.insert(format!("{repository}/manifests/{tag}"), (kind, manifest));
    Ok(())
}

fn read(image: &Image, name: &str) -> Option<Vec<u8>> {
    image.layers.iter().rev().find_map(|layer| fs::read(layer.join(name)).ok())
}

#[tokio::test]
async fn policies_say_when_a_moved_tag_is_seen() -> Result {
    let place = Place::new()?;
    place.publish("app", "latest", &simple("one")?)?;
    let store = place.open(RegistryConfig::default())?;
    let never = store.ensure("app", PullPolicy::Never, quiet()).await;
    assert!(matches!(never, Err(ImageError::NotPresent { .. })), "{never:?}");
    assert_eq!(store.label("app", "l").await?.as_deref(), Some("one"));
    assert_eq!(place.files(), 0, "asking for a label stores nothing");
    let one = store.ensure("app", PullPolicy::IfNotPresent, quiet()).await?;
    assert_eq!(read(&one, "etc/name").as_deref(), Some(&b"one"[..]));
    assert_eq!(one.user(None)?, UserIds { uid: 12, gid: 13, groups: vec![] });
    assert!(matches!(one.user(Some("nope")), Err(ImageError::User { .. })));
    place.publish("app", "latest", &simple("two")?)?;
    assert_eq!(store.ensure("app", PullPolicy::IfNotPresent, quiet()).await?, one);
    assert_eq!(store.ensure("app", PullPolicy::Never, quiet()).await?, one);
    let two = store.ensure("app", PullPolicy::Always, quiet()).await?;
    assert_ne!(two.digest, one.digest);
    assert_eq!(two.layers[0], one.layers[0], "the layer they share is shared");
    let missing = store.ensure("other", PullPolicy::IfNotPresent, quiet()).await;
    assert!(matches!(missing, Err(ImageError::NotFound { .. })), "{missing:?}");
    place.done(store).await
}

#[tokio::test]
async fn what_is_unneeded_is_collected_and_what_runs_is_not() -> Result {
    let place = Place::new()?;
    place.publish("app", "latest", &simple("one")?)?;
    let store = place.open(RegistryConfig::default())?;
    let one = store.ensure("app", PullPolicy::Always, quiet()).await?;
    place.publish("app", "latest", &simple("two")?)?;
    let two = store.ensure("app", PullPolicy::Always, quiet()).await?;
    // The layers bring no directories of their own, so there is a third one that has them.
    let running: BTreeSet<_> = one.layers[1..].iter().cloned().collect();
    assert_eq!(running.len(), 2);
    let at_once = CollectPolicy { age_min: Duration::ZERO, high_percent: 100, ..CollectPolicy::default() };
    let young =
        store.collect(&BTreeSet::new(), &CollectPolicy { age_min: Duration::from_secs(600), ..at_once }).await?;
    assert_eq!((young.images, young.blobs, young.layers), (0, 0, 0), "what is young may be about to be used");
    let collected = store.collect(&running, &at_once).await?;
    assert_eq!((collected.images, collected.blobs, collected.layers), (1, 2, 0));
    let collected = store.collect(&BTreeSet::new(), &at_once).await?;
    assert_eq!((collected.images, collected.blobs, collected.layers), (0, 0, 2));
    assert!(collected.bytes > 0, "{collected:?}");
    assert!(!one.layers[1].exists() && two.layers.iter().all(|layer| layer.exists()));
    let everything = CollectPolicy { high_percent: 0, low_percent: 0, ..at_once };
    let used: BTreeSet<_> = two.layers.iter().cloned().collect();
    assert_eq!(store.collect(&used, &everything).await?.images, 0, "what runs stays however full the disk is");
    assert_eq!(store.ensure("app", PullPolicy::Never, quiet()).await?, two);
    let collected = store.collect(&BTreeSet::new(), &everything).await?;
    assert_eq!((collected.images, collected.blobs, collected.layers), (1, 2, 3));
    assert_eq!(store.list().len(), 0);
    place.done(store).await
}

#[tokio::test]
async fn broken_images_are_refused_and_leave_nothing() -> Result {
    let evil = |name: &str| -> Result<Vec<u8>> {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        if let Some(gnu) = header.as_gnu_mut() {
            gnu.name[..name.len()].copy_from_slice(name.as_bytes());
        }
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, std::io::empty())?;
        Ok(builder.into_inner()?)
    };
    let mut cases: Vec<(&str, Made)> = Vec::new();
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let mut made = image(&[(tar_of(&[("f", &[b'x'; 5000])])?, packing)], json!({}))?;
        let middle = made.blobs[0].1.len() / 2;
        made.blobs[0].1[middle] ^= 1;
        cases.push(("layer has", made));
        let mut made = image(&[(tar_of(&[("f", &[b'x'; 5000])])?, packing)], json!({}))?;
        let half = made.blobs[0].1.len() / 2;
        made.blobs[0].1.truncate(half);
        cases.push(("layer has", made));
    }
    let mut made = simple("x")?;
    let last = made.blobs.len() - 1;
    let text = String::from_utf8(made.blobs[last].1.clone())?.replace("\"app\"", "\"bad\"");
    made.blobs[last].1 = text.into_bytes();
    cases.push(("configuration", made));
    cases.push(("leave the layer", image(&[(evil("../evil")?, Packing::Gzip)], json!({}))?));
    let mut made = image(&[(tar_of(&[("f", b"x")])?, Packing::Gzip)], json!({}))?;
    let other = digest(&tar_of(&[("f", b"y")])?);
    let own = digest(&tar_of(&[("f", b"x")])?);
    let config = String::from_utf8(made.blobs[1].1.clone())?.replace(&own, &other).into_bytes();
    made.manifest["config"]["digest"] = json!(digest(&config));
    made.blobs[1] = (digest(&config), config);
    cases.push(("layer content", made));
    for (expected, made) in cases {
        let place = Place::new()?;
        place.publish("bad", "latest", &made)?;
        let store = place.open(RegistryConfig::default())?;
        let error = store.ensure("bad", PullPolicy::IfNotPresent, quiet()).await.err().ok_or(expected)?;
        let text = match &error {
            ImageError::Digest { what, .. } => format!("{what} has {error}"),
            other => other.to_string(),
        };
        assert!(text.contains(expected), "{expected}: {text}");
        assert_eq!(place.files(), 0, "{expected}");
        assert!(!place.root.path().join("evil").exists());
    }
    Ok(())
}

#[tokio::test]
async fn a_store_has_one_owner_and_recovers_from_crashes() -> Result {
    let place = Place::new()?;
    place.publish("app", "latest", &simple("one")?)?;
    let store = place.open(RegistryConfig::default())?;
    assert!(matches!(place.open(RegistryConfig::default()), Err(ImageError::Busy { .. })));
    let image = store.ensure("app", PullPolicy::IfNotPresent, quiet()).await?;
    store.flush().await;
    let marks: Vec<_> = image.layers.iter().map(|layer| fs::read_to_string(layer.with_file_name("mark"))).collect();
    for mark in marks {
        assert_eq!(mark?, "durable");
    }
    drop(store);
    // A pull cut short, and a layer that did not reach the disk before the power went.
    fs::create_dir_all(place.store_root().join("tmp/7/diff"))?;
    fs::write(image.layers[1].with_file_name("mark"), "another boot")?;
    let store = place.open(RegistryConfig::default())?;
    assert_eq!(fs::read_dir(place.store_root().join("tmp"))?.count(), 0);
    assert_eq!(store.get("app")?, None, "not complete");
    assert_eq!(store.ensure("app", PullPolicy::IfNotPresent, quiet()).await?, image);
    place.done(store).await
}

#[derive(Default)]
struct Counting {
    advanced: AtomicU64,
    done: AtomicU64,
}

impl Progress for Counting {
    fn on(&self, event: ProgressEvent<'_>) {
        match event {
            ProgressEvent::LayerAdvanced { bytes, .. } => drop(self.advanced.fetch_add(bytes, Ordering::Relaxed)),
            ProgressEvent::LayerDone { .. } => drop(self.done.fetch_add(1, Ordering::Relaxed)),
            _ => {}
        }
    }
}

#[tokio::test]
async fn registries_are_asked_with_each_kind_of_proof() -> Result {
    for (door, credentials) in [
        (Door::Open, None),
        (Door::Basic, Some(Credentials::Basic { user: "u".into(), password: "p".into() })),
        (Door::Token, Some(Credentials::Basic { user: "u".into(), password: "p".into() })),
        (Door::Token, Some(Credentials::Bearer("the-token".into()))),
    ] {
        let registry = Registry::serve(door).await?;
        push(&registry, "team/app", "1", &simple("x")?)?;
        let place = Place::new()?;
        let mut config = RegistryConfig::default();
        config.credentials.extend(credentials.clone().map(|credentials| (registry.host.clone(), credentials)));
        let store = place.open(config)?;
        let reference = format!("{}/team/app:1", registry.host);
        let progress = Arc::new(Counting::default());
        let image =
            store.ensure(&reference, PullPolicy::IfNotPresent, Arc::clone(&progress) as Arc<dyn Progress>).await;
        let image = image.map_err(|error| format!("{door:?} {credentials:?}: {error:?}"))?;
        assert_eq!(read(&image, "etc/name").as_deref(), Some(&b"x"[..]), "{door:?}");
        assert_eq!(progress.done.load(Ordering::Relaxed), 2);
        assert!(progress.advanced.load(Ordering::Relaxed) > 0);
        let blobs = registry.asked("/blobs/");
        let options = EnsureOptions { no_layer_cache: true, ..Default::default() };
        assert_eq!(store.ensure_with(&reference, options, quiet()).await?, image);
        assert_eq!(registry.asked("/blobs/"), 2 * blobs, "without the cache everything is fetched again");
        place.done(store).await?;
    }
    let registry = Registry::serve(Door::Token).await?;
    push(&registry, "team/app", "1", &simple("x")?)?;
    let store_place = Place::new()?;
    let store = store_place.open(RegistryConfig::default())?;
    let refused = store.ensure(&format!("{}/team/app:1", registry.host), PullPolicy::IfNotPresent, quiet()).await;
    assert!(matches!(refused, Err(ImageError::Registry { .. })), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn many_wanting_the_same_share_one_download() -> Result {
    let registry = Registry::serve(Door::Open).await?;
    push(&registry, "app", "1", &simple("x")?)?;
    let place = Place::new()?;
    let store = place.open(RegistryConfig::default())?;
    let reference = format!("{}/app:1", registry.host);
    let all = (0..8).map(|_| store.ensure(&reference, PullPolicy::IfNotPresent, quiet()));
    for result in futures::future::join_all(all).await {
        result?;
    }
    assert_eq!(registry.asked("/blobs/"), 3, "two layers and the configuration");
    place.done(store).await
}

#[tokio::test]
async fn broken_downloads_are_resumed_and_mirrors_come_first() -> Result {
    let noise = noise(400_000);
    let made = image(&[(tar_of(&[("noise", &noise)])?, Packing::Gzip)], json!({}))?;
    let mirror = Registry::serve(Door::Open).await?;
    push(&mirror, "app", "1", &made)?;
    mirror.shelf.break_once.store(true, Ordering::SeqCst);
    let origin = Registry::serve(Door::Open).await?;
    let place = Place::new()?;
    let mut config = RegistryConfig::default();
    config.mirrors.insert(origin.host.clone(), vec![mirror.host.clone()]);
    let store = place.open(config)?;
    let image = store.ensure(&format!("{}/app:1", origin.host), PullPolicy::IfNotPresent, quiet()).await?;
    assert_eq!(read(&image, "noise"), Some(noise));
    assert_eq!(mirror.asked(made.manifest["layers"][0]["digest"].as_str().unwrap_or("?")), 2, "resumed once");
    assert_eq!(origin.asked("/v2/"), 0);
    let missing = store.ensure(&format!("{}/none:1", origin.host), PullPolicy::IfNotPresent, quiet()).await;
    assert!(matches!(missing, Err(ImageError::NotFound { .. })), "{missing:?}");
    assert!(origin.asked("none") > 0, "the registry itself is asked after its mirrors");
    place.done(store).await
}

#[tokio::test]
async fn a_forged_blob_in_a_registry_is_refused() -> Result {
    let registry = Registry::serve(Door::Open).await?;
    let made = simple("x")?;
    push(&registry, "app", "1", &made)?;
    let path = format!("app/blobs/{}", made.blobs[1].0);
    if let Some((_, bytes)) = registry.shelf.content.lock().get_mut(&path) {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
    }
    let place = Place::new()?;
    let store = place.open(RegistryConfig::default())?;
    let error = store.ensure(&format!("{}/app:1", registry.host), PullPolicy::IfNotPresent, quiet()).await;
    assert!(matches!(error, Err(ImageError::Digest { .. })), "{error:?}");
    assert_eq!(store.list().len(), 0);
    Ok(())
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let next =
        |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(Some(1), next).map(|state: u64| (state >> 56) as u8).take(length).collect()
}
