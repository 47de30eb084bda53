//! What can go wrong, each with the thing's name and the remedy.

use std::{io, path::PathBuf};

use jiff::Timestamp;

use crate::assets::Asset;

/// A failure of this crate's operations on keys, certificates and their files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried, as a verb: `read`, `write`, `create`, `lock`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The directory of keys may be read by others.
    #[error(
        "{path} has mode {mode:04o}, so others may read the keys in it; run `chmod 700 {path}` and check who had access"
    )]
    Exposed {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A key or certificate is not there.
    #[error(
        "{asset} ({path}) is missing; run `nanocloud setup` for a new installation or `nanocloud setup --repair` for this one"
    )]
    Missing {
        /// What is missing.
        asset: Asset,
        /// Where it should be.
        path: PathBuf,
    },
    /// A key or certificate is there and cannot be used.
    #[error("{asset} ({path}) cannot be used: {reason}; run `nanocloud setup --repair`")]
    Corrupt {
        /// What is broken.
        asset: Asset,
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something is gone that existing data depend on.
    #[error(
        "{asset} ({path}) is gone and existing data depend on it; put it back from a backup, or accept the loss with \
         `nanocloud setup --repair --accept-loss`: {lost}"
    )]
    Irreplaceable {
        /// What is gone.
        asset: Asset,
        /// Its file.
        path: PathBuf,
        /// What a replacement would lose.
        lost: &'static str,
    },
    /// The clock is before the authority's certificate.
    #[error(
        "clock wrong for TLS: it says {now}, but the certificate authority was made for use from {not_before}; set the clock \
         (`timedatectl set-ntp true`) and start again"
    )]
    ClockBehind {
        /// What the clock says.
        now: Timestamp,
        /// First instant at which the authority is valid.
        not_before: Timestamp,
    },
    /// The clock cannot be right, so nothing with a lifetime may be made.
    #[error(
        "clock wrong for TLS: it says {now}, which is before this software was made; set the clock and start again"
    )]
    ClockImplausible {
        /// What the clock says.
        now: Timestamp,
    },
    /// The authority's certificate is over.
    #[error(
        "the certificate authority expired at {not_after} and the clock says {now}; if the clock is right, replace the \
         authority with `nanocloud setup --repair --accept-loss`"
    )]
    AuthorityExpired {
        /// What the clock says.
        now: Timestamp,
        /// Last instant at which the authority was valid.
        not_after: Timestamp,
    },
    /// A name cannot stand in a certificate.
    #[error("{name:?} cannot be a certificate name; give a DNS name such as web.default.svc, or an IP address")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// More names than one certificate may carry.
    #[error("{count} names are too many for one certificate; at most {max} are allowed")]
    TooManyNames {
        /// How many were asked for.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// A subject cannot stand in a certificate.
    #[error("certificate subject {subject:?} is not valid: {reason}")]
    InvalidSubject {
        /// The common name or organisation.
        subject: String,
        /// What would be right.
        reason: &'static str,
    },
    /// A signing request cannot be read or does not prove possession of its key.
    #[error("the certificate signing request is not valid; send PEM of a PKCS #10 request signed by its own key")]
    SigningRequest {
        /// What the parser or verifier said.
        #[source]
        source: rcgen::Error,
    },
    /// A certificate or key could not be made.
    #[error("cannot {action}")]
    Certificate {
        /// What was tried.
        action: &'static str,
        /// What the generator said.
        #[source]
        source: rcgen::Error,
    },
    /// A PEM text holds no usable certificate or key.
    #[error("{what} is not valid PEM: {reason}")]
    Pem {
        /// `certificate`, `private key`, `CA certificate`.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A TLS configuration cannot be made of these parts.
    #[error("cannot configure TLS for the {role}")]
    Tls {
        /// `server` or `client`.
        role: &'static str,
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// The verifier of client certificates cannot be made.
    #[error("cannot verify client certificates against this authority")]
    ClientVerifier {
        /// What rustls said.
        #[source]
        source: rustls::server::VerifierBuilderError,
    },
    /// A certificate of this authority that is not one of a member.
    #[error("the certificate of {common_name:?} is not one of a member of this cluster")]
    NotAMember {
        /// Whose it is.
        common_name: String,
    },
    /// A directory that is to join a cluster holds keys of another one.
    #[error("{asset} ({path}) is of another cluster; join with an empty state root, or wipe this one first")]
    OtherCluster {
        /// What is there.
        asset: Asset,
        /// Its file.
        path: PathBuf,
    },
    /// Not a word to join a cluster with.
    #[error("the join token cannot be read; copy the whole word that `nanocloud member add` printed")]
    JoinToken,
    /// A lifetime is not acceptable.
    #[error("a lifetime of {asked_seconds} s is not allowed; ask for 1 to {max_seconds} s")]
    Lifetime {
        /// What was asked for, in seconds.
        asked_seconds: u64,
        /// The budget, in seconds.
        max_seconds: u64,
    },
    /// The kernel gave no randomness.
    #[error("the kernel gives no random bytes")]
    Random {
        /// Its answer.
        #[source]
        source: getrandom::Error,
    },
    /// A signing key could not be made or read.
    #[error("the key that signs tokens cannot be used")]
    TokenKey,
    /// Claims could not be written.
    #[error("the claims of a token cannot be written as JSON")]
    Claims {
        /// What the serialiser said.
        #[source]
        source: serde_json::Error,
    },
}
