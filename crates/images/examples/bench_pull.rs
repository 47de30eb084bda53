//! Getting an image from a local OCI layout to an unpacked root filesystem: ours against
//! `skopeo copy` + `umoci unpack`, interleaved, one table.
//!
//! ```text
//! cargo run --release -p images --example bench_pull -- [rounds]
//! ```

#![expect(clippy::disallowed_methods, reason = "a benchmark starts what it measures")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use images::{ImageConfig, ImageStore, NoProgress, PullPolicy, RegistryConfig};
use serde_json::json;
use sha2::{Digest, Sha256};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Rounds by default; the first is not counted.
const ROUNDS_DEFAULT: usize = 5;
/// Files of the image, in directories of a hundred.
const FILES: u64 = 12_000;

fn main() -> Result {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(ROUNDS_DEFAULT);
    let root = tempfile::Builder::new().prefix("ncbench").tempdir_in("/var/tmp")?;
    let catalog = root.path().join("catalog");
    let (plain, packed) = make_image(&catalog.join("bench"))?;
    println!("image: {FILES} files, {} MB as tar, {} MB gzip", plain >> 20, packed >> 20);
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let time = tokio.block_on(pull(&root.path().join(format!("store{round}")), &catalog))?;
        let peer = peer(root.path(), round, &catalog.join("bench"))?;
        if round > 0 {
            ours.push(time);
            theirs.push(peer);
        }
    }
    println!("{:<20} {:>10} {:>10} {:>8}", "pull + unpack", "median ms", "min ms", "ratio");
    let mut base = None;
    for (name, mut list) in [("nanocloud", ours), ("skopeo + umoci", theirs)] {
        list.sort_unstable();
        let (median, min) = (list[list.len() / 2].as_secs_f64() * 1000.0, list[0].as_secs_f64() * 1000.0);
        println!("{name:<20} {median:>10.0} {min:>10.0} {:>8.2}", median / *base.get_or_insert(median));
    }
    Ok(())
}

async fn pull(store: &Path, catalog: &Path) -> Result<Duration> {
    let begin = Instant::now();
    let opened = ImageStore::open(ImageConfig {
        root: store.to_owned(),
        catalog: Some(catalog.to_owned()),
        catalog_registries: vec!["local.test".to_owned()],
        registries: RegistryConfig::default(),
        parallel_unpacks: 0,
    })?;
    opened.ensure("bench:1", PullPolicy::Always, Arc::new(NoProgress)).await?;
    let time = begin.elapsed();
    // Not part of it: theirs does not write to the disk for good either.
    opened.flush().await;
    drop(opened);
    fs::remove_dir_all(store)?;
    Ok(time)
}

fn peer(root: &Path, round: usize, layout: &Path) -> Result<Duration> {
    let (copy, bundle) = (root.join(format!("copy{round}")), root.join(format!("bundle{round}")));
    let begin = Instant::now();
    run(Command::new("skopeo").args(["copy", "--quiet"]).args([tagged("oci:", layout), tagged("oci:", &copy)]))?;
    run(Command::new("umoci").args(["unpack", "--image"]).arg(tagged("", &copy)).arg(&bundle))?;
    let time = begin.elapsed();
    fs::remove_dir_all(copy)?;
    fs::remove_dir_all(bundle)?;
    Ok(time)
}

fn tagged(scheme: &str, layout: &Path) -> String {
    format!("{scheme}{}:1", layout.display())
}

fn run(command: &mut Command) -> Result {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(())
}

/// Half text, half noise, sizes as in a distribution; gives bytes plain and packed.
fn make_image(layout: &Path) -> Result<(usize, usize)> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut state = 1_u64;
    for number in 0..FILES {
        let mut content = Vec::new();
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let size = 1000 + (state >> 33) % 20_000;
        while (content.len() as u64) < size {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            match state >> 63 {
                0 => content.extend_from_slice(b"the quick brown fox jumps over the lazy dog, again and again\n"),
                _ => content.extend_from_slice(&state.to_le_bytes()),
            }
        }
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(
            &mut header,
            PathBuf::from(format!("usr/{}/{number}", number / 100)),
            content.as_slice(),
        )?;
    }
    let plain = builder.into_inner()?;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&plain)?;
    let packed = encoder.finish()?;
    let digest = |bytes: &[u8]| format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    let config = serde_json::to_vec(&json!({
        "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }, "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [digest(&plain)] },
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len() },
        "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(&packed), "size": packed.len() }],
    }))?;
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let index = json!({ "schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(&manifest), "size": manifest.len(),
        "annotations": { "org.opencontainers.image.ref.name": "1" },
    }]});
    fs::write(layout.join("index.json"), index.to_string())?;
    for bytes in [&packed, &config, &manifest] {
        fs::write(blobs.join(digest(bytes).trim_start_matches("sha256:")), bytes)?;
    }
    Ok((plain.len(), packed.len()))
}
