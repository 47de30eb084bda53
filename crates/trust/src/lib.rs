//! Who may do what, and how secrets stay secret: certificates, tokens, authorisation, envelopes.
//!
//! ```text
//!  <state>/secure_assets ──► SecureAssets ─┬─► Authority ──► certificates ──► tls::{server,client}_config
//!                                          ├─► Tokens      (signed bearer tokens, JWT)
//!                                          └─► Envelope    (AES-256-GCM under a data key under the master key)
//!
//!  peer certificate ─┐
//!  bearer token ─────┼─► Subject ──► authorize(&Subject, &Attributes, &Policies) ──► Decision
//!  single-use token ─┘
//! ```
//!
//! Invariants:
//! * Only [`SecureAssets`] touches the file system; everything else is a function of its arguments,
//!   `now` among them.
//! * Deny is the default: a request no rule names is refused.
//! * The authority and the master key are never replaced silently while data depend on them.
//! * Secrets are compared in constant time, wiped when dropped, and absent from `Debug` and errors.
//!
//! Limits: [`jwt::MAX_TOKEN_LEN`], [`jwt::MAX_TTL`], [`single_use::MAX_TTL`],
//! [`envelope::MAX_PLAINTEXT_LEN`], [`authority::MAX_NAMES`].

pub mod assets;
pub mod attributes;
pub mod authority;
pub mod authorize;
mod certificate;
pub mod csr;
mod encoding;
pub mod envelope;
mod error;
pub mod join;
pub mod jwt;
pub mod member;
mod random;
pub mod rbac;
mod roles;
pub mod scope;
pub mod single_use;
pub mod subject;
pub mod tls;

pub use assets::{AssetsConfig, Change, SecureAssets, SharedAssets};
pub use attributes::Attributes;
pub use authority::{Authority, CertificateSpec, IssuedCertificate, SignedCertificate, SigningRequest, Usage};
pub use authorize::{Decision, authorize, built_in};
pub use certificate::CertificateInfo;
pub use envelope::{Envelope, EnvelopeError, MasterKeys, SealContext};
pub use error::Error;
pub use join::JoinToken;
pub use jwt::{TokenError, TokenGrant, TokenKeys, Tokens, VerifiedToken};
pub use scope::{Scope, Scopes};
pub use secrecy::{ExposeSecret, SecretString};
pub use single_use::{SingleUseToken, TokenOutcome, TokenRecord};
pub use subject::Subject;
pub use tls::{ClientAuth, Identity};
