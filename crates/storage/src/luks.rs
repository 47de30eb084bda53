//! Encrypted volumes: an ext4 file system in a LUKS2 container in a file, opened by `cryptsetup(8)`.
//!
//! ```text
//!   <root>/images/<id>      the container; nothing in it is readable without the key
//!   <keys>/<id>.key         64 random bytes, mode 0600; without it the volume is lost
//!   /dev/mapper/nanocloud-<id>, mounted at <root>/volumes/<id> while a pod has it
//! ```

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::mount::{MsFlags, mount};

use crate::{
    Error, Id, Ownership, Result,
    files::{exists, sync},
    mounts,
};

/// Bytes of a key: two AES-256 keys of XTS, stretched by the container's own header.
const KEY_BYTES: usize = 64;
/// What a LUKS2 header takes (`cryptsetup-luksFormat(8)`, data offset).
const HEADER_BYTES: u64 = 16 << 20;
/// Least size of the file system, so that ext4 has room for its journal.
const FILE_SYSTEM_BYTES_MIN: u64 = 16 << 20;
/// Bytes of a failed program's output that the error repeats.
const OUTPUT_BYTES_MAX: usize = 1000;

/// The container of one volume.
#[derive(Debug)]
pub(crate) struct Luks {
    id: Id,
    image: PathBuf,
    key: PathBuf,
}

impl Luks {
    pub(crate) fn new(id: &Id, images: &Path, keys: &Path) -> Self {
        Self { id: id.clone(), image: images.join(id.as_str()), key: keys.join(format!("{id}.key")) }
    }

    fn mapping(&self) -> String {
        format!("nanocloud-{}", self.id)
    }

    fn device(&self) -> PathBuf {
        Path::new("/dev/mapper").join(self.mapping())
    }

    /// Makes key and container unless they are there. `at` is an empty folder, used while it is made.
    pub(crate) fn make(&self, capacity_bytes: u64, ownership: Ownership, at: &Path) -> Result<()> {
        if exists(&self.image)? {
            return Ok(());
        }
        // What a crash left open belongs to a container that was never finished.
        self.detach(at)?;
        self.make_key()?;
        let aside = self.image.with_extension("new");
        let size = capacity_bytes.max(FILE_SYSTEM_BYTES_MIN) + HEADER_BYTES;
        let made = File::create(&aside).and_then(|file| {
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.set_len(size)
        });
        made.map_err(|e| Error::io("create", &aside, e))?;
        // The key is random and needs no stretching: PBKDF2 with the least work is as safe as any other.
        let key = self.key.as_os_str();
        let options =
            ["luksFormat", "--batch-mode", "--type", "luks2", "--cipher", "aes-xts-plain64", "--key-size", "512"];
        let stretching = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file"];
        let words = options.iter().chain(&stretching).map(OsStr::new);
        self.tool("cryptsetup", words.chain([key, aside.as_os_str()]))?;
        self.open(&aside)?;
        let owner = format!("root_owner={}:{}", ownership.uid, ownership.gid);
        let words = ["-q", "-m", "0", "-E", &owner].map(OsStr::new);
        self.tool("mkfs.ext4", words.into_iter().chain([self.device().as_os_str()]))?;
        self.mount(at)?;
        let settled = fs::remove_dir(at.join("lost+found"))
            .and_then(|()| chown(at, Some(ownership.uid), Some(ownership.gid)))
            .and_then(|()| fs::set_permissions(at, Permissions::from_mode(ownership.mode)));
        settled.map_err(|e| Error::io("prepare", at, e))?;
        self.detach(at)?;
        let kept = File::open(&aside).and_then(|file| file.sync_all()).and_then(|()| fs::rename(&aside, &self.image));
        kept.map_err(|e| Error::io("keep", &self.image, e))?;
        sync(self.image.parent().unwrap_or(Path::new("/")))
    }

