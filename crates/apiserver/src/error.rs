//! Why the server cannot start or go on.

use std::io;

/// A failure of the server itself, not of a request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The built-in namespaces could not be made.
    #[error("cannot make the built-in namespaces; check that the keyspace can be written")]
    Prepare {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The listener has no address.
    #[error("cannot serve: the listener has no address")]
    Listener {
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}
