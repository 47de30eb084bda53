//! What the crate asks of the file system in several places.

use std::{fs::File, path::Path};

use crate::{Error, Result};

/// Makes renames and removals in a folder durable.
pub(crate) fn sync(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(|e| Error::io("sync", folder, e))
}

/// Whether something is at a path. What cannot be looked at is an error, never absent: on absence things are made anew.
pub(crate) fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(|e| Error::io("inspect", path, e))
}
