//! What is known of each volume, one JSON file each, replaced atomically.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
};

use crate::{Error, Id, Result, Volume, files::sync};

/// Largest description of a volume that is read.
pub const METADATA_MAX_BYTES: u64 = 64 * 1024;

/// Suffix of a description that is being written; such files are removed at start.
const UNFINISHED: &str = ".tmp";

/// The folder with the descriptions.
#[derive(Debug)]
pub(crate) struct Inventory {
    folder: PathBuf,
}

impl Inventory {
    pub(crate) fn open(folder: PathBuf) -> Result<Self> {
        for entry in fs::read_dir(&folder).map_err(|e| Error::io("list", &folder, e))?.flatten() {
            if entry.file_name().to_string_lossy().ends_with(UNFINISHED) {
                let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let removed = if folder { fs::remove_dir(entry.path()) } else { fs::remove_file(entry.path()) };
                removed.map_err(|e| Error::io("remove", entry.path(), e))?;
            }
        }
        Ok(Self { folder })
    }

    fn path(&self, id: &Id) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    pub(crate) fn get(&self, id: &Id) -> Result<Option<Volume>> {
        let path = self.path(id);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", path, error)),
            Ok(meta) if meta.len() > METADATA_MAX_BYTES => {
                let source = serde::de::Error::custom(format!("{} bytes, at most {METADATA_MAX_BYTES}", meta.len()));
                return Err(Error::Damaged { path, source });
            }
            Ok(_) => {}
        }
        let text = fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
        serde_json::from_slice(&text).map(Some).map_err(|source| Error::Damaged { path, source })
    }

    pub(crate) fn put(&self, volume: &Volume) -> Result<()> {
        let path = self.path(&volume.id);
        let text = serde_json::to_vec_pretty(volume).map_err(|source| Error::Damaged { path: path.clone(), source })?;
        let unfinished = self.folder.join(format!("{}{UNFINISHED}", volume.id));
        let written = File::create(&unfinished).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()
        });
        written.map_err(|e| Error::io("write", &unfinished, e))?;
        fs::rename(&unfinished, &path).map_err(|e| Error::io("write", &path, e))?;
        sync(&self.folder)
    }

    pub(crate) fn remove(&self, id: &Id) -> Result<()> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, error)),
            _ => sync(&self.folder),
        }
    }

    pub(crate) fn all(&self) -> Result<Vec<Volume>> {
        let mut volumes = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(|e| Error::io("list", &self.folder, e))? {
            let name = entry.map_err(|e| Error::io("list", &self.folder, e))?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json")).and_then(|id| Id::new(id).ok());
            if let Some(volume) = id.map(|id| self.get(&id)).transpose()?.flatten() {
                volumes.push(volume);
            }
        }
        volumes.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(volumes)
    }
}
