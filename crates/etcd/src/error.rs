//! What can go wrong in running the server or reaching a cluster.

use thiserror::Error;

/// Why the server cannot run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The listener has no address.
    #[error("the etcd listener cannot be used")]
    Listener {
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// Without TLS only loopback is served.
    #[error("the etcd listener {address} is not on loopback and has no TLS: give it certificates")]
    Unprotected {
        /// The address.
        address: std::net::SocketAddr,
    },
    /// The keyspace did not say how it is.
    #[error("the keyspace cannot be asked for its state")]
    Keyspace(#[from] keyspace::Error),
}
