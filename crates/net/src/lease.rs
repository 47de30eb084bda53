//! Durable record of who has which address: one file per address.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::{Error, Pool, Result};

/// One leased address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Owner: the attachment id.
    pub id: String,
    /// Host name given at attach, for people reading the record.
    pub hostname: String,
    /// The address; also the file's name.
    pub address: Ipv4Addr,
}

/// All leases of one network; the directory is the truth, the map its cache.
#[derive(Debug)]
pub(crate) struct Leases {
    dir: PathBuf,
    cidr: Ipv4Net,
    pool: Pool,
    by_id: BTreeMap<String, Lease>,
}

impl Leases {
    /// Reads the directory, making it if needed. Unfinished temporary files are removed.
    pub(crate) fn open(dir: PathBuf, cidr: Ipv4Net) -> Result<Self> {
        fs::create_dir_all(&dir).map_err(|source| file("create", &dir, source))?;
        let mut leases = Self { pool: Pool::new(cidr), dir, cidr, by_id: BTreeMap::new() };
        let entries = fs::read_dir(&leases.dir).map_err(|source| file("read", &leases.dir, source))?;
        for entry in entries {
            let path = entry.map_err(|source| file("read", &leases.dir, source))?.path();
            if path.extension().is_some_and(|e| e == "tmp") {
                fs::remove_file(&path).map_err(|source| file("remove", &path, source))?;
                continue;
            }
            let bytes = fs::read(&path).map_err(|source| file("read", &path, source))?;
            let lease: Lease =
                serde_json::from_slice(&bytes).map_err(|source| Error::Lease { path: path.clone(), source })?;
            leases.pool.advance_past(lease.address);
            leases.by_id.insert(lease.id.clone(), lease);
        }
        Ok(leases)
    }

    /// All leases in order of id.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Lease> {
        self.by_id.values()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Lease> {
        self.by_id.get(id)
    }

    /// The lease of `id`, made if it has none. The record is durable before this returns.
    pub(crate) fn assign(&mut self, id: &str, hostname: &str) -> Result<Lease> {
        if let Some(lease) = self.by_id.get(id) {
            return Ok(lease.clone());
        }
        let mut taken: BTreeSet<Ipv4Addr> = self.by_id.values().map(|l| l.address).collect();
        loop {
            let Some(address) = self.pool.next(&taken) else {
                return Err(Error::Exhausted { cidr: self.cidr, used: taken.len() });
            };
            let lease = Lease { id: id.to_owned(), hostname: hostname.to_owned(), address };
            match self.write(&lease) {
                Ok(()) => {
                    self.by_id.insert(id.to_owned(), lease.clone());
                    return Ok(lease);
                }
                // Another process of the same directory was faster.
                Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                    taken.insert(address);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes the lease of `id`, if any.
    pub(crate) fn release(&mut self, id: &str) -> Result<()> {
        let Some(lease) = self.by_id.get(id) else { return Ok(()) };
        let path = self.dir.join(lease.address.to_string());
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(file("remove", &path, source)),
            _ => {
                self.by_id.remove(id);
                Ok(())
            }
        }
    }

    /// Writes to a temporary file, syncs, and links it to its final name: content and name appear together, and
    /// linking fails if the address is taken.
    fn write(&self, lease: &Lease) -> Result<()> {
        let path = self.dir.join(lease.address.to_string());
        let temporary = self.dir.join(format!("{}.{}.tmp", lease.address, std::process::id()));
        let result = (|| {
            let bytes = serde_json::to_vec(lease)?;
            let mut out = fs::File::create(&temporary)?;
            io::Write::write_all(&mut out, &bytes)?;
            out.sync_all()?;
            fs::hard_link(&temporary, &path)?;
            fs::File::open(&self.dir)?.sync_all()
        })();
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %temporary.display(), %error, "temporary lease file stays until the next start");
            }
            _ => {}
        }
        result.map_err(|source| file("write", &path, source))
    }
}

fn file(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cidr() -> Ipv4Net {
        "10.9.0.0/28".parse().unwrap()
    }

    #[test]
    fn a_lease_survives_reopening_and_is_idempotent() {
        let dir = tempfile::tempdir().unwrap();
        let mut leases = Leases::open(dir.path().join("l"), cidr()).unwrap();
        let first = leases.assign("a", "web").unwrap();
        assert_eq!(leases.assign("a", "web").unwrap(), first);
        drop(leases);
        let mut again = Leases::open(dir.path().join("l"), cidr()).unwrap();
        assert_eq!(again.assign("a", "web").unwrap(), first);
        assert_ne!(again.assign("b", "db").unwrap().address, first.address);
    }

    #[test]
    fn two_openers_of_one_directory_never_share_an_address() {
        let dir = tempfile::tempdir().unwrap();
        let mut one = Leases::open(dir.path().into(), cidr()).unwrap();
        let mut two = Leases::open(dir.path().into(), cidr()).unwrap();
        assert_ne!(one.assign("a", "").unwrap().address, two.assign("b", "").unwrap().address);
    }

    #[test]
    fn a_damaged_lease_is_named_and_an_unfinished_one_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("10.9.0.4.1.tmp"), "{").unwrap();
        Leases::open(dir.path().into(), cidr()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        fs::write(dir.path().join("10.9.0.4"), "{").unwrap();
        assert!(
            matches!(Leases::open(dir.path().into(), cidr()), Err(Error::Lease { path, .. }) if path.ends_with("10.9.0.4"))
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// Any history of assign, release and restart: the files are exactly the leases, without double use.
        #[test]
        fn files_and_leases_agree(steps in prop::collection::vec((0_u8..18, 0_u8..3), 1..60)) {
            let dir = tempfile::tempdir().unwrap();
            let mut leases = Leases::open(dir.path().into(), cidr()).unwrap();
            let mut model: BTreeMap<String, Ipv4Addr> = BTreeMap::new();
            for (who, what) in steps {
                let id = format!("p{who}");
                match what {
                    0 => { leases.release(&id).unwrap(); model.remove(&id); }
                    1 => leases = Leases::open(dir.path().into(), cidr()).unwrap(),
                    _ => match leases.assign(&id, "h") {
                        Ok(lease) => {
                            prop_assert!(model.iter().all(|(o, a)| o == &id || *a != lease.address));
                            let known = model.entry(id).or_insert(lease.address);
                            prop_assert_eq!(*known, lease.address);
                        }
                        Err(Error::Exhausted { used, .. }) => prop_assert_eq!(used, model.len()),
                        Err(other) => panic!("{other}"),
                    },
                }
                let mut on_disk: Vec<String> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
                on_disk.sort();
                let mut wanted: Vec<String> = model.values().map(ToString::to_string).collect();
                wanted.sort();
                prop_assert_eq!(on_disk, wanted);
            }
        }
    }
}
