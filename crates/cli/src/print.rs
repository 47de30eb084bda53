//! The output of commands. A closed pipe ends the command quietly; any other write error is reported.

use std::{
    fmt,
    io::{self, Write},
    os::fd::AsFd,
};

use tokio::{io::Interest, net::unix::pipe::Sender};

use crate::{
    error::{Error, Result},
    exit::Exit,
};

/// Prints to standard output: `out!("{text}")?`.
#[macro_export]
macro_rules! out {
    ($($text:tt)*) => { $crate::print::text(format_args!($($text)*)) };
}

/// Prints a line to standard output: `outln!("{name} is ready")?`.
#[macro_export]
macro_rules! outln {
    ($($text:tt)*) => { $crate::print::text(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints a line to standard error. A failed write is ignored.
#[macro_export]
macro_rules! note {
    ($($text:tt)*) => { $crate::print::remark(format_args!($($text)*)) };
}

/// Prints a text to standard output.
///
/// # Errors
/// [`Error::Output`].
pub fn text(text: fmt::Arguments<'_>) -> Result<()> {
    // Formatted first, so that a table is one write.
    bytes(text.to_string().as_bytes())
}

/// Prints bytes to standard output and flushes it.
///
/// # Errors
/// [`Error::Output`].
pub fn bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(Error::Output)
}

/// Prints a line to standard error.
pub fn remark(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Runs a command until it ends, Ctrl-C is pressed, or the reader of its output is gone.
pub async fn while_read(command: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    tokio::select! {
        // First, so that Ctrl-C is handled before anything is printed.
        biased;
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
        ended = command => ended,
        () = reader_gone() => Ok(Exit::Done),
    }
}

/// Waits until the pipe at standard output has no reader any more. Never returns for a file.
async fn reader_gone() {
    // Only polled, so the pipe stays in blocking mode. Files cannot be polled.
    let stdout = io::stdout().as_fd().try_clone_to_owned().and_then(Sender::from_owned_fd_unchecked);
    match stdout {
        // poll(2) reports POLLERR for a pipe without readers.
        Ok(pipe) if pipe.ready(Interest::ERROR).await.is_ok() => {}
        _ => std::future::pending().await,
    }
}
