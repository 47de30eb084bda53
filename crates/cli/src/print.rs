//! What commands print. A reader that goes away ends the command quietly; any other failed write is an error.

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

/// Prints a line to standard error. A command does not fail because its remarks cannot be read.
#[macro_export]
macro_rules! note {
    ($($text:tt)*) => { $crate::print::remark(format_args!($($text)*)) };
}

/// Prints a text to standard output.
///
/// # Errors
/// [`Error::Output`].
pub fn text(text: fmt::Arguments<'_>) -> Result<()> {
    // In one piece: a table of a thousand rows is one write.
    bytes(text.to_string().as_bytes())
}

/// Prints bytes to standard output, at once.
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

/// Runs a command that prints for as long as it is read: it ends with Ctrl-C, and when the reader goes away.
pub async fn while_read(command: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    tokio::select! {
        // Ctrl-C first, so that it is handled before anything is printed.
        biased;
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
        ended = command => ended,
        () = reader_gone() => Ok(Exit::Done),
    }
}

/// Returns when nothing reads the pipe at standard output any more; never for a file, which is always read.
async fn reader_gone() {
    // Watched only, so it stays a pipe that blocks. Files cannot be polled.
    let stdout = io::stdout().as_fd().try_clone_to_owned().and_then(Sender::from_owned_fd_unchecked);
    match stdout {
        // The kernel reports an error on a pipe without readers (pipe(7)).
        Ok(pipe) if pipe.ready(Interest::ERROR).await.is_ok() => {}
        _ => std::future::pending().await,
    }
}
