//! Layers of the store: where they are, and how they come there.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::disk::Temporary;
use crate::error::ImageError;
use crate::inner::Inner;
use crate::manifest::LayerBlob;
use crate::parents;
use crate::pipeline;
use crate::progress::{Progress, ProgressEvent};
use crate::reference::hex_of;

/// A layer that is to be unpacked.
#[derive(Clone)]
pub(crate) struct Layer {
    pub(crate) blob: LayerBlob,
    pub(crate) diff_id: String,
    pub(crate) fresh: bool,
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) stopped: Arc<AtomicBool>,
}

/// Each layer once: of equal ones the highest counts, since it hides the lower ones wholly, and
/// overlayfs does not take one twice.
fn distinct(diff_ids: &[String]) -> Vec<&String> {
    let last = |index: usize, diff_id: &&String| !diff_ids[index + 1..].contains(diff_id);
    diff_ids.iter().enumerate().filter(|(index, diff_id)| last(*index, diff_id)).map(|(_, diff_id)| diff_id).collect()
}

impl Inner {
    /// Digests were checked before they come here.
    pub(crate) fn layer(&self, diff_id: &str) -> PathBuf {
        self.config.root.join("layers").join(hex_of(diff_id).unwrap_or("invalid"))
    }

    /// Layers of an image, lowest first.
    pub(crate) fn layers(&self, diff_ids: &[String]) -> Vec<PathBuf> {
        distinct(diff_ids).into_iter().map(|diff_id| self.layer(diff_id)).collect()
    }

    /// The layer on top of them that an image needs if some of its own only imply directories.
    pub(crate) fn parents(&self, diff_ids: &[String]) -> impl Iterator<Item = PathBuf> {
        let needed = parents::needed(&self.layers(diff_ids));
        needed.then(|| self.config.root.join("layers").join(parents::name(diff_ids))).into_iter()
    }

    /// Names of all layers of an image.
    pub(crate) fn layer_names(&self, diff_ids: &[String]) -> Vec<String> {
        let all = self.layers(diff_ids).into_iter().chain(self.parents(diff_ids));
        all.filter_map(|layer| Some(layer.file_name()?.to_str()?.to_owned())).collect()
    }

    /// Makes it, unless it is there or not needed.
    pub(crate) fn make_parents(&self, diff_ids: &[String]) -> Result<(), ImageError> {
        let Some(target) = self.parents(diff_ids).find(|layer| !layer.exists()) else { return Ok(()) };
        let temporary = Temporary(self.temporary());
        let diff = temporary.0.join("diff");
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(&diff);
        made.and_then(|()| parents::make(&self.layers(diff_ids), &diff))
            .and_then(|()| fs::write(temporary.0.join("mark"), &self.boot))
            .map_err(ImageError::store(&diff))?;
        self.put(&temporary.0, &target)
    }

    /// Gives a layer its name, once it is whole.
    fn put(&self, temporary: &Path, target: &Path) -> Result<(), ImageError> {
        match fs::rename(temporary, target) {
            Ok(()) => Ok(()),
            // Made again although it was here: the content is the same, and containers may use it.
            Err(_exists) if target.exists() => Ok(()),
            Err(source) => Err(ImageError::Store { path: target.to_owned(), source }),
        }
    }

    /// Blocking. Leaves the layer at its place, or nothing.
    pub(crate) fn unpack_layer(&self, reader: impl Read + Send, layer: &Layer) -> Result<(), ImageError> {
        let temporary = Temporary(self.temporary());
        let diff = temporary.0.join("diff");
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(&diff);
        made.and_then(|()| fs::set_permissions(&diff, fs::Permissions::from_mode(0o755)))
            .map_err(ImageError::store(&diff))?;
        let advanced = |bytes| layer.progress.on(ProgressEvent::LayerAdvanced { digest: &layer.blob.digest, bytes });
        let implied = pipeline::unpack_verified(reader, &layer.blob, &layer.diff_id, &diff, &advanced)?;
        parents::note(&temporary.0, &implied)
            .and_then(|()| fs::write(temporary.0.join("mark"), &self.boot))
            .map_err(ImageError::store(&temporary.0))?;
        self.put(&temporary.0, &self.layer(&layer.diff_id))
    }
}
