//! A disk that forgets what was not synced, is slow, fails, and fills up.
//!
//! What is written can be read at once. As RocksDB does, it keeps its write-ahead log in several files. A crash takes the
//! newest of the batches that were not synced from the end of *each* file, how many is chance: the file system may have
//! kept a later file and not the end of the one before. Recovery then drops what comes after the first lost batch, so that
//! what is left is a prefix.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use keyspace::testing::Random;
use keyspace::{Direction, EngineError, Table, Visit, scan_map};
use parking_lot::Mutex;
use replica::disk::{Change, DiskFile, Durable, Family, Records};
use replica::inspect;
use tokio::time::Instant;

use crate::file::{Content, File};
use crate::plant::Plant;
use crate::trace::{Trace, fnv_of};

/// Free bytes of a disk that has room.
const ROOM: u64 = 1 << 40;
/// Longest that reading off the event loop takes, milliseconds.
const READ_MS: u64 = 2;

/// How the disk is at the moment.
#[derive(Clone, Copy, Debug)]
pub struct Mood {
    /// Least time a sync takes, milliseconds.
    pub sync_from_ms: u64,
    /// Most time a sync takes, milliseconds.
    pub sync_to_ms: u64,
    /// Whether the next sync fails.
    pub fail_sync: bool,
    /// Whether there is no room for more.
    pub full: bool,
}

impl Default for Mood {
    fn default() -> Self {
        Mood { sync_from_ms: 1, sync_to_ms: 4, fail_sync: false, full: false }
    }
}

/// Batches in a file of the log, in the mean: so few that a crash often finds several files that are not synced.
const FILE_BATCHES: u64 = 3;

type Map = BTreeMap<Vec<u8>, Bytes>;
type Maps = [Arc<Map>; Family::ALL.len()];

/// Takes one change back.
#[derive(Debug)]
struct Undo {
    family: Family,
    key: Vec<u8>,
    before: Option<Bytes>,
}

/// A batch that is not synced.
#[derive(Debug)]
struct Unsynced {
    /// The file of the log it is in.
    file: u64,
    changes: Vec<Change>,
    undo: Vec<Undo>,
}

/// A state the disk was in: at this log position, with this content.
#[derive(Debug)]
pub struct Landmark {
    /// Log position.
    pub index: u64,
    /// See [`weight`].
    pub hash: u64,
    /// The log as it was then: what is applied may be cut off before anybody looks.
    pub log: View,
}

#[derive(Debug)]
struct State {
    maps: Maps,
    /// Batches not synced, oldest first.
    unsynced: VecDeque<Unsynced>,
    /// The file of the log that is written to.
    file: u64,
    /// Batches synced, since the beginning.
    synced: u64,
    files: BTreeMap<String, Arc<Mutex<Content>>>,
    mood: Mood,
    random: Random,
    /// When the sync under way ends.
    busy_until: Option<Instant>,
    /// Sum of the weights of the state machine's records.
    hash: u64,
    landmarks: Vec<Landmark>,
}

/// The disk of one member, through all its lives.
#[derive(Clone, Debug)]
pub struct Disk {
    name: u64,
    state: Arc<Mutex<State>>,
    trace: Trace,
    plant: Plant,
}

impl Disk {
    /// The empty disk of member `name`.
    pub fn new(name: u64, seed: u64, trace: Trace, plant: Plant) -> Self {
        let state = State {
            maps: Default::default(),
            unsynced: VecDeque::new(),
            file: 0,
            synced: 0,
            files: BTreeMap::new(),
            mood: Mood::default(),
            random: Random::new(seed),
            busy_until: None,
            hash: 0,
            landmarks: Vec::new(),
        };
        Disk { name, state: Arc::new(Mutex::new(state)), trace, plant }
    }

    /// Changes how it is.
    pub fn set(&self, change: impl FnOnce(&mut Mood)) {
        change(&mut self.state.lock().mood);
    }

