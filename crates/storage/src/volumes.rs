//! The volumes of a node.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{
    Error, Id, Ownership, Result, Volume,
    files::{exists, sync},
    inventory::Inventory,
    luks::Luks,
    mounts,
};

/// Mode of the folders that only the node itself may enter.
const PRIVATE: u32 = 0o700;

/// A volume that is wanted.
#[derive(Clone, Debug)]
pub struct VolumeRequest {
    /// Its id.
    pub id: Id,
    /// Bytes it was asked to hold.
    pub capacity_bytes: u64,
    /// Owner of its root when it is made; an existing volume keeps its own.
    pub ownership: Ownership,
    /// Whether its data are encrypted at rest (LUKS). Such a volume also enforces its capacity.
    pub encrypted: bool,
}

/// A volume made visible to a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Publication {
    /// The pod.
    pub pod: Id,
    /// Name of the volume within the pod.
    pub name: Id,
    /// Where it is mounted on the node.
    pub path: PathBuf,
}

/// The volumes below one root.
#[derive(Debug)]
pub struct Volumes {
    root: PathBuf,
    inventory: Inventory,
    keys: Option<PathBuf>,
    /// Held while an encrypted volume is made, unlocked or locked: one that nobody has yet must not be locked again.
    unlocking: Mutex<()>,
}

