//! The files of a log, opened while it may be rotated.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::writer::rotated;

/// Most files of one log looked for.
const FILES_MAX: u32 = 1000;
/// Names in a row without a file after which there is none: rotation leaves one such name at a time, for a moment.
const GAP_MAX: u32 = 2;
/// Looks at a log that is rotated all the time, after which what was seen last has to do.
const LOOKS_MAX: usize = 100;

/// One file of a log: open, it stays the same whatever its name becomes.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) file: File,
    pub(super) inode: u64,
}

/// The files of the log whose current one is at `path`, newest first.
///
/// Rotation renames one file after the other, so a look in its midst may see one under two names and another out of
/// its place. What two looks see alike was there at one moment between them.
pub(super) fn open_all(path: &Path) -> io::Result<Vec<LogFile>> {
    let mut files = look(path)?;
    for _ in 0..LOOKS_MAX {
        let seen = std::mem::replace(&mut files, look(path)?);
        if seen.iter().map(|file| file.inode).eq(files.iter().map(|file| file.inode)) {
            break;
        }
    }
    Ok(files)
}

fn look(path: &Path) -> io::Result<Vec<LogFile>> {
    let mut files: Vec<LogFile> = Vec::new();
    let mut gap = 0;
    for age in 0..FILES_MAX {
        let name = if age == 0 { path.to_owned() } else { rotated(path, age) };
        match File::open(name) {
            Ok(file) => {
                let inode = file.metadata()?.ino();
                files.push(LogFile { file, inode });
                gap = 0;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => gap += 1,
            Err(error) => return Err(error),
        }
        if gap > GAP_MAX {
            break;
        }
    }
    Ok(files)
}
