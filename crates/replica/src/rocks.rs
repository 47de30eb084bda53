//! RocksDB: one database, column families for log, meta and state, one write-ahead log under all of them.
//!
//! Because there is one write-ahead log, what survives a crash is a prefix of what was written, over all column
//! families: a state never survives without the log entries it came from.

use std::fs::{File, TryLockError};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use keyspace::{Batch, Direction, Engine, EngineError, Table, View, Visit};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, ErrorKind,
    LogLevel, Options, ReadOptions, Snapshot, WriteBatch,
};

use tokio::sync::watch;

use crate::Error;
use crate::config::RESERVED_BYTES;

/// Column family of log entries: index (big-endian) to entry.
pub(crate) const LOG: &str = "log";
/// Column family of the vote, the identity and the like.
pub(crate) const META: &str = "meta";
/// Column family of the state machine: table number and key to value.
pub(crate) const STATE: &str = "state";

/// Memory for blocks read from disk, indexes and filters included.
const BLOCK_CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Memory for writes not yet in a table file, for each of log and state (twice that while one is being written out).
const WRITE_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Memory for writes of the meta family, of which there are few.
const META_BUFFER_BYTES: usize = 256 * 1024;
/// Write-ahead log kept before old parts of it are forced into tables; read again at start.
const MAX_WAL_BYTES: u64 = 16 * 1024 * 1024;
/// Open table files.
const MAX_OPEN_FILES: i32 = 256;
/// Bits for each key in the filters.
const FILTER_BITS: f64 = 10.0;

/// The database of one replica. It holds the lock of the directory as long as it is open.
#[derive(Debug)]
pub(crate) struct Rocks {
    db: DB,
    dir: PathBuf,
    /// The first failure of the storage: Raft stops at one and only says that it stopped.
    fault: OnceLock<EngineError>,
    // Fields are dropped in order: the database is closed, then the lock released, then that is told.
    _lock: File,
    closed: watch::Sender<()>,
}

