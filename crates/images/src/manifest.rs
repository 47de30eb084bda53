//! Manifests and indexes of the OCI image and Docker (schema 2) formats. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::ImageError;
use crate::reference::hex_of;

/// Largest manifest or index (the distribution specification's recommendation).
pub(crate) const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// Largest image configuration.
pub(crate) const CONFIG_BYTES_MAX: u64 = 4 << 20;
/// Largest layer, compressed.
pub(crate) const LAYER_BYTES_MAX: u64 = 8 << 30;
/// Most layers of an image (Docker allows 127).
pub(crate) const LAYERS_MAX: usize = 256;

/// Accepted from registries, best first.
pub(crate) const MANIFEST_TYPES: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// Annotation that names a tag in an OCI image layout.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A pointer to content.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    pub(crate) platform: Option<Platform>,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What an image runs on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Platform {
    pub(crate) architecture: String,
    pub(crate) os: String,
}

/// How a layer's tar is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// One layer's blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LayerBlob {
    pub(crate) digest: String,
    pub(crate) size: u64,
    pub(crate) compression: Compression,
}

/// The manifest of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<LayerBlob>,
}

/// Either of the two documents a reference can lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Vec<Descriptor>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u32,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

/// Reads a manifest or index that has this digest.
pub(crate) fn parse(bytes: &[u8], digest: &str) -> Result<Document, ImageError> {
    let refuse = |problem: String| ImageError::Invalid { what: "manifest", digest: digest.to_owned(), problem };
    let raw: Raw = serde_json::from_slice(bytes).map_err(|error| refuse(error.to_string()))?;
    if raw.schema_version != 2 {
        return Err(refuse(format!("schemaVersion {} is not supported; push the image again", raw.schema_version)));
    }
    match (raw.manifests, raw.config, raw.layers) {
        (Some(manifests), None, None) => {
            for descriptor in &manifests {
                check(descriptor, MANIFEST_BYTES_MAX).map_err(refuse)?;
            }
            Ok(Document::Index(manifests))
        }
        (None, Some(config), Some(layers)) => {
            check(&config, CONFIG_BYTES_MAX).map_err(refuse)?;
            if layers.is_empty() || layers.len() > LAYERS_MAX {
                return Err(refuse(format!("it has {} layers; 1 to {LAYERS_MAX} are accepted", layers.len())));
            }
            let layers = layers.iter().map(layer).collect::<Result<_, _>>().map_err(refuse)?;
            Ok(Document::Manifest(Manifest { config, layers }))
        }
        _ => Err(refuse("it is neither an image manifest nor an index".to_owned())),
    }
}

fn check(descriptor: &Descriptor, limit: u64) -> Result<(), String> {
    if hex_of(&descriptor.digest).is_none() {
        return Err(format!("digest {:?} is not SHA-256", descriptor.digest));
    }
    if descriptor.size > limit {
        return Err(format!("{} is said to be {} bytes; {limit} are accepted", descriptor.digest, descriptor.size));
    }
    Ok(())
}

fn layer(descriptor: &Descriptor) -> Result<LayerBlob, String> {
    check(descriptor, LAYER_BYTES_MAX)?;
    let compression = match descriptor.media_type.as_str() {
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar"
        | "application/vnd.docker.image.rootfs.diff.tar" => Compression::None,
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Compression::Gzip,
        "application/vnd.oci.image.layer.v1.tar+zstd" | "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
            Compression::Zstd
        }
        other => return Err(format!("layer media type {other:?} is not supported")),
    };
    Ok(LayerBlob { digest: descriptor.digest.clone(), size: descriptor.size, compression })
}

/// Go's name of this CPU architecture.
pub(crate) const ARCHITECTURE: &str = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };

/// The entry of an index for this machine; an entry without platform serves any.
pub(crate) fn choose(entries: &[Descriptor]) -> Option<&Descriptor> {
    let native = |entry: &&Descriptor| {
        entry.platform.as_ref().is_some_and(|platform| platform.os == "linux" && platform.architecture == ARCHITECTURE)
    };
    entries.iter().find(native).or_else(|| entries.iter().find(|entry| entry.platform.is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn problem(text: &str) -> String {
        parse(text.as_bytes(), "sha256:x").err().map(|error| error.to_string()).unwrap_or_default()
    }

    fn manifest(layer_type: &str, layer_digest: &str, size: u64) -> String {
        format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{}","size":2}},
                "layers":[{{"mediaType":"{layer_type}","digest":"{layer_digest}","size":{size}}}]}}"#,
            digest('a')
        )
    }

    #[test]
    fn both_families_and_three_compressions_are_read() -> Result<(), ImageError> {
        for (media_type, compression) in [
            ("application/vnd.oci.image.layer.v1.tar", Compression::None),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Gzip),
        ] {
            let document = parse(manifest(media_type, &digest('b'), 7).as_bytes(), "sha256:x")?;
            let Document::Manifest(manifest) = document else { panic!("{document:?}") };
            assert_eq!(manifest.layers, [LayerBlob { digest: digest('b'), size: 7, compression }]);
        }
        Ok(())
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_reason() {
        assert!(problem("[]").contains("manifest"));
        assert!(problem(r#"{"schemaVersion":1}"#).contains("schemaVersion 1"));
        assert!(problem(r#"{"schemaVersion":2}"#).contains("neither"));
        assert!(problem(&manifest("text/plain", &digest('b'), 1)).contains("text/plain"));
        assert!(
            problem(&manifest("application/vnd.oci.image.layer.v1.tar", "sha256:../../x", 1)).contains("not SHA-256")
        );
        let huge = manifest("application/vnd.oci.image.layer.v1.tar", &digest('b'), LAYER_BYTES_MAX + 1);
        assert!(problem(&huge).contains("accepted"));
    }

    #[test]
    fn this_machine_is_chosen_from_an_index() {
        let entry = |digit, platform: Option<(&str, &str)>| Descriptor {
            media_type: String::new(),
            digest: digest(digit),
            size: 1,
            platform: platform.map(|(os, arch)| Platform { os: os.into(), architecture: arch.into() }),
            annotations: BTreeMap::new(),
        };
        let entries =
            [entry('1', Some(("windows", ARCHITECTURE))), entry('2', None), entry('3', Some(("linux", ARCHITECTURE)))];
        assert_eq!(choose(&entries).map(|entry| entry.digest.clone()), Some(digest('3')));
        assert_eq!(choose(&entries[..2]).map(|entry| entry.digest.clone()), Some(digest('2')));
        assert_eq!(choose(&entries[..1]), None);
    }
}
