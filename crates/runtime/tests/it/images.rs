//! A container from an image of the catalog: what the image store unpacks is what overlayfs wants.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use images::{ImageConfig, ImageStore, NoProgress, PullPolicy, RegistryConfig};
use runtime::container::{ContainerSpec, LogTarget};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::host::{Host, Result, make_rootfs};

/// Writes a blob of an OCI image layout and describes it.
fn put(layout: &Path, media_type: &str, bytes: &[u8]) -> Result<Value> {
    let hex = hex::encode(Sha256::digest(bytes));
    fs::write(layout.join("blobs/sha256").join(&hex), bytes)?;
    Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len() }))
}

/// Writes an OCI image layout of these layers, as plain tar, under the tag `1`.
fn publish(layout: &Path, layers: &[Vec<u8>], config: Value) -> Result {
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    let layer = |tar: &Vec<u8>| put(layout, "application/vnd.oci.image.layer.v1.tar", tar);
    let layers = layers.iter().map(layer).collect::<Result<Vec<_>>>()?;
    let diff_ids: Vec<_> = layers.iter().map(|layer| &layer["digest"]).collect();
    let config = json!({ "os": "linux", "config": config, "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let config = put(layout, "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes())?;
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
    let mut entry = put(layout, "application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes())?;
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "1" });
    Ok(fs::write(layout.join("index.json"), json!({ "schemaVersion": 2, "manifests": [entry] }).to_string())?)
}

#[tokio::test]
async fn catalog_image_is_unpacked_and_runs() -> Result {
    let host = Host::new()?;
    // A real filesystem: layers need attributes that memory may not have.
    let place = tempfile::Builder::new().prefix("nct-images").tempdir_in("/var/tmp")?;
    let rootfs = host.root.join("made");
    make_rootfs(&rootfs)?;
    let mut base = tar::Builder::new(Vec::new());
    base.follow_symlinks(false);
    base.append_dir_all(".", &rootfs)?;
    let mut second = tar::Builder::new(Vec::new());
    for (name, content) in [("etc/name", "from the second layer\n"), ("etc/.wh.group", "")] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        second.append_data(&mut header, name, content.as_bytes())?;
    }
    let config = json!({ "User": "nobody", "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["cat /etc/name; ls /etc; id -u"] });
    publish(&place.path().join("catalog/tool"), &[base.into_inner()?, second.into_inner()?], config)?;
    let store = ImageStore::open(ImageConfig {
        root: place.path().join("images"),
        catalog: Some(place.path().join("catalog")),
        catalog_registries: vec!["registry.example.test".to_owned()],
        registries: RegistryConfig::default(),
        parallel_unpacks: 0,
    })?;
    let image = store.ensure("tool:1", PullPolicy::IfNotPresent, Arc::new(NoProgress)).await?;
    assert_eq!(image.reference, "registry.example.test/tool:1");
    let mut spec = ContainerSpec::new("c", image.layers.clone(), image.config.argv(&[], &[]));
    spec.user = image.user(None)?;
    spec.env = vec![("PATH".into(), "/bin".into())];
    spec.log = Some(LogTarget::new(host.log_path("c")));
    assert_eq!(host.run(spec).await?, (0, "from the second layer\nname\npasswd\n65534\n".to_owned()));
    host.leaves_nothing().await?;
    store.flush().await;
    drop(store);
    Ok(place.close()?)
}