    /// The power fails: what was not synced is lost, save the beginning of each file; and recovery, as the log has it.
    pub fn crash(&self) {
        let mut state = self.state.lock();
        let prefix = state.survivors().into_iter().take_while(|kept| *kept).count();
        let unsynced = state.take_back();
        let (total, mut survive) = (unsynced.len(), 0);
        for (number, batch) in unsynced.into_iter().enumerate() {
            // The planted recovery replays over a gap, here one where the oldest batch was.
            let recovered = if self.plant == Plant::WalGap { number > 0 } else { number < prefix };
            if recovered {
                batch.changes.into_iter().for_each(|change| state.apply(change, &mut Vec::new()));
                survive += 1;
            }
        }
        state.synced += survive;
        state.file += 1;
        state.busy_until = None;
        state.mood.fail_sync = false;
        for file in state.files.clone().into_values() {
            let unsynced = file.lock().unsynced();
            let kept = state.random.below(unsynced + 1);
            file.lock().crash(unsynced - kept);
        }
        let marked = if survive > 0 { state.mark() } else { Ok(()) };
        drop(state);
        self.trace.say(format_args!(
            "disk {}: power lost, of {total} batches not synced {survive} survive{}",
            self.name,
            if marked.is_err() { ", and the log position cannot be read" } else { "" }
        ));
    }

    /// The states it was in since it was last asked.
    pub fn landmarks(&self) -> Vec<Landmark> {
        std::mem::take(&mut self.state.lock().landmarks)
    }
}

/// The key of the state machine's log position.
const STAMP: &[u8] = b"\0stamp";

/// What a record of the state machine adds to the hash of its state; nothing for what members may have different: their
/// log position, and how far each has swept old history.
pub fn weight(place: &[u8], value: &[u8]) -> u64 {
    let own = [STAMP, b"\0swept"].contains(&place);
    match place.first() {
        _ if own => 0,
        Some(&table) if table == Table::Revisions as u8 || table == Table::History as u8 => 0,
        _ => fnv_of(&[place, value]),
    }
}

/// A value without the checksum behind it.
fn unframed(value: &[u8]) -> &[u8] {
    value.split_last_chunk::<4>().map_or(value, |(value, _)| value)
}

impl State {
    fn set(&mut self, family: Family, key: Vec<u8>, value: Option<Bytes>) -> Undo {
        let weigh = |value: &Option<Bytes>| match value {
            Some(value) if family == Family::State => weight(&key, unframed(value)),
            _ => 0,
        };
        let added = weigh(&value);
        let map = Arc::make_mut(&mut self.maps[family as usize]);
        let before = match value {
            Some(value) => map.insert(key.clone(), value),
            None => map.remove(&key),
        };
        self.hash = self.hash.wrapping_add(added).wrapping_sub(weigh(&before));
        Undo { family, key, before }
    }

    fn apply(&mut self, change: Change, undo: &mut Vec<Undo>) {
        match change {
            Change::Put { family, key, value } => undo.push(self.set(family, key, Some(value.into()))),
            Change::Delete { family, key } => undo.push(self.set(family, key, None)),
            Change::DeleteRange { family, from, to } => {
                let keys: Vec<Vec<u8>> =
                    self.maps[family as usize].range(from..to).map(|(key, _)| key.clone()).collect();
                undo.extend(keys.into_iter().map(|key| self.set(family, key, None)));
            }
        }
    }

    /// Which of the batches that are not synced the file system has kept.
    fn survivors(&mut self) -> Vec<bool> {
        let files: Vec<u64> = self.unsynced.iter().map(|batch| batch.file).collect();
        let mut kept = Vec::with_capacity(files.len());
        for file in files.chunk_by(|a, b| a == b) {
            let survive = self.random.below(file.len() as u64 + 1) as usize;
            kept.extend((0..file.len()).map(|number| number < survive));
        }
        kept
    }

    /// Takes back everything that is not synced; what it was, oldest first.
    fn take_back(&mut self) -> Vec<Unsynced> {
        let mut taken: Vec<Unsynced> = std::mem::take(&mut self.unsynced).into();
        for batch in taken.iter_mut().rev() {
            for undo in std::mem::take(&mut batch.undo).into_iter().rev() {
                self.set(undo.family, undo.key, undo.before);
            }
        }
        taken
    }

    fn mark(&mut self) -> Result<(), EngineError> {
        let view = View(self.maps.clone());
        if inspect::installing(&view)? {
            return Ok(());
        }
        if let Some(stamp) = view.get(Family::State, STAMP)? {
            let mut log = View(Maps::default());
            log.0[Family::Log as usize] = self.maps[Family::Log as usize].clone();
            self.landmarks.push(Landmark { index: inspect::position(unframed(&stamp))?, hash: self.hash, log });
        }
        Ok(())
    }

    fn sync_to(&mut self, batch: u64) {
        while self.synced < batch && self.unsynced.pop_front().is_some() {
            self.synced += 1;
        }
    }