impl Rocks {
    /// Opens or makes the database in `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let lock = lock(dir)?;
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_max_open_files(MAX_OPEN_FILES);
        options.set_max_total_wal_size(MAX_WAL_BYTES);
        options.set_max_background_jobs(2);
        options.set_keep_log_file_num(2);
        options.set_log_level(LogLevel::Warn);
        options.set_skip_stats_update_on_db_open(true);
        // An end cut short by a crash is fine, any other damage of the write-ahead log is not: the mode that
        // "repairs" it would drop acknowledged writes without a word.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        // RocksDB always has the default family; unnamed here it would have large buffers.
        let sizes = [WRITE_BUFFER_BYTES, META_BUFFER_BYTES, WRITE_BUFFER_BYTES, META_BUFFER_BYTES];
        let families = [LOG, META, STATE, rocksdb::DEFAULT_COLUMN_FAMILY_NAME]
            .into_iter()
            .zip(sizes)
            .map(|(name, buffer)| ColumnFamilyDescriptor::new(name, family_options(&cache, buffer)));
        let path = dir.join("db");
        let db = DB::open_cf_descriptors(&options, &path, families).map_err(|error| {
            let source = match error.kind() {
                ErrorKind::Corruption => {
                    EngineError::Corrupt { what: format!("database {}", path.display()), detail: error.into_string() }
                }
                _ => io_error(dir, "open the database", error),
            };
            Error::Storage { dir: dir.to_owned(), source }
        })?;
        Ok(Rocks { db, dir: dir.to_owned(), fault: OnceLock::new(), _lock: lock, closed: watch::Sender::new(()) })
    }

    /// Its `changed` fails once the database is closed and the directory free.
    pub(crate) fn closed(&self) -> watch::Receiver<()> {
        self.closed.subscribe()
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn db(&self) -> &DB {
        &self.db
    }

    pub(crate) fn family(&self, name: &'static str) -> Result<&ColumnFamily, EngineError> {
        self.db.cf_handle(name).ok_or_else(|| corrupt(format!("column family {name}"), "missing"))
    }

    /// Reads a value and checks it.
    pub(crate) fn get(&self, family: &'static str, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let found = self.db.get_pinned_cf(self.family(family)?, key);
        let found = found.map_err(|error| self.read_error(family, key, error))?;
        found.map(|framed| unframe(family, key, &framed).map(Bytes::copy_from_slice)).transpose()
    }

    /// Writes a batch. It is durable after the next [`Rocks::sync`].
    pub(crate) fn write(&self, operation: &'static str, batch: WriteBatch) -> Result<(), EngineError> {
        self.db.write(batch).map_err(|error| self.fail(io_error(&self.dir, operation, error)))
    }

    /// Makes everything written before durable.
    pub(crate) fn sync(&self) -> Result<(), EngineError> {
        self.db.flush_wal(true).map_err(|error| self.fail(io_error(&self.dir, "sync the write-ahead log", error)))
    }

    /// Remembers the first failure, and gives it back.
    pub(crate) fn fail(&self, error: EngineError) -> EngineError {
        tracing::error!(error = &error as &dyn std::error::Error, "keyspace storage failed");
        let _ = self.fault.set(error.clone());
        error
    }

    /// The first failure there was.
    pub(crate) fn fault(&self) -> Option<&EngineError> {
        self.fault.get()
    }

    /// An error unless there is more than the reserve free.
    pub(crate) fn require_room(&self) -> Result<(), EngineError> {
        match free_bytes(&self.dir) {
            Some(free) if free < RESERVED_BYTES => {
                let detail =
                    format!("{free} bytes free in {}, {RESERVED_BYTES} are kept in reserve", self.dir.display());
                Err(EngineError::NoSpace { operation: "write", source: Arc::new(std::io::Error::other(detail)) })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn read_error(&self, family: &str, key: &[u8], error: rocksdb::Error) -> EngineError {
        match error.kind() {
            ErrorKind::Corruption => corrupt(record_name(family, key), error.into_string()),
            _ => io_error(&self.dir, "read", error),
        }
    }
}

fn family_options(cache: &Cache, buffer: usize) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_bloom_filter(FILTER_BITS, false);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(buffer);
    options.set_max_write_buffer_number(2);
    options.set_compression_type(DBCompressionType::Lz4);
    options
}

/// Takes the directory for this process.
fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join("lock");
    let unusable = |source| Error::Directory { dir: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

/// Free bytes for this user under `dir`, if that can be told.
fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(dir).ok()?;
    Some(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

/// RocksDB tells a full disk only by its message, so the disk is asked.
fn io_error(dir: &Path, operation: &'static str, error: rocksdb::Error) -> EngineError {
    let full = error.kind() == ErrorKind::IOError && free_bytes(dir).is_some_and(|free| free < RESERVED_BYTES);
    let source = Arc::new(error);
    if full { EngineError::NoSpace { operation, source } } else { EngineError::Io { operation, source } }
}

pub(crate) fn corrupt(what: impl Into<String>, detail: impl ToString) -> EngineError {
    EngineError::Corrupt { what: what.into(), detail: detail.to_string() }
}

/// A record for people: which one is damaged.
fn record_name(family: &str, key: &[u8]) -> String {
    match (family, key) {
        (STATE, [table, key @ ..]) => {
            let table = Table::ALL.get(usize::from(*table)).map_or("unknown".into(), |table| format!("{table:?}"));
            format!("record {} of table {table}", key.escape_ascii())
        }
        (LOG, key) => match key.try_into() {
            Ok(index) => format!("log entry {}", u64::from_be_bytes(index)),
            Err(_) => format!("log entry with key {}", key.escape_ascii()),
        },
        (family, key) => format!("record {} of {family}", key.escape_ascii()),
    }
}

const CHECKSUM_BYTES: usize = 4;

fn checksum(family: &str, key: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(family.as_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().to_le_bytes()
}

/// A value with the checksum of its place and itself.
pub(crate) fn frame(family: &str, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(value.len() + CHECKSUM_BYTES);
    framed.extend_from_slice(value);
    framed.extend_from_slice(&checksum(family, key, value));
    framed
}

/// The value, if it is the one that was written at this place.
pub(crate) fn unframe<'a>(family: &str, key: &[u8], framed: &'a [u8]) -> Result<&'a [u8], EngineError> {
    match framed.split_last_chunk::<CHECKSUM_BYTES>() {
        Some((value, sum)) if *sum == checksum(family, key, value) => Ok(value),
        Some(_) => Err(corrupt(record_name(family, key), "its checksum does not match")),
        None => Err(corrupt(record_name(family, key), "shorter than its checksum")),
    }
}

/// The state machine's tables in RocksDB.
#[derive(Clone, Debug)]
pub struct RocksEngine {
    rocks: Arc<Rocks>,
}

impl RocksEngine {
    pub(crate) fn new(rocks: Arc<Rocks>) -> Self {
        RocksEngine { rocks }
    }

    pub(crate) fn rocks(&self) -> &Arc<Rocks> {
        &self.rocks
    }

    /// Adds the removal of all tables to `batch`.
    pub(crate) fn clear(&self, batch: &mut WriteBatch) -> Result<(), EngineError> {
        batch.delete_range_cf(self.rocks.family(STATE)?, [0u8], [u8::MAX]);
        Ok(())
    }

    /// Adds a record to `batch`.
    pub(crate) fn put(&self, batch: &mut WriteBatch, table: u8, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        let place = [&[table], key].concat();
        batch.put_cf(self.rocks.family(STATE)?, &place, frame(STATE, &place, value));
        Ok(())
    }
}

impl Engine for RocksEngine {
    type View<'a> = RocksView<'a>;

    fn view(&self) -> RocksView<'_> {
        RocksView { rocks: &self.rocks, snapshot: self.rocks.db.snapshot() }
    }

    fn write(&self, batch: Batch) -> Result<(), EngineError> {
        if batch.writes.is_empty() {
            return Ok(());
        }
        let mut writes = WriteBatch::default();
        for (table, key, value) in batch.writes {
            match value {
                Some(value) => self.put(&mut writes, table as u8, &key, &value)?,
                None => writes.delete_cf(self.rocks.family(STATE)?, [&[table as u8], &key[..]].concat()),
            }
        }
        self.rocks.write("apply to the state", writes)
    }

    fn size_bytes(&self) -> Result<u64, EngineError> {
        let mut size = 0;
        for property in ["rocksdb.total-sst-files-size", "rocksdb.cur-size-all-mem-tables"] {
            let found = self.rocks.db.property_int_value_cf(self.rocks.family(STATE)?, property);
            size += found.map_err(|error| io_error(&self.rocks.dir, "ask for the size", error))?.unwrap_or(0);
        }
        Ok(size)
    }
}

/// A consistent view of the state machine's tables.
pub struct RocksView<'a> {
    rocks: &'a Rocks,
    snapshot: Snapshot<'a>,
}

impl std::fmt::Debug for RocksView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksView").field("dir", &self.rocks.dir).finish_non_exhaustive()
    }
}

