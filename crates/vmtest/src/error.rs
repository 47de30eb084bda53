//! What can go wrong, by operation.

use std::{io, path::PathBuf, time::Duration};

/// An error of the harness.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read, made or written.
    #[error("cannot {action} {}", .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A program of the host could not be started.
    #[error("cannot run {program}; is its package installed (scripts/install-deps guests)?")]
    Spawn {
        /// The program.
        program: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A program of the host failed.
    #[error("{program} failed ({status}): {output}")]
    Program {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// The end of what it said.
        output: String,
    },
    /// A module that a guest needs is not in the kernel's tree.
    #[error("the kernel in {} has no module {module:?}", .tree.display())]
    Module {
        /// Name of the module.
        module: String,
        /// Folder of the modules.
        tree: PathBuf,
    },
    /// The emulator ended while the guest was needed.
    #[error("{guest}: the emulator ended ({status}): {output}")]
    EmulatorEnded {
        /// The guest.
        guest: String,
        /// How it ended.
        status: String,
        /// What it said, then the end of the console.
        output: String,
    },
    /// The guest's kernel or first process gave up.
    #[error("{guest}: the guest is lost: {line}\n{tail}")]
    GuestLost {
        /// The guest.
        guest: String,
        /// The line of the console that says so.
        line: String,
        /// The lines around it.
        tail: String,
    },
    /// Something took too long.
    #[error("{guest}: {what} took longer than {} s\n{tail}", .limit.as_secs())]
    Timeout {
        /// The guest.
        guest: String,
        /// What was waited for.
        what: String,
        /// The limit, already stretched for the accelerator.
        limit: Duration,
        /// The end of the console or of the command's output.
        tail: String,
    },
    /// The connection to the emulator or the agent broke.
    #[error("{guest}: lost the connection to the {peer}")]
    Connection {
        /// The guest.
        guest: String,
        /// Emulator or agent.
        peer: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The emulator refused a command.
    #[error("{guest}: the emulator refused {command}: {message}")]
    Qmp {
        /// The guest.
        guest: String,
        /// Name of the command.
        command: String,
        /// Its answer.
        message: String,
    },
    /// The agent could not run a command.
    #[error("{guest}: cannot run {command}: {message}")]
    Command {
        /// The guest.
        guest: String,
        /// Program and arguments.
        command: String,
        /// The agent's answer.
        message: String,
    },
    /// The guest's clock runs at another speed than the harness's.
    #[error("{guest}: the clock runs at {rate:.2} times real time; timeouts inside mean nothing")]
    Clock {
        /// The guest.
        guest: String,
        /// Seconds of the guest for each second outside.
        rate: f64,
    },
    /// The guest is off, or on, and must not be.
    #[error("{guest}: the guest is {state}")]
    State {
        /// The guest.
        guest: String,
        /// `off` or `on`.
        state: &'static str,
    },
    /// A request of a script makes no sense.
    #[error("{0}")]
    Request(String),
}

/// Result of the harness.
pub type Result<T> = std::result::Result<T, Error>;

/// `map_err` for files.
pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::File { action, path, source }
}
