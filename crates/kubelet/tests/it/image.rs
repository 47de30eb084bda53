//! An image of busybox and nothing else, as an OCI layout in a catalog.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use sha2::{Digest as _, Sha256};

/// The registry the catalog answers for.
pub const REGISTRY: &str = "registry.example.test";
/// Reference of the image.
pub const BUSYBOX: &str = "registry.example.test/busybox:1";

const APPLETS: [&str; 16] = [
    "sh", "httpd", "wget", "nslookup", "id", "env", "cat", "sleep", "grep", "head", "tail", "kill", "dd", "stat", "ls",
    "sort",
];

fn busybox() -> PathBuf {
    let candidates = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
    let found = candidates.into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no busybox on this machine: apt-get install busybox-static"))
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn layer() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut dir = |name: &str, mode: u32| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(mode);
        header.set_size(0);
        tar.append_data(&mut header, name, std::io::empty()).unwrap();
    };
    for name in ["bin", "etc", "proc", "sys", "dev", "data", "srv"] {
        dir(name, 0o755);
    }
    dir("tmp", 0o1777);
    let mut file = |name: &str, mode: u32, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    file("bin/busybox", 0o755, &fs::read(busybox()).unwrap());
    file(
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/:/bin/sh\napp:x:1000:1000:app:/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
    );
    file("etc/group", 0o644, b"root:x:0:\napp:x:1000:\nnogroup:x:65534:\n");
    for applet in APPLETS {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    tar.into_inner().unwrap()
}

/// Puts the image into the catalog.
pub fn publish(catalog: &Path) {
    let layout = catalog.join("busybox");
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let digest = digest(bytes);
        fs::write(blobs.join(digest.trim_start_matches("sha256:")), bytes).unwrap();
        digest
    };
    let layer = layer();
    let diff_id = put(&layer);
    let config =
        json!({"os": "linux", "config": {"User": "app", "Entrypoint": ["/bin/sh", "-c"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]}})
        .to_string();
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": put(config.as_bytes()), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": diff_id, "size": layer.len()}]})
    .to_string();
    let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": put(manifest.as_bytes()), "size": manifest.len(), "annotations": {"org.opencontainers.image.ref.name": "1"}}]});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}
