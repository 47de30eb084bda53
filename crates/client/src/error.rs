//! Why a request failed.

use api::{Reason, Status};

use crate::body::BoxError;

/// Result of a request.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with a failure.
    #[error("{0}")]
    Api(Box<Status>),
    /// The server could not be reached, or the connection broke.
    #[error("cannot reach the API server at {server}")]
    Transport {
        /// Where the request went.
        server: String,
        /// What the network said.
        #[source]
        source: BoxError,
    },
    /// The answer took too long.
    #[error("the API server at {server} did not answer {request} within {seconds} s")]
    Timeout {
        /// Where the request went.
        server: String,
        /// Method and path.
        request: String,
        /// The limit.
        seconds: u64,
    },
    /// The answer is larger than a client reads.
    #[error("the answer to {request} is larger than {limit} bytes: ask for less at once with a limit")]
    TooLarge {
        /// Method and path.
        request: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The answer is not what was asked for.
    #[error("the answer to {request} is not understood")]
    Decode {
        /// Method and path.
        request: String,
        /// What did not fit.
        #[source]
        source: BoxError,
    },
    /// The request cannot be built from what was given.
    #[error("the request cannot be built: {0}")]
    Request(String),
    /// The client only rehearses ([`crate::Client::rehearse`]).
    #[error("the request was not sent")]
    NotSent {
        /// The command for a POSIX shell that sends it.
        command: String,
    },
    /// Certificates or addresses of the configuration are unusable.
    #[error("{field} is not usable: {message}")]
    Config {
        /// Which part of the configuration.
        field: &'static str,
        /// What is wrong with it.
        message: String,
    },
}

impl Error {
    /// The server's answer, if it gave one.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Api(status) => Some(status),
            _ => None,
        }
    }

    /// The reason of the server's answer, if it gave one.
    pub fn reason(&self) -> Option<Reason> {
        self.status().map(Status::class)
    }

    /// The object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.reason() == Some(Reason::NotFound)
    }

    /// The name is taken.
    pub fn is_already_exists(&self) -> bool {
        self.reason() == Some(Reason::AlreadyExists)
    }

    /// Another writer changed the object: read it and decide again.
    pub fn is_conflict(&self) -> bool {
        self.reason() == Some(Reason::Conflict)
    }

    /// The wanted revision was compacted: list again.
    pub fn is_gone(&self) -> bool {
        matches!(self.reason(), Some(Reason::Expired | Reason::Gone))
    }

    /// The object was refused for its content.
    pub fn is_invalid(&self) -> bool {
        self.reason() == Some(Reason::Invalid)
    }

    /// The caller may not do this.
    pub fn is_forbidden(&self) -> bool {
        self.reason() == Some(Reason::Forbidden)
    }

    /// The credentials were not accepted.
    pub fn is_unauthorized(&self) -> bool {
        self.reason() == Some(Reason::Unauthorized)
    }

    /// The same request may succeed later without any change.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Timeout { .. } => true,
            Self::Api(status) => {
                status.class() == Reason::TooManyRequests || status.code >= Reason::InternalError.code()
            }
            _ => false,
        }
    }
}

/// An error with its causes in one line, for logs, statuses and events.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Api(Box::new(status))
    }
}
