//! What can go wrong with containers; a variant per operation.

use std::io;
use std::path::PathBuf;

/// Error of a container operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// The spec cannot be run; nothing was made.
    #[error("container spec: {field}: {problem}")]
    Spec {
        /// Field of [`ContainerSpec`](super::ContainerSpec) or [`ExecSpec`](super::ExecSpec).
        field: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A container of this id exists; remove it first.
    #[error("container {id} already exists; remove it first")]
    Exists {
        /// Its id.
        id: String,
    },
    /// No container of this id is known.
    #[error("no container {id}")]
    NotFound {
        /// The id asked for.
        id: String,
    },
    /// The container has ended, so this cannot be done any more.
    #[error("container {id} is not running")]
    NotRunning {
        /// Its id.
        id: String,
    },
    /// The container's program runs; stop it first.
    #[error("container {id} is running; stop it first")]
    Running {
        /// Its id.
        id: String,
    },
    /// The run root could not be prepared or read.
    #[error("run root {}", path.display())]
    RunRoot {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The host lacks something that containers need.
    #[error("this kernel or host lacks {what}; {remedy}")]
    Unsupported {
        /// What is missing.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The shim process could not be started.
    #[error("start the shim {}", exe.display())]
    SpawnShim {
        /// The program.
        exe: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The shim could not create or start the container.
    #[error("start container {id}: {problem}")]
    Start {
        /// Its id.
        id: String,
        /// The shim's account.
        problem: String,
    },
    /// Talking with the shim failed.
    #[error("talk with the shim of container {id}")]
    Shim {
        /// Container id.
        id: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The shim answered in time with a refusal, or not in time.
    #[error("the shim of container {id}: {problem}")]
    Refused {
        /// Container id.
        id: String,
        /// What it said.
        problem: String,
    },
    /// A program could not be executed inside a container.
    #[error("execute {program:?} in container {id}: {problem}")]
    Exec {
        /// Container id.
        id: String,
        /// First word of the command.
        program: String,
        /// Why.
        problem: String,
    },
    /// A signal could not be sent.
    #[error("signal {signal} to container {id}")]
    Signal {
        /// Container id.
        id: String,
        /// Signal number.
        signal: i32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Cgroups could not be read or changed.
    #[error("cgroup {}", path.display())]
    Cgroup {
        /// File or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Leftovers of a container could not be removed; removal can be tried again.
    #[error("remove {}", path.display())]
    Remove {
        /// File or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ContainerError {
    pub(crate) fn spec(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Spec { field, problem: problem.into() }
    }

    pub(crate) fn shim(id: &str) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Shim { id: id.to_owned(), source }
    }
}
