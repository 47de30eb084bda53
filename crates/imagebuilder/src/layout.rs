//! The directory of an image in the catalog: an OCI image layout (image-spec v1.1, image-layout.md).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Error;
use crate::hash::digest;

/// Annotation with the tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation with the digest of all inputs of the image.
const INPUTS: &str = "io.nanocloud.inputs";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A reference to a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Descriptor {
    pub(crate) digest: String,
    pub(crate) size: u64,
}

/// What an image needs to know about its base.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) manifest: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    pub(crate) diff_ids: Vec<String>,
    /// `created` of the configuration.
    pub(crate) created: String,
}

/// The folder.
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The folder, which need not exist yet.
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Creates the directory for blobs and returns its path.
    pub(crate) fn prepare(&self) -> Result<PathBuf, Error> {
        let blobs = self.root.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(Error::write(&blobs))?;
        Ok(blobs)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The image built from these inputs with all these tags, if it exists with all its blobs.
    pub(crate) fn find(&self, inputs: &str, tags: &[&str]) -> Result<Option<Stored>, Error> {
        let Some(index) = self.index()? else { return Ok(None) };
        let tagged = |tag: &str| {
            index["manifests"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|entry| entry["annotations"][REF_NAME] == tag && entry["annotations"][INPUTS] == inputs)
        };
        let Some(first) = tags.first().and_then(|tag| tagged(tag)) else { return Ok(None) };
        if !tags.iter().all(|tag| tagged(tag).is_some_and(|entry| entry["digest"] == first["digest"])) {
            return Ok(None);
        }
        let Some(manifest) = descriptor(first) else { return Ok(None) };
        // If a blob is missing or truncated the image is built again.
        if self.size(&manifest.digest) != Some(manifest.size) {
            return Ok(None);
        }
        let stored = self.read(manifest)?;
        let whole = stored.layers.iter().all(|layer| self.size(&layer.digest) == Some(layer.size));
        Ok(whole.then_some(stored))
    }

    fn read(&self, manifest: Descriptor) -> Result<Stored, Error> {
        let document: Value = self.json(&self.blob(&manifest.digest))?;
        let config: Value = match document["config"]["digest"].as_str() {
            Some(digest) => self.json(&self.blob(digest))?,
            None => Value::Null,
        };
        let layers = document["layers"].as_array().into_iter().flatten().filter_map(descriptor).collect();
        let diff_ids = config["rootfs"]["diff_ids"].as_array().into_iter().flatten();
        Ok(Stored {
            manifest,
            layers,
            diff_ids: diff_ids.filter_map(Value::as_str).map(str::to_owned).collect(),
            created: config["created"].as_str().unwrap_or_default().to_owned(),
        })
    }

    /// The path of a blob.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        self.root.join("blobs").join(digest.replacen(':', "/", 1))
    }

    fn size(&self, digest: &str) -> Option<u64> {
        fs::metadata(self.blob(digest)).ok().map(|metadata| metadata.len())
    }

    /// Moves a temporary file to its place as a blob.
    pub(crate) fn adopt(&self, file: tempfile::NamedTempFile, digest: &str) -> Result<(), Error> {
        let path = self.blob(digest);
        file.as_file().sync_all().map_err(Error::write(&path))?;
        readable(file.as_file()).map_err(Error::write(&path))?;
        file.persist(&path).map_err(|error| Error::Write { path, source: error.error })?;
        Ok(())
    }

    /// Shares a blob of another image: a hard link, or a copy across file systems.
    pub(crate) fn share(&self, other: &Self, blob: &Descriptor) -> Result<(), Error> {
        let (from, to) = (other.blob(&blob.digest), self.blob(&blob.digest));
        if self.size(&blob.digest) == Some(blob.size) {
            return Ok(());
        }
        let temporary = to.with_extension("link");
        // May be left over from an interrupted build.
        let _absent = fs::remove_file(&temporary);
        if fs::hard_link(&from, &temporary).is_err() {
            fs::copy(&from, &temporary).map_err(Error::write(&temporary))?;
        }
        fs::rename(&temporary, &to).map_err(Error::write(to))
    }

    /// Writes configuration and manifest, sets the tags and removes blobs that no tag refers to.
    pub(crate) fn publish(
        &self,
        config: &Value,
        layers: &[Descriptor],
        annotations: &serde_json::Map<String, Value>,
        inputs: &str,
        tags: &[&str],
    ) -> Result<Descriptor, Error> {
        let config_blob = self.put(config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": described(CONFIG_TYPE, &config_blob),
            "layers": layers.iter().map(|layer| described(LAYER_TYPE, layer)).collect::<Vec<_>>(),
            "annotations": annotations,
        });
        let manifest = self.put(&manifest)?;
        let mut entries: Vec<Value> = Vec::new();
        for tag in tags {
            let mut entry = described(MANIFEST_TYPE, &manifest);
            entry["platform"] = json!({ "architecture": config["architecture"], "os": config["os"] });
            entry["annotations"] = json!({ REF_NAME: tag, INPUTS: inputs });
            entries.push(entry);
        }
        self.replace(&self.root.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries });
        self.replace(&self.root.join("index.json"), index.to_string().as_bytes())?;
        let mut needed: BTreeSet<PathBuf> = layers.iter().map(|layer| self.blob(&layer.digest)).collect();
        needed.extend([self.blob(&manifest.digest), self.blob(&config_blob.digest)]);
        self.sweep(&needed)?;
        Ok(manifest)
    }

    fn sweep(&self, needed: &BTreeSet<PathBuf>) -> Result<(), Error> {
        let folder = self.root.join("blobs/sha256");
        for entry in fs::read_dir(&folder).map_err(Error::read_catalog(&folder))? {
            let path = entry.map_err(Error::read_catalog(&folder))?.path();
            if !needed.contains(&path) {
                fs::remove_file(&path).map_err(Error::write(&path))?;
            }
        }
        Ok(())
    }

    fn put(&self, document: &Value) -> Result<Descriptor, Error> {
        let bytes = document.to_string().into_bytes();
        let descriptor = Descriptor { digest: digest(&bytes), size: bytes.len() as u64 };
        self.replace(&self.blob(&descriptor.digest), &bytes)?;
        Ok(descriptor)
    }

    /// Replaces a file atomically.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let attempt = || {
            let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(&self.root))?;
            file.write_all(bytes)?;
            readable(file.as_file())?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            Ok(())
        };
        attempt().map_err(Error::write(path))
    }

    fn index(&self) -> Result<Option<Value>, Error> {
        let path = self.root.join("index.json");
        if path.exists() { self.json(&path).map(Some) } else { Ok(None) }
    }

    fn json(&self, path: &Path) -> Result<Value, Error> {
        let bytes = fs::read(path).map_err(Error::read_catalog(path))?;
        serde_json::from_slice(&bytes).map_err(|source| Error::BadCatalog { path: path.to_owned(), source })
    }
}

