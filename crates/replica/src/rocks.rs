//! The disk in production: one RocksDB database, a column family for each [`Family`], and a directory of files.

use std::fs::{File, TryLockError};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use keyspace::{Direction, EngineError, Visit};
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamily, ColumnFamilyDescriptor,
    CompactOptions, DB, DBCompressionType, DBRecoveryMode, ErrorKind, LogLevel, Options, ReadOptions, Snapshot,
    WriteBatch,
};

use crate::Error;
use crate::config::RESERVED_BYTES;
use crate::disk::{AsyncFile, Change, Disk, DiskFile, Durable, Family, Records};
use crate::metrics::Metrics;
use crate::snapshot;
use crate::store::{corrupt, record_name};
use crate::wal::{self, Damage};

/// Memory for blocks read from disk, indexes and filters included.
const BLOCK_CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Memory for writes not yet in a table file, for each of log and state (twice that while one is being written out).
const WRITE_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Table files as they come from memory that are merged into the sorted rest at once: the more, the less often is the
/// rest written anew.
const FILES_TO_MERGE: i32 = 12;
/// Memory for writes of the meta family, of which there are few.
const META_BUFFER_BYTES: usize = 256 * 1024;
/// Write-ahead log kept before old parts of it are forced into tables; read again at start.
const MAX_WAL_BYTES: u64 = 16 * 1024 * 1024;
/// Open table files.
const MAX_OPEN_FILES: i32 = 256;
/// Bits for each key in the filters.
const FILTER_BITS: f64 = 10.0;
/// Property: bytes of all table files.
const TABLE_BYTES: &str = "rocksdb.total-sst-files-size";
/// Property: bytes in table files of what was neither overwritten nor deleted, estimated.
const LIVE_BYTES: &str = "rocksdb.estimate-live-data-size";
/// A disk that syncs in less, in the mean, is waited for where a sync is asked for: to tell another thread and to be
/// told by it takes about as long.
const SHORT_SYNC: Duration = Duration::from_micros(500);
/// Syncs that may wait. Raft waits for each append, so there are hardly ever two.
const SYNC_QUEUE: usize = 16;

/// The disk of one replica. It holds the lock of the directory as long as it is open.
#[derive(Debug)]
pub(crate) struct Rocks {
    // Fields are dropped in order: the thread has ended, the database is closed, then the lock is released.
    base: Arc<Base>,
    files: PathBuf,
    /// There until it is dropped.
    syncs: Option<SyncSender<Durable>>,
    metrics: Metrics,
    sync_thread: Option<JoinHandle<()>>,
    _lock: File,
}

#[derive(Debug)]
struct Base {
    db: DB,
    dir: PathBuf,
    /// Whether the last write failed for want of room.
    full: AtomicBool,
    /// How long a sync takes, in nanoseconds: a mean in which each new one counts for an eighth.
    sync_takes: AtomicU64,
}

impl Rocks {
    /// Opens or makes the database in `dir`.
    pub(crate) fn open(dir: &Path, metrics: Metrics) -> Result<Self, Error> {
        let lock = lock(dir)?;
        let files = dir.join("snapshots");
        std::fs::create_dir_all(&files).map_err(|source| Error::Directory { dir: files.clone(), source })?;
        for (folder, is_leftover) in
            [(dir, is_temporary as fn(&str) -> bool), (files.as_path(), is_no_snapshot as fn(&str) -> bool)]
        {
            remove_leftovers(folder, is_leftover)
                .map_err(|source| Error::Directory { dir: folder.to_owned(), source })?;
        }
        let base = Arc::new(Base {
            db: open_database(dir)?,
            dir: dir.to_owned(),
            full: AtomicBool::new(false),
            sync_takes: AtomicU64::new(u64::MAX),
        });
        let (syncs, queue) = sync_channel(SYNC_QUEUE);
        let (syncing, observed) = (base.clone(), metrics.clone());
        let sync_thread = std::thread::Builder::new()
            .name("keyspace-sync".into())
            .spawn(move || sync_loop(&syncing, &observed, &queue))
            .map_err(|source| Error::Directory { dir: dir.to_owned(), source })?;
        Ok(Rocks { base, files, syncs: Some(syncs), metrics, sync_thread: Some(sync_thread), _lock: lock })
    }

    #[cfg(test)]
    pub(crate) fn flush(&self, family: Family) {
        self.base.db.flush_cf(self.base.family(family).expect("there")).expect("flushes");
    }
}

impl Drop for Rocks {
    fn drop(&mut self) {
        self.syncs = None;
        if let Some(thread) = self.sync_thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the keyspace's sync thread panicked");
        }
    }
}

/// Makes durable what was written, for all who wait at once. Ends with the queue.
fn sync_loop(base: &Base, metrics: &Metrics, queue: &Receiver<Durable>) {
    while let Ok(first) = queue.recv() {
        let mut waiting = vec![first];
        waiting.extend(queue.try_iter());
        let synced = base.sync_timed(metrics);
        for done in waiting {
            done(synced.clone());
        }
    }
}