    fn sync_now(&mut self) -> Result<(), EngineError> {
        if std::mem::take(&mut self.mood.fail_sync) {
            return Err(failed("sync", io::Error::other("the disk failed a sync")));
        }
        self.sync_to(u64::MAX);
        Ok(())
    }
}

fn failed(operation: &'static str, error: io::Error) -> EngineError {
    EngineError::Io { operation, source: Arc::new(error) }
}

/// The records of a disk at one moment.
#[derive(Debug)]
pub struct View(Maps);

impl Records for View {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.0[family as usize].get(key).cloned())
    }

    fn scan(
        &self,
        family: Family,
        lower: &[u8],
        upper: Option<&[u8]>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        scan_map(&self.0[family as usize], lower, upper, direction, visit)
    }
}

impl replica::disk::Disk for Disk {
    fn view(&self) -> Box<dyn Records + '_> {
        Box::new(View(self.state.lock().maps.clone()))
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.state.lock().maps[family as usize].get(key).cloned())
    }

    fn write(&self, operation: &'static str, batch: Vec<Change>) -> Result<(), EngineError> {
        let (bytes, stamped) = batch.iter().fold((0, false), |(bytes, stamped), change| match change {
            Change::Put { family, key, value } => {
                let stamps = *family == Family::State && key == STAMP;
                (bytes ^ fnv_of(&[family.name().as_bytes(), key, value]), stamped || stamps)
            }
            Change::Delete { family, key } | Change::DeleteRange { family, from: key, .. } => {
                (bytes ^ fnv_of(&[family.name().as_bytes(), key]), stamped || *family == Family::Meta)
            }
        });
        self.trace.count(fnv_of(&[&self.name.to_le_bytes(), operation.as_bytes(), &bytes.to_le_bytes()]));
        let mut state = self.state.lock();
        let mut undo = Vec::new();
        for change in &batch {
            state.apply(change.clone(), &mut undo);
        }
        if state.random.one_in(FILE_BATCHES) {
            state.file += 1;
        }
        let file = state.file;
        state.unsynced.push_back(Unsynced { file, changes: batch, undo });
        if stamped { state.mark() } else { Ok(()) }
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.state.lock().sync_now()
    }

    fn sync_then(&self, done: Durable) {
        if self.plant == Plant::LyingDisk {
            return done(Ok(()));
        }
        let (ends, upto, fails) = {
            let mut state = self.state.lock();
            let Mood { sync_from_ms, sync_to_ms, .. } = state.mood;
            let takes = Duration::from_millis(sync_from_ms + state.random.below(sync_to_ms - sync_from_ms + 1));
            let now = Instant::now();
            let ends = state.busy_until.unwrap_or(now).max(now) + takes;
            state.busy_until = Some(ends);
            let upto = state.synced + state.unsynced.len() as u64;
            (ends, upto, std::mem::take(&mut state.mood.fail_sync))
        };
        let state = self.state.clone();
        // It ends with the member's runtime: nobody is told of a sync that a crash interrupted.
        #[expect(clippy::disallowed_methods, reason = "ends with the member's runtime, as the simulated machine does")]
        tokio::spawn(async move {
            tokio::time::sleep_until(ends).await;
            if fails {
                return done(Err(failed("sync", io::Error::other("the disk failed a sync"))));
            }
            state.lock().sync_to(upto);
            done(Ok(()));
        });
    }

    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        let takes = Duration::from_millis(self.state.lock().random.below(READ_MS + 1));
        #[expect(clippy::disallowed_methods, reason = "ends with the member's runtime, as the simulated machine does")]
        tokio::spawn(async move {
            tokio::time::sleep(takes).await;
            work();
        });
    }

    fn size_bytes(&self, family: Family) -> Result<u64, EngineError> {
        let maps = self.state.lock().maps.clone();
        Ok(maps[family as usize].iter().map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }

    fn free_bytes(&self) -> Option<u64> {
        Some(if self.state.lock().mood.full { 0 } else { ROOM })
    }

    fn create_file(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let content = Arc::<Mutex<Content>>::default();
        self.state.lock().files.insert(name.into(), content.clone());
        Ok(Box::new(File::new(content)))
    }

    fn open_file(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let content = self.state.lock().files.get(name).cloned();
        Ok(Box::new(File::new(content.ok_or(io::ErrorKind::NotFound)?)))
    }

    fn rename_file(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let content = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(to.into(), content);
        Ok(())
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        let removed = self.state.lock().files.remove(name);
        removed.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
