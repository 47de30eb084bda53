//! The directory of one container in the run root, shared by shim and daemon.
//!
//! ```text
//!  lock          locked by the shim as long as it lives
//!  record.json   written once the program runs
//!  exit.json     written when it has ended
//!  killed        made by the daemon before it sends SIGKILL
//!  shim.sock     requests
//!  shim.err      what the shim had to say besides (a panic, usually nothing)
//!  rootfs/, upper/, work/
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::container::Exit;
use crate::process::{self, Process};

/// Longest time a shim found without record may take to write one.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a shim that has nothing left to do.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between looks.
const PAUSE: Duration = Duration::from_millis(5);
/// How much of the shim's last words is passed on, in bytes.
const LAST_WORDS_MAX: usize = 2000;

/// What must be known to take over a container. Holds no environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) process: Process,
    pub(crate) shim: Process,
    pub(crate) started_at: Timestamp,
    pub(crate) cgroup: PathBuf,
    /// Directory of the writable layer, when it is not in the run root.
    pub(crate) writable: Option<PathBuf>,
}

/// Paths and files of one container.
#[derive(Clone, Debug)]
pub(crate) struct ShimDir {
    path: PathBuf,
    id: String,
}

impl ShimDir {
    pub(crate) fn new(containers: &Path, id: &str) -> Self {
        Self { path: containers.join(id), id: id.to_owned() }
    }

    /// From the shim's argument.
    pub(crate) fn at(path: PathBuf) -> Option<Self> {
        let id = path.file_name()?.to_str()?.to_owned();
        path.is_absolute().then_some(Self { path, id })
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn stderr(&self) -> PathBuf {
        self.path.join("shim.err")
    }

    /// The end of what the shim wrote to its stderr, on one line.
    pub(crate) fn last_words(&self) -> String {
        let said = fs::read(self.stderr()).unwrap_or_default();
        let tail = said.len().saturating_sub(LAST_WORDS_MAX);
        let said = String::from_utf8_lossy(&said[tail..]).split_whitespace().collect::<Vec<_>>().join(" ");
        if said.is_empty() { "the shim ended without a word".to_owned() } else { format!("the shim ended: {said}") }
    }

    /// Takes the shim's lock for the life of this process.
    pub(crate) fn lock(&self) -> io::Result<Flock<File>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.path.join("lock"))?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error.into())
    }

    /// Whether a shim holds the lock.
    pub(crate) fn locked(&self) -> bool {
        let Ok(file) = File::open(self.path.join("lock")) else {
            return false;
        };
        matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, nix::Error::EWOULDBLOCK)))
    }

    /// Waits until no shim holds the lock.
    pub(crate) fn wait_unlocked(&self) {
        if let Ok(file) = File::open(self.path.join("lock")) {
            // An error here means the lock cannot be waited for; the files then speak for themselves.
            let _ = Flock::lock(file, FlockArg::LockShared);
        }
    }

    /// As [`Self::wait_unlocked`], but not for long.
    pub(crate) fn wait_unlocked_briefly(&self) -> bool {
        wait(END_TIMEOUT, || !self.locked())
    }

    /// Waits until a shim that is just starting a container has got somewhere; whether it has.
    pub(crate) fn settle(&self) -> bool {
        wait(SETTLE_TIMEOUT, || !self.locked() || self.path.join("record.json").exists())
    }

    pub(crate) fn read_record(&self) -> io::Result<Option<Record>> {
        read(&self.path.join("record.json"))
    }

    pub(crate) fn write_record(&self, record: &Record) -> io::Result<()> {
        write(&self.path.join("record.json"), record)
    }

    /// Notes that the SIGKILL which follows is the daemon's, so that it is not taken for the kernel's.
    pub(crate) fn mark_killed(&self) -> io::Result<()> {
        OpenOptions::new().create(true).append(true).open(self.path.join("killed")).map(drop)
    }

    /// Whether the daemon has sent SIGKILL, or was about to.
    pub(crate) fn marked_killed(&self) -> bool {
        self.path.join("killed").exists()
    }

    pub(crate) fn read_exit(&self) -> io::Result<Option<Exit>> {
        read(&self.path.join("exit.json"))
    }

    pub(crate) fn write_exit(&self, exit: &Exit) -> io::Result<()> {
        write(&self.path.join("exit.json"), exit)
    }

    /// Connects to the shim. Through a descriptor of the directory, because socket addresses are
    /// limited to 107 bytes (unix(7)) and run roots are not.
    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        let directory: OwnedFd = File::open(&self.path)?.into();
        UnixStream::connect(format!("/proc/self/fd/{}/shim.sock", directory.as_fd().as_raw_fd()))
    }
}

fn wait(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !done() {
        if Instant::now() > deadline {
            return false;
        }
        process::pause(PAUSE);
    }
    true
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whole or not at all. The run root is memory, so there is nothing to flush.
fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    // Two daemons may find the same lost container; each writes a file of its own.
    static WRITTEN: AtomicU32 = AtomicU32::new(0);
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let next = path.with_extension(format!("{}-{number}", std::process::id()));
    fs::write(&next, serde_json::to_vec(value)?)?;
    fs::rename(&next, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_tells_who_lives() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let dir = ShimDir::new(root.path(), "c");
        fs::create_dir(dir.path())?;
        assert!(!dir.locked());
        let held = dir.lock()?;
        assert!(dir.locked());
        assert!(dir.lock().is_err());
        drop(held);
        assert!(!dir.locked());
        dir.wait_unlocked();
        Ok(())
    }

    #[test]
    fn torn_record_is_an_error_and_a_missing_one_is_none() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let dir = ShimDir::new(root.path(), "c");
        fs::create_dir(dir.path())?;
        assert_eq!(dir.read_record()?, None);
        fs::write(dir.path().join("record.json"), b"{\"id\":")?;
        assert!(dir.read_record().is_err());
        Ok(())
    }
}