impl Volumes {
    /// Opens the root, making it when it is new, and finishes what a crash interrupted.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        for folder in ["volumes", "inventory", "publish", "snapshots", "images"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(|e| Error::io("create", &path, e))?;
            fs::set_permissions(&path, Permissions::from_mode(PRIVATE)).map_err(|e| Error::io("protect", &path, e))?;
        }
        let root = fs::canonicalize(&root).map_err(|e| Error::io("resolve", &root, e))?;
        let inventory = Inventory::open(root.join("inventory"))?;
        let volumes = Self { root, inventory, keys: None, unlocking: Mutex::default() };
        volumes.finish_interrupted()?;
        Ok(volumes)
    }

    /// Names the folder with the keys of encrypted volumes, which is not below the root: whoever copies the one does
    /// not have the other. Finishes the deletions of encrypted volumes that a crash interrupted.
    pub fn with_keys(self, keys: impl Into<PathBuf>) -> Result<Self> {
        let volumes = Self { keys: Some(keys.into()), ..self };
        for volume in volumes.inventory.all()?.iter().filter(|volume| volume.deleting) {
            volumes.finish_deletion(volume)?;
        }
        Ok(volumes)
    }

    fn luks(&self, id: &Id) -> Result<Luks> {
        let keys = self.keys.as_deref().ok_or_else(|| Error::NoKeys { id: id.to_string() })?;
        Ok(Luks::new(id, &self.images(), keys))
    }

    fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// A description without a folder is a creation that did not finish; one that says so is a deletion that did not
    /// finish, as is a folder without a description (of an earlier version).
    fn finish_interrupted(&self) -> Result<()> {
        for volume in self.inventory.all()? {
            match (volume.deleting, volume.encrypted) {
                (false, _) => self.make_folder(&volume)?,
                (true, false) => self.finish_deletion(&volume)?,
                // Needs the folder with the keys.
                (true, true) => {}
            }
        }
        let folder = self.root.join("volumes");
        for name in names(&folder)? {
            if self.inventory.get(&name)?.is_none() {
                remove_tree(&folder.join(name.as_str()))?;
            }
        }
        for name in names(&self.images())? {
            let id = name.as_str().strip_suffix(".new").map_or_else(|| Ok(name.clone()), Id::new)?;
            if self.inventory.get(&id)?.is_none() {
                let path = self.images().join(name.as_str());
                fs::remove_file(&path).map_err(|e| Error::io("remove", path, e))?;
            }
        }
        Ok(())
    }

    /// Where the files of a volume are.
    pub fn path(&self, id: &Id) -> PathBuf {
        self.root.join("volumes").join(id.as_str())
    }

    /// Where a publication is mounted.
    pub fn publication_path(&self, pod: &Id, name: &Id) -> PathBuf {
        self.root.join("publish").join(pod.as_str()).join(name.as_str())
    }

    /// Makes a volume, or confirms that it is there. Fails when it exists with another capacity.
    pub fn create(&self, request: &VolumeRequest) -> Result<Volume> {
        match self.inventory.get(&request.id)? {
            Some(existing) if existing.deleting => self.finish_deletion(&existing)?,
            Some(existing) => {
                confirm(&existing, request)?;
                self.make(&existing)?;
                return Ok(existing);
            }
            None => {}
        }
        let VolumeRequest { id, capacity_bytes, ownership, encrypted } = request.clone();
        let volume = Volume { id, capacity_bytes, ownership, encrypted, deleting: false };
        self.inventory.put(&volume)?;
        self.make(&volume)?;
        Ok(volume)
    }

    fn make(&self, volume: &Volume) -> Result<()> {
        self.make_folder(volume)?;
        if volume.encrypted {
            let _guard = self.unlocking.lock().unwrap_or_else(PoisonError::into_inner);
            self.luks(&volume.id)?.make(volume.capacity_bytes, volume.ownership, &self.path(&volume.id))?;
        }
        Ok(())
    }

    fn make_folder(&self, volume: &Volume) -> Result<()> {
        let path = self.path(&volume.id);
        if exists(&path)? {
            return Ok(());
        }
        // Made aside and renamed, so that a volume is never seen with the wrong owner.
        let aside = self.root.join("inventory").join(format!("{}.new.tmp", volume.id));
        let Ownership { uid, gid, mode } = volume.ownership;
        let made = match fs::create_dir(&aside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        };
        made.and_then(|()| chown(&aside, Some(uid), Some(gid)))
            .and_then(|()| fs::set_permissions(&aside, Permissions::from_mode(mode)))
            .and_then(|()| fs::rename(&aside, &path))
            .map_err(|e| Error::io("create", &path, e))?;
        sync(&self.root.join("volumes"))
    }

    /// Deletes a volume and its files. A missing volume is fine, a published one is an error.
    pub fn delete(&self, id: &Id) -> Result<()> {
        let source = self.path(id);
        let by: Vec<_> = self.holders(&source)?;
        if !by.is_empty() {
            return Err(Error::Busy { id: id.to_string(), by });
        }
        let Some(volume) = self.inventory.get(id)? else {
            remove_tree(&source)?;
            return sync(&self.root.join("volumes"));
        };
        if volume.encrypted {
            // Said before anything is gone.
            self.luks(id)?;
        }
        let volume = Volume { deleting: true, ..volume };
        self.inventory.put(&volume)?;
        self.finish_deletion(&volume)
    }

    /// Removes key and container, then the files, and the description last: it remembers that the rest must go.
    fn finish_deletion(&self, volume: &Volume) -> Result<()> {
        let source = self.path(&volume.id);
        if volume.encrypted {
            let _guard = self.unlocking.lock().unwrap_or_else(PoisonError::into_inner);
            let luks = self.luks(&volume.id)?;
            luks.detach(&source)?;
            luks.destroy()?;
        }
        remove_tree(&source)?;
        sync(&self.root.join("volumes"))?;
        self.inventory.remove(&volume.id)
    }

    /// Mounts a volume for a pod and returns where. Repeating it changes nothing.
    pub fn publish(&self, volume: &Id, pod: &Id, name: &Id, read_only: bool) -> Result<PathBuf> {
        let known = self.inventory.get(volume)?.filter(|known| !known.deleting);
        let known = known.ok_or_else(|| Error::Missing { id: volume.to_string() })?;
        let _guard = known.encrypted.then(|| self.unlocking.lock().unwrap_or_else(PoisonError::into_inner));
        if known.encrypted {
            self.luks(volume)?.attach(&self.path(volume))?;
        }
        let target = self.publication_path(pod, name);
        fs::create_dir_all(&target).map_err(|e| Error::io("create", &target, e))?;
        if mounts::is_mounted(&target)? {
            if same_file(&self.path(volume), &target)? {
                return Ok(target);
            }
            mounts::unmount(&target)?;
        }
        mounts::bind(&self.path(volume), &target, read_only)?;
        Ok(target)
    }

    /// Removes a publication; one that is not there is fine.
    pub fn unpublish(&self, pod: &Id, name: &Id) -> Result<()> {
        let target = self.publication_path(pod, name);
        mounts::unmount(&target)?;
        remove_empty(&target)?;
        remove_empty(&self.root.join("publish").join(pod.as_str()))?;
        self.lock_unused()
    }

    /// Locks encrypted volumes that no pod has.
    fn lock_unused(&self) -> Result<()> {
        let _guard = self.unlocking.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = self.root.join("volumes");
        for point in mounts::below(&folder)? {
            let id = point.strip_prefix(&folder).ok().and_then(|name| Id::new(name.to_string_lossy()).ok());
            if let Some(id) = id
                && self.holders(&point)?.is_empty()
            {
                // Locking needs no key.
                Luks::new(&id, &self.images(), &self.root).detach(&point)?;
            }
        }
        Ok(())
    }

    /// Removes every publication of a pod.
    pub fn unpublish_all(&self, pod: &Id) -> Result<()> {
        let folder = self.root.join("publish").join(pod.as_str());
        for name in names(&folder)? {
            self.unpublish(pod, &name)?;
        }
        remove_empty(&folder)
    }

    /// Whether this root has a volume, even one whose deletion is not finished.
    pub fn holds(&self, id: &Id) -> Result<bool> {
        self.inventory.get(id).map(|known| known.is_some())
    }

    /// Every volume, by id, without those that are being deleted.
    pub fn inventory(&self) -> Result<Vec<Volume>> {
        let mut all = self.inventory.all()?;
        all.retain(|volume| !volume.deleting);
        Ok(all)
    }

    /// Every publication that is mounted, by pod and name.
    pub fn publications(&self) -> Result<Vec<Publication>> {
        let folder = self.root.join("publish");
        let mut found = Vec::new();
        for point in mounts::below(&folder)? {
            let mut parts = point.strip_prefix(&folder).unwrap_or(&point).iter().filter_map(|part| part.to_str());
            if let (Some(pod), Some(name), None) = (parts.next(), parts.next(), parts.next()) {
                found.push(Publication { pod: Id::new(pod)?, name: Id::new(name)?, path: point.clone() });
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// Removes the publications of pods that are not among `known`; returns what it removed.
    pub fn sweep(&self, known: impl Fn(&Id) -> bool) -> Result<Vec<Id>> {
        let mut removed = Vec::new();
        for pod in names(&self.root.join("publish"))? {
            if !known(&pod) {
                self.unpublish_all(&pod)?;
                removed.push(pod);
            }
        }
        Ok(removed)
    }

    /// Removes every mount this root made. The volumes stay.
    pub fn teardown(&self) -> Result<()> {
        self.sweep(|_| false)?;
        self.lock_unused()
    }

    fn holders(&self, source: &Path) -> Result<Vec<String>> {
        if !exists(source)? {
            return Ok(Vec::new());
        }
        let mut by = Vec::new();
        for publication in self.publications()? {
            if same_file(source, &publication.path)? {
                by.push(format!("pod {}", publication.pod));
            }
        }
        Ok(by)
    }
}

/// Fails when a volume is not what is asked for.
fn confirm(existing: &Volume, request: &VolumeRequest) -> Result<()> {
    let differs =
        |field, found: String, wanted: String| Err(Error::Differs { id: request.id.to_string(), field, found, wanted });
    if existing.capacity_bytes != request.capacity_bytes {
        return differs("capacity", existing.capacity_bytes.to_string(), request.capacity_bytes.to_string());
    }
    let kind = |encrypted| String::from(if encrypted { "on" } else { "off" });
    if existing.encrypted != request.encrypted {
        return differs("encryption", kind(existing.encrypted), kind(request.encrypted));
    }
    Ok(())
}

/// The entries of a folder that are ids; a missing folder has none.
fn names(folder: &Path) -> Result<Vec<Id>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| Error::io("list", folder, e))?,
    };
    Ok(entries.flatten().filter_map(|entry| Id::new(entry.file_name().to_string_lossy()).ok()).collect())
}

fn same_file(a: &Path, b: &Path) -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let stat = |path: &Path| fs::metadata(path).map_err(|e| Error::io("inspect", path, e));
    let (a, b) = (stat(a)?, stat(b)?);
    Ok((a.dev(), a.ino()) == (b.dev(), b.ino()))
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// Removes a folder if it is empty: files below a mount point are never ours to delete.
fn remove_empty(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
            Err(Error::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