/// How the database is opened.
pub(crate) fn options() -> Options {
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
    // "repairs" it would drop acknowledged writes without a word. Of gaps between its files see `wal`.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options
}

/// The families there are.
pub(crate) fn families() -> impl Iterator<Item = ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
    let buffer = |family| if family == Family::Meta { META_BUFFER_BYTES } else { WRITE_BUFFER_BYTES };
    let families = Family::ALL.map(|family| (family.name(), buffer(family)));
    // RocksDB always has the default family; unnamed here it would have large buffers.
    let families = families.into_iter().chain([(rocksdb::DEFAULT_COLUMN_FAMILY_NAME, META_BUFFER_BYTES)]);
    families.map(move |(name, buffer)| ColumnFamilyDescriptor::new(name, family_options(&cache, buffer)))
}

/// How the database in `path` is opened after its write-ahead log was checked.
pub(crate) fn recovery_options(path: &Path) -> io::Result<Result<Options, Damage>> {
    let mut options = options();
    match wal::check(path)? {
        Ok(None) => {}
        Ok(Some(gap)) => {
            tracing::warn!(
                file = %gap.file().display(),
                "the end of a file of the write-ahead log was not synced and is lost; what came after it is dropped"
            );
            gap.mark()?;
            options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        }
        Err(damage) => return Ok(Err(damage)),
    }
    Ok(Ok(options))
}

fn open_database(dir: &Path) -> Result<DB, Error> {
    let path = dir.join("db");
    let options = recovery_options(&path).map_err(|source| Error::Directory { dir: path.clone(), source })?;
    let options = options.map_err(|Damage { file, detail }| {
        let source = corrupt(format!("write-ahead log {}", file.display()), detail);
        Error::Storage { dir: dir.to_owned(), source }
    })?;
    DB::open_cf_descriptors(&options, &path, families()).map_err(|error| {
        let source = match error.kind() {
            ErrorKind::Corruption => {
                EngineError::Corrupt { what: format!("database {}", path.display()), detail: error.into_string() }
            }
            _ => io_error(dir, "open the database", error),
        };
        Error::Storage { dir: dir.to_owned(), source }
    })
}

fn family_options(cache: &Cache, buffer: usize) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_bloom_filter(FILTER_BITS, false);
    // Index and filter in pieces, since one of a large table would not fit into the cache, and be read for every key.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_pin_top_level_index_and_filter(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(buffer);
    options.set_max_write_buffer_number(2);
    options.set_level_zero_file_num_compaction_trigger(FILES_TO_MERGE);
    options.set_compression_type(DBCompressionType::Lz4);
    options
}