impl View for RocksView<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let place = [&[table as u8], key].concat();
        let found = self.snapshot.get_pinned_cf(self.rocks.family(STATE)?, &place);
        let found = found.map_err(|error| self.rocks.read_error(STATE, &place, error))?;
        found.map(|framed| unframe(STATE, &place, &framed).map(Bytes::copy_from_slice)).transpose()
    }

    fn scan(
        &self,
        table: Table,
        lower: &[u8],
        upper: Option<&[u8]>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        if upper.is_some_and(|upper| upper <= lower) {
            return Ok(());
        }
        let table = table as u8;
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound([&[table], lower].concat());
        options.set_iterate_upper_bound(upper.map_or(vec![table + 1], |upper| [&[table], upper].concat()));
        let mut records = self.snapshot.raw_iterator_cf_opt(self.rocks.family(STATE)?, options);
        match direction {
            Direction::Forward => records.seek_to_first(),
            Direction::Reverse => records.seek_to_last(),
        }
        while let Some((place, framed)) = records.item() {
            let value = unframe(STATE, place, framed)?;
            let step = visit(place.get(1..).unwrap_or_default(), value)?;
            if step == ControlFlow::Break(()) {
                return Ok(());
            }
            match direction {
                Direction::Forward => records.next(),
                Direction::Reverse => records.prev(),
            }
        }
        records.status().map_err(|error| self.rocks.read_error(STATE, &[&[table], lower].concat(), error))
    }
}