    /// Writes a key unless there is one; it is on disk before anything is encrypted with it.
    fn make_key(&self) -> Result<()> {
        if exists(&self.key)? {
            return Ok(());
        }
        let folder = self.key.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
        fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(|e| Error::io("protect", folder, e))?;
        let aside = self.key.with_extension("new");
        let write = || {
            let mut bytes = [0; KEY_BYTES];
            File::open("/dev/urandom")?.read_exact(&mut bytes)?;
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&aside, &self.key)
        };
        write().map_err(|e: io::Error| Error::io("write", &self.key, e))?;
        sync(folder)
    }

    fn open(&self, image: &Path) -> Result<()> {
        let (mapping, key) = (self.mapping(), self.key.as_os_str());
        let words = [OsStr::new("open"), "--type".as_ref(), "luks2".as_ref(), "--key-file".as_ref(), key];
        self.tool("cryptsetup", words.into_iter().chain([image.as_os_str(), mapping.as_ref()]))
    }

    fn mount(&self, at: &Path) -> Result<()> {
        let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
        mount(Some(&self.device()), at, Some("ext4"), flags, None::<&str>).map_err(|e| Error::io("mount", at, e.into()))
    }

    /// Unlocks the volume and mounts it; fine when it is mounted.
    pub(crate) fn attach(&self, at: &Path) -> Result<()> {
        if mounts::is_mounted(at)? {
            return Ok(());
        }
        if !exists(&self.device())? {
            self.open(&self.image)?;
        }
        self.mount(at)
    }

    /// Unmounts and locks the volume; fine when it is locked. A process that still has files of it open keeps it
    /// unlocked until it ends.
    pub(crate) fn detach(&self, at: &Path) -> Result<()> {
        mounts::unmount(at)?;
        if !exists(&self.device())? {
            return Ok(());
        }
        let mapping = self.mapping();
        self.tool("cryptsetup", ["close", "--deferred", &mapping].map(OsStr::new))
    }

    /// Removes key and container: without the key, copies of the container are worthless, too.
    pub(crate) fn destroy(&self) -> Result<()> {
        for path in [&self.key, &self.image] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("remove", path, error)),
                _ => {}
            }
        }
        sync(self.image.parent().unwrap_or(Path::new("/")))
    }

    /// Runs a program that is told paths only, never a key.
    #[expect(clippy::disallowed_methods, reason = "cryptsetup and mkfs are programs, and are waited for")]
    fn tool<'a>(&self, program: &'static str, words: impl IntoIterator<Item = &'a OsStr>) -> Result<()> {
        let output = Command::new(program).args(words).stdin(Stdio::null()).output();
        let failed = |message: String| Error::Encryption { id: self.id.to_string(), program, message };
        let output = output.map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr[output.stderr.len().saturating_sub(OUTPUT_BYTES_MAX)..]);
        Err(failed(format!("{}: {}", output.status, said.trim())))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn luks(folder: &Path) -> Luks {
        Luks::new(&Id::new("pvc-1").unwrap(), &folder.join("images"), &folder.join("keys"))
    }

    #[test]
    fn a_key_is_made_once_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let luks = luks(folder.path());
        luks.make_key().unwrap();
        let first = fs::read(&luks.key).unwrap();
        luks.make_key().unwrap();
        assert_eq!(fs::read(&luks.key).unwrap(), first);
        assert!(first.len() == KEY_BYTES && first.iter().any(|byte| *byte != first[0]));
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&luks.key), mode(&folder.path().join("keys"))), (0o600, 0o700));
    }

    #[test]
    fn destroying_takes_the_key_and_may_be_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let luks = luks(folder.path());
        fs::create_dir(folder.path().join("images")).unwrap();
        fs::write(&luks.image, "container").unwrap();
        luks.make_key().unwrap();
        luks.destroy().unwrap();
        luks.destroy().unwrap();
        assert!(!luks.key.exists() && !luks.image.exists());
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        // Below a file nothing can be looked for: the answer is an error, not "not there".
        for name in ["images", "keys"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let luks = luks(folder.path());
        let owner = Ownership { uid: 0, gid: 0, mode: 0o750 };
        assert!(matches!(luks.make(1, owner, folder.path()), Err(Error::Io { action: "inspect", .. })));
        assert!(matches!(luks.make_key(), Err(Error::Io { action: "inspect", .. })));
    }

    #[test]
    fn a_program_that_fails_is_named_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let error = luks(folder.path()).tool("cryptsetup", ["isLuks", "/dev/null"].map(OsStr::new)).unwrap_err();
        assert!(matches!(&error, Error::Encryption { program: "cryptsetup", id, .. } if id == "pvc-1"), "{error}");
    }
}