/// Temporary files are created with mode 0600; images are not secret and are read by other users.
fn readable(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

fn descriptor(entry: &Value) -> Option<Descriptor> {
    let digest = entry["digest"].as_str().filter(|digest| is_digest(digest))?;
    Some(Descriptor { digest: digest.to_owned(), size: entry["size"].as_u64()? })
}

/// Whether a text is safe as part of a path.
fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn described(media_type: &str, blob: &Descriptor) -> Value {
    json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.size })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(layout: &Layout, content: &str, inputs: &str) -> Descriptor {
        layout.prepare().unwrap();
        let layer = layout.put(&json!(content)).unwrap();
        let config = json!({ "architecture": "amd64", "os": "linux", "created": "x", "rootfs": { "diff_ids": ["d"] } });
        layout.publish(&config, &[layer], &serde_json::Map::new(), inputs, &["1", "latest"]).unwrap()
    }

    #[test]
    fn finds_what_it_published_and_only_that() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(folder.path().join("a/b"));
        assert!(layout.find("i", &["latest"]).unwrap().is_none());
        let manifest = publish(&layout, "one", "i");
        let found = layout.find("i", &["1", "latest"]).unwrap().unwrap();
        assert_eq!(found.manifest, manifest);
        assert_eq!(found.diff_ids, ["d"]);
        assert!(layout.find("other", &["latest"]).unwrap().is_none());
        assert!(layout.find("i", &["2"]).unwrap().is_none());
    }

    #[test]
    fn a_new_image_replaces_the_old_ones_blobs() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(folder.path().to_owned());
        let old = publish(&layout, "one", "i");
        publish(&layout, "two", "j");
        assert!(!layout.blob(&old.digest).exists());
        assert_eq!(fs::read_dir(folder.path().join("blobs/sha256")).unwrap().count(), 3);
    }

    #[test]
    fn a_damaged_image_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(folder.path().to_owned());
        publish(&layout, "one", "i");
        let layer = layout.find("i", &["latest"]).unwrap().unwrap().layers.remove(0);
        fs::write(layout.blob(&layer.digest), "").unwrap();
        assert!(layout.find("i", &["latest"]).unwrap().is_none());
    }

    #[test]
    fn digests_cannot_be_paths() {
        assert!(!is_digest("sha256:../../etc/passwd"));
        assert!(is_digest(&digest(b"")));
    }
}
