//! A laboratory: guests, the switch between them, and one folder for everything they leave behind.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::{
    accelerator::Accelerator,
    error::{Error, Result, file},
    guest::Guest,
    machine::Spec,
    switch::{Rule, Switch},
};

/// Guests of one laboratory, so that each has hardware addresses of its own.
const GUESTS_MAX: usize = 200;

/// Guests and their network. Dropping it ends them all.
#[derive(Debug)]
pub struct Lab {
    name: String,
    accelerator: Accelerator,
    artifacts: PathBuf,
    guests: Mutex<BTreeMap<String, Arc<Guest>>>,
    switch: Switch,
    sockets: TempDir,
    begin: Instant,
}

impl Lab {
    /// An empty laboratory whose logs, disks and result go to `artifacts`.
    ///
    /// # Errors
    /// When folders cannot be made.
    pub fn new(name: &str, artifacts: &Path, accelerator: Accelerator) -> Result<Self> {
        fs::create_dir_all(artifacts).map_err(file("make", artifacts))?;
        let sockets = tempfile::Builder::new().prefix("vmtest-").tempdir();
        let sockets = sockets.map_err(file("make a folder for sockets in", std::env::temp_dir()))?;
        let switch = Switch::new(sockets.path(), 1);
        let (name, artifacts, guests) = (name.to_owned(), artifacts.to_owned(), Mutex::default());
        Ok(Self { name, accelerator, artifacts, guests, switch, sockets, begin: Instant::now() })
    }

    /// How guests run.
    #[must_use]
    pub fn accelerator(&self) -> Accelerator {
        self.accelerator
    }

    /// Adds a guest; it is off.
    ///
    /// # Errors
    /// When the name is taken or no name, or disks cannot be made.
    pub fn add(&self, spec: Spec) -> Result<Arc<Guest>> {
        let name = spec.name.clone();
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 32 || !name.bytes().all(plain) {
            return Err(Error::Request(format!("{name:?} is no host name: use a-z, 0-9 and -, at most 32")));
        }
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        if guests.contains_key(&name) || guests.len() == GUESTS_MAX {
            return Err(Error::Request(format!("there is a guest {name} already, or there are too many")));
        }
        let plug = spec.address.as_ref().map(|_| self.switch.plug(&name)).transpose()?;
        let number = u8::try_from(guests.len() + 1).unwrap_or(u8::MAX);
        let folder = self.artifacts.join(&name);
        let guest = Arc::new(Guest::new(spec, number, plug, self.accelerator, self.sockets.path(), folder)?);
        guests.insert(name, guest.clone());
        Ok(guest)
    }

    /// A guest by name.
    ///
    /// # Errors
    /// When there is none.
    pub fn guest(&self, name: &str) -> Result<Arc<Guest>> {
        let guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.get(name).cloned().ok_or_else(|| Error::Request(format!("there is no guest {name}")))
    }

    /// Sets what happens between two guests.
    ///
    /// # Errors
    /// When one is not on the network.
    pub fn set_rule(&self, one: &str, other: &str, rule: Rule) -> Result<()> {
        self.switch.set_rule(one, other, rule)
    }

    /// Writes `result.json` and ends all guests. Disks of a success are removed; those of a failure are kept.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(&self, success: bool, error: Option<&str>, facts: &Map<String, Value>) -> Result<Value> {
        let guests = std::mem::take(&mut *self.guests.lock().unwrap_or_else(PoisonError::into_inner));
        let boots: Map<String, Value> =
            guests.iter().map(|(name, guest)| (name.clone(), json!(guest.boots()))).collect();
        let result = json!({
            "proof": self.name,
            "success": success,
            "error": error,
            "accelerator": self.accelerator,
            "seconds": self.begin.elapsed().as_secs_f64(),
            "boot_seconds": boots,
            "facts": facts,
        });
        for guest in guests.values() {
            // One that is off needs nothing.
            let _ = guest.power_cut();
            if success {
                remove_disks(guest)?;
            }
        }
        // Requests that still wait hold the laboratory: its folder would stay when the process ends.
        let _ = fs::remove_dir_all(self.sockets.path());
        let path = self.artifacts.join("result.json");
        fs::write(&path, format!("{result:#}\n")).map_err(file("write", path))?;
        Ok(result)
    }
}

fn remove_disks(guest: &Guest) -> Result<()> {
    for disk in guest.disks().iter().filter(|disk| !disk.readonly) {
        fs::remove_file(&disk.path).map_err(file("remove", &disk.path))?;
    }
    Ok(())
}
