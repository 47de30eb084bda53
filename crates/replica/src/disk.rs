//! The port below the replica: records in families under one write-ahead log, and files beside them.
//!
//! In production this is RocksDB and a directory. It is a port so that the very code above it also runs on a disk that
//! loses, at a crash, what was not made durable.

use std::fmt::Debug;
use std::io::{self, Read, Seek, Write};

use bytes::Bytes;
use futures::future::BoxFuture;
use keyspace::{Direction, EngineError, Visit};
use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite};

/// Kinds of records that are kept apart. Keys are ordered within one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Log entries: index (big-endian) to entry.
    Log,
    /// The vote, the identity and the like.
    Meta,
    /// The state machine: table number and key to value.
    State,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 3] = [Family::Log, Family::Meta, Family::State];

    /// The name it has on disk; part of each record's checksum.
    pub fn name(self) -> &'static str {
        match self {
            Family::Log => "log",
            Family::Meta => "meta",
            Family::State => "state",
        }
    }
}

/// One change of a batch. Of two changes to one key the later one holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes a record.
    Put {
        /// Where.
        family: Family,
        /// Its key.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// Removes a record, if there is one.
    Delete {
        /// Where.
        family: Family,
        /// Its key.
        key: Vec<u8>,
    },
    /// Removes all records with `from <= key < to`.
    DeleteRange {
        /// Where.
        family: Family,
        /// First key.
        from: Vec<u8>,
        /// First key after.
        to: Vec<u8>,
    },
}

/// Called once, when what was written before is durable or cannot be made so.
pub type Durable = Box<dyn FnOnce(Result<(), EngineError>) + Send>;

/// A consistent state of all families: later writes are not seen.
pub trait Records: Send {
    /// The value of `key`.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Visits the records with `lower <= key` and, if there is an upper bound, `key < upper`, in order.
    fn scan(
        &self,
        family: Family,
        lower: &[u8],
        upper: Option<&[u8]>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError>;
}

/// A disk of one member.
///
/// There is one write-ahead log under all families: what survives a crash is a prefix of the batches written, at least
/// up to the last one made durable. A state therefore never survives without the log entries it came from.
pub trait Disk: Debug + Send + Sync + 'static {
    /// The records now.
    fn view(&self) -> Box<dyn Records + '_>;

    /// The value of `key` now.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Writes a batch, all or nothing, for `operation`. It can be read at once and is durable after the next sync.
    fn write(&self, operation: &'static str, batch: Vec<Change>) -> Result<(), EngineError>;

    /// Makes all that was written before durable, while the caller waits.
    fn sync(&self) -> Result<(), EngineError>;

    /// Makes all that was written before durable and then calls `done`; the caller does not wait. Several may share
    /// one sync.
    fn sync_then(&self, done: Durable);

    /// Runs what may wait for the disk where waiting does no harm. Not run at all when the runtime is going down.
    fn run(&self, work: Box<dyn FnOnce() + Send>);

    /// Bytes a family takes, approximately.
    fn size_bytes(&self, family: Family) -> Result<u64, EngineError>;

    /// Of the bytes a family takes, those of what is in it now, approximately.
    fn in_use_bytes(&self, family: Family) -> Result<u64, EngineError> {
        self.size_bytes(family)
    }

    /// Gives back the room of what was overwritten and removed. May take long; reads and writes go on.
    fn defragment(&self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Bytes that can still be written, if that can be told.
    fn free_bytes(&self) -> Option<u64>;

    /// A new, empty file to read and write; one of that name is emptied.
    fn create_file(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// A file that is there, to read.
    fn open_file(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, durably, replacing what had it.
    fn rename_file(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, name: &str) -> io::Result<()>;
}

/// An open file, for code that may wait.
pub trait DiskFile: Read + Write + Seek + Debug + Send + Sync {
    /// Makes its content durable.
    fn sync_all(&self) -> io::Result<()>;

    /// The same file for code that may not wait.
    fn into_async(self: Box<Self>) -> Box<dyn AsyncFile>;
}

/// An open file, for code that may not wait.
pub trait AsyncFile: AsyncRead + AsyncWrite + AsyncSeek + Debug + Send + Sync + Unpin {
    /// The same file for code that may wait, once writes under way have ended.
    fn into_blocking(self: Box<Self>) -> BoxFuture<'static, io::Result<Box<dyn DiskFile>>>;
}
