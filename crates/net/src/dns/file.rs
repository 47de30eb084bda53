//! The zones as a file: the server replaces it, the helper reads it again when it was replaced.

use std::{
    collections::BTreeMap,
    fs, io,
    net::Ipv4Addr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::zone::{Srv, Zone};
use crate::{Error, Result};

/// Readable by the helper, which is not root; what it says is told to everybody who asks.
const MODE: u32 = 0o644;
/// Largest file read, far above what a node's services need.
const MAX_BYTES: u64 = 64 << 20;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Document {
    serial: u32,
    origins: Vec<String>,
    names: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Entry {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<Ipv4Addr>,
    /// Port and name of each service record.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    services: Vec<(u16, String)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pointers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    texts: Vec<String>,
}

impl Document {
    fn of(zone: &Zone) -> Self {
        let names = zone.names.iter().map(|(name, records)| {
            let services = records.services.iter().map(|Srv { port, target }| (*port, target.to_ascii())).collect();
            let pointers = records.pointers.iter().map(|target| target.to_ascii()).collect();
            let (addresses, texts) = (records.addresses.clone(), records.texts.clone());
            (name.to_ascii(), Entry { addresses, services, pointers, texts })
        });
        let origins = zone.origins.iter().map(|origin| origin.to_ascii()).collect();
        Self { serial: zone.serial, origins, names: names.collect() }
    }

    fn zone(&self) -> Result<Zone> {
        let mut zone = Zone::new(self.origins.iter().map(String::as_str))?;
        zone.serial = self.serial;
        for (name, entry) in &self.names {
            entry.addresses.iter().try_for_each(|address| zone.insert(name, *address))?;
            entry.services.iter().try_for_each(|(port, target)| zone.insert_srv(name, *port, target))?;
            entry.pointers.iter().try_for_each(|target| zone.insert_pointer(name, target))?;
            entry.texts.iter().try_for_each(|text| zone.insert_txt(name, text))?;
        }
        Ok(zone)
    }
}

fn read(path: &Path) -> io::Result<Document> {
    if fs::metadata(path)?.len() > MAX_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// Makes the file say `zone`, with the next serial; whether anything had to be written.
pub(super) fn publish(path: &Path, zone: &Zone) -> Result<bool> {
    let mut next = Document::of(zone);
    if let Ok(now) = read(path) {
        next.serial = now.serial;
        if now == next {
            return Ok(false);
        }
        next.serial = now.serial.wrapping_add(1);
    }
    let unfinished = path.with_extension("tmp");
    let written = serde_json::to_vec(&next).map_err(io::Error::from).and_then(|text| {
        fs::write(&unfinished, text)?;
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(MODE))?;
        fs::rename(&unfinished, path)
    });
    written.map_err(|source| Error::File { action: "write", path: path.to_owned(), source })?;
    Ok(true)
}

/// What tells one version of the file from the next: a rename brings another inode, or a later time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    changed: (i64, i64),
    length: u64,
}

/// The zones of a file, read again when it was replaced.
#[derive(Debug)]
pub(super) struct ZoneFile {
    path: PathBuf,
    seen: Mutex<(Option<Stamp>, Arc<Zone>)>,
}

impl ZoneFile {
    /// Nothing is read yet; a file that comes later is as good.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, seen: Mutex::default() }
    }

    /// The zones as the file says now; as it said last when it is missing or broken. One stat(2) when nothing changed.
    pub(super) fn load(&self) -> Arc<Zone> {
        let mut seen = self.seen.lock();
        let Ok(meta) = fs::metadata(&self.path) else { return Arc::clone(&seen.1) };
        let stamp = Stamp { inode: meta.ino(), changed: (meta.mtime(), meta.mtime_nsec()), length: meta.len() };
        if seen.0 != Some(stamp) {
            seen.0 = Some(stamp);
            let document = read(&self.path).map_err(|error| error.to_string());
            match document.and_then(|document| document.zone().map_err(|error| error.to_string())) {
                Ok(zone) => seen.1 = Arc::new(zone),
                Err(error) => tracing::error!(path = %self.path.display(), error, "names are served as they were"),
            }
        }
        Arc::clone(&seen.1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zone(names: &[(String, [u8; 4], u16)]) -> Zone {
        let mut zone = Zone::new(["cluster.local", "nanocloud.local"]).unwrap();
        zone.add_reverse("0.0.0.0/1".parse().unwrap()).unwrap();
        zone.add_reverse("128.0.0.0/1".parse().unwrap()).unwrap();
        for (label, address, port) in names {
            let full = format!("{label}.default.svc.cluster.local");
            zone.insert(&full, Ipv4Addr::from(*address)).unwrap();
            zone.insert_srv(&format!("_x._tcp.{full}"), *port, &full).unwrap();
            zone.insert_ptr(Ipv4Addr::from(*address), &full).unwrap();
            zone.insert_txt(&full, label).unwrap();
        }
        zone
    }

    proptest! {
        #[test]
        fn what_is_published_is_what_is_read(
            names in prop::collection::vec(("[a-z]([a-z0-9-]{0,20}[a-z0-9])?", any::<[u8; 4]>(), any::<u16>()), 0..20),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("zone.json");
            let zone = zone(&names);
            prop_assert!(publish(&path, &zone).unwrap());
            prop_assert_eq!(&*ZoneFile::new(path.clone()).load(), &zone);
            prop_assert!(!publish(&path, &zone).unwrap(), "the same names are not written twice");
        }
    }

    /// Kubernetes allows any label of letters, digits and hyphens; what it would mean in Punycode is of no account.
    #[test]
    fn names_that_look_like_punycode_are_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zone.json");
        let zone =
            zone(&["xn--218-7n", "xn--bcher-kva", "xn--a", "ab--c"].map(|label| (label.into(), [10, 0, 0, 1], 80)));
        assert!(publish(&path, &zone).unwrap());
        assert_eq!(*ZoneFile::new(path).load(), zone);
    }

    #[test]
    fn a_replaced_file_is_read_again_and_a_broken_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zone.json");
        let file = ZoneFile::new(path.clone());
        assert!(file.load().is_empty(), "no file yet");
        // Replaced as fast as possible: times may be equal, so something else must tell the versions apart.
        for round in 0..50_u8 {
            publish(&path, &zone(&[("web".into(), [10, 0, 0, round], 80)])).unwrap();
            let loaded = file.load();
            assert_eq!(loaded.serial, u32::from(round));
            assert!(loaded.names.values().any(|records| records.addresses == [Ipv4Addr::new(10, 0, 0, round)]));
        }
        fs::write(&path, "{").unwrap();
        assert_eq!(file.load().len(), 3);
        fs::remove_file(&path).unwrap();
        assert_eq!(file.load().len(), 3);
        assert!(publish(&path, &zone(&[])).unwrap());
        assert!(file.load().is_empty());
    }
}