/// Takes the directory for this process.
pub(crate) fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join("lock");
    let unusable = |source| Error::Directory { dir: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

/// Whether a file in the keyspace's folder is one that was being written when its writer ended.
fn is_temporary(name: &str) -> bool {
    [".tmp", ".partial"].iter().any(|end| name.ends_with(end))
}

/// Whether a file among the snapshots is none of those that outlive a process.
fn is_no_snapshot(name: &str) -> bool {
    !snapshot::LASTING.contains(&name)
}

/// Removes files that nobody knows any more, and says so.
fn remove_leftovers(folder: &Path, is_leftover: fn(&str) -> bool) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name().to_str().is_some_and(is_leftover) {
            tracing::warn!(file = %entry.path().display(), "removed an unfinished file of the keyspace");
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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

impl Base {
    fn family(&self, family: Family) -> Result<&ColumnFamily, EngineError> {
        let name = family.name();
        self.db.cf_handle(name).ok_or_else(|| corrupt(format!("column family {name}"), "missing"))
    }

    /// Bytes of a family: of its tables after a property of RocksDB, and in memory.
    fn size(&self, family: Family, tables: &str) -> Result<u64, EngineError> {
        let handle = self.family(family)?;
        let mut size = 0;
        for property in [tables, "rocksdb.cur-size-all-mem-tables"] {
            let found = self.db.property_int_value_cf(handle, property);
            size += found.map_err(|error| io_error(&self.dir, "ask for the size", error))?.unwrap_or(0);
        }
        Ok(size)
    }

    /// RocksDB goes on refusing writes for some seconds after there is room again, for the reason it had.
    fn write_failed(&self, operation: &'static str, error: rocksdb::Error) -> EngineError {
        match io_error(&self.dir, operation, error) {
            EngineError::Io { operation, source } if self.full.load(Ordering::Relaxed) => {
                EngineError::NoSpace { operation, source }
            }
            error => {
                self.full.store(matches!(error, EngineError::NoSpace { .. }), Ordering::Relaxed);
                error
            }
        }
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.db.flush_wal(true).map_err(|error| io_error(&self.dir, "sync the write-ahead log", error))
    }

    fn sync_timed(&self, metrics: &Metrics) -> Result<(), EngineError> {
        let began = Instant::now();
        let synced = self.sync();
        let took = began.elapsed();
        metrics.synced(took);
        let (took, mean) =
            (u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), self.sync_takes.load(Ordering::Relaxed));
        self.sync_takes.store(if mean == u64::MAX { took } else { mean - mean / 8 + took / 8 }, Ordering::Relaxed);
        synced
    }

    fn read_error(&self, family: Family, key: &[u8], error: rocksdb::Error) -> EngineError {
        match error.kind() {
            ErrorKind::Corruption => corrupt(record_name(family, key), error.into_string()),
            _ => io_error(&self.dir, "read", error),
        }
    }
}

impl Disk for Rocks {
    fn view(&self) -> Box<dyn Records + '_> {
        Box::new(RocksView { base: &self.base, snapshot: self.base.db.snapshot() })
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let found = self.base.db.get_pinned_cf(self.base.family(family)?, key);
        let found = found.map_err(|error| self.base.read_error(family, key, error))?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn write(&self, operation: &'static str, batch: Vec<Change>) -> Result<(), EngineError> {
        let mut writes = WriteBatch::default();
        for change in batch {
            match change {
                Change::Put { family, key, value } => writes.put_cf(self.base.family(family)?, key, value),
                Change::Delete { family, key } => writes.delete_cf(self.base.family(family)?, key),
                Change::DeleteRange { family, from, to } => {
                    writes.delete_range_cf(self.base.family(family)?, from, to);
                }
            }
        }
        self.base.db.write(writes).map_err(|error| self.base.write_failed(operation, error))?;
        self.base.full.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.base.sync()
    }

    fn sync_then(&self, done: Durable) {
        if Duration::from_nanos(self.base.sync_takes.load(Ordering::Relaxed)) < SHORT_SYNC {
            return done(self.base.sync_timed(&self.metrics));
        }
        let unsent = match &self.syncs {
            Some(syncs) => syncs.send(done).err().map(|unsent| unsent.0),
            None => Some(done),
        };
        if let Some(done) = unsent {
            let ended = io::Error::other("the sync thread has ended");
            done(Err(EngineError::Io { operation: "sync the write-ahead log", source: Arc::new(ended) }));
        }
    }

    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        // What it does is told by the work itself.
        drop(tokio::task::spawn_blocking(work));
    }

    fn size_bytes(&self, family: Family) -> Result<u64, EngineError> {
        // Of the log, most of what is in its tables is purged already.
        let tables = match family {
            Family::Log => LIVE_BYTES,
            Family::Meta | Family::State => TABLE_BYTES,
        };
        self.base.size(family, tables)
    }

    fn in_use_bytes(&self, family: Family) -> Result<u64, EngineError> {
        Ok(self.base.size(family, LIVE_BYTES)?.min(self.base.size(family, TABLE_BYTES)?))
    }

    fn defragment(&self) -> Result<(), EngineError> {
        let mut options = CompactOptions::default();
        // Also the last level, which holds most of what was deleted.
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        for family in Family::ALL {
            let family = self.base.family(family)?;
            self.base.db.compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &options);
        }
        Ok(())
    }

    fn free_bytes(&self) -> Option<u64> {
        free_bytes(&self.base.dir)
    }

    fn create_file(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = File::options().create(true).truncate(true).read(true).write(true).open(self.files.join(name))?;
        Ok(Box::new(file))
    }

    fn open_file(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(self.files.join(name))?))
    }

    fn rename_file(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.files.join(from), self.files.join(to))?;
        File::open(&self.files)?.sync_all()
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.files.join(name))
    }
}

struct RocksView<'a> {
    base: &'a Base,
    snapshot: Snapshot<'a>,
}

impl Records for RocksView<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let found = self.snapshot.get_pinned_cf(self.base.family(family)?, key);
        let found = found.map_err(|error| self.base.read_error(family, key, error))?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        family: Family,
        lower: &[u8],
        upper: Option<&[u8]>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(lower);
        if let Some(upper) = upper {
            options.set_iterate_upper_bound(upper);
        }
        let mut records = self.snapshot.raw_iterator_cf_opt(self.base.family(family)?, options);
        match direction {
            Direction::Forward => records.seek_to_first(),
            Direction::Reverse => records.seek_to_last(),
        }
        while let Some((key, value)) = records.item() {
            if visit(key, value)? == ControlFlow::Break(()) {
                return Ok(());
            }
            match direction {
                Direction::Forward => records.next(),
                Direction::Reverse => records.prev(),
            }
        }
        records.status().map_err(|error| self.base.read_error(family, lower, error))
    }
}

impl DiskFile for File {
    fn sync_all(&self) -> io::Result<()> {
        File::sync_all(self)
    }

    fn into_async(self: Box<Self>) -> Box<dyn AsyncFile> {
        Box::new(tokio::fs::File::from_std(*self))
    }
}

impl AsyncFile for tokio::fs::File {
    fn into_blocking(self: Box<Self>) -> BoxFuture<'static, io::Result<Box<dyn DiskFile>>> {
        async move { Ok(Box::new((*self).into_std().await) as Box<dyn DiskFile>) }.boxed()
    }
}
