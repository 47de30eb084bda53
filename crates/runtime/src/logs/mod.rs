//! Container logs: the CRI format, rotated files, reading them back.
//!
//! A line of a log file (Kubernetes CRI logging):
//!
//! ```text
//! 2026-11-21T04:40:13.123456789Z stdout F the text
//! └ when it was read (RFC 3339)  │      └ F: ends here, P: goes on in the next line
//!                                └ stdout or stderr
//! ```
//!
//! `<path>` is written to; older parts are `<path>.1` (newest), `<path>.2`, ...

mod files;
mod format;
mod reader;
mod writer;

use std::io;
use std::path::PathBuf;

pub use format::StreamKind;
pub use reader::{LogChunks, LogQuery, LogReader, StreamFilter, previous_instance};
pub(crate) use writer::LogWriter;

/// Error of reading logs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// There is no log at this path.
    #[error("no log at {}", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// A log file could not be read.
    #[error("read log {}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}
