//! Files of the directory of keys: private, written whole or not at all, and durable.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::error::Error;

/// Largest file that is read, in bytes.
const MAX_FILE_LEN: u64 = 1024 * 1024;
const LOCK: &str = ".lock";

/// The directory, and that nobody else changes it while this value lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: Flock<File>,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}

impl Directory {
    /// Creates the directory when it is not there, makes it private, and waits for other writers.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create", path))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed("make private", path))?;
        Self::lock(path)
    }

    fn lock(path: &Path) -> Result<Self, Error> {
        let lock = path.join(LOCK);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock)
            .map_err(failed("open", &lock))?;
        let held =
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| failed("lock", &lock)(errno.into()))?;
        Ok(Self { path: path.to_owned(), _lock: held })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file of mode 0600: complete and on disk, or unchanged.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let path = self.path.join(name);
        let temporary = self.path.join(format!(".{name}.new"));
        let write = || -> io::Result<()> {
            // A file left by a crash may have other permissions; a new one is made each time.
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(failed("write", &path))
    }

    /// Keeps a broken file for study as `NAME.broken` and makes room for its successor.
    pub(super) fn set_aside(&self, name: &str) -> Result<(), Error> {
        let path = self.path.join(name);
        match fs::rename(&path, self.path.join(format!("{name}.broken"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("set aside", &path)(error)),
            _ => Ok(()),
        }
    }
}

/// Refuses a directory that others may look into.
pub(super) fn check_private(path: &Path) -> Result<(), Error> {
    let mode = fs::metadata(path).map_err(failed("read", path))?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(Error::Exposed { path: path.to_owned(), mode }) }
}

/// Reads a file of text; `None` when it is not there.
pub(super) fn read(path: &Path) -> Result<Option<SecretString>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_FILE_LEN).read_to_end(&mut bytes).map_err(failed("read", path))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned().into()))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn files_are_private_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("assets");
        let directory = Directory::create(&path).unwrap();
        // What a crash in the middle of a write leaves must not matter, nor its permissions.
        fs::write(path.join(".a.new"), "half").unwrap();
        directory.write("a", b"one").unwrap();
        directory.write("a", b"two").unwrap();
        assert_eq!(read(&path.join("a")).unwrap().unwrap().expose_secret(), "two");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&path), mode(&path.join("a"))), (0o700, 0o600));
        assert!(!path.join(".a.new").exists());
    }

    #[test]
    fn a_directory_open_to_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(check_private(dir.path()), Err(Error::Exposed { mode: 0o750, .. })));
        Directory::create(dir.path()).unwrap();
        assert!(check_private(dir.path()).is_ok());
    }
}
