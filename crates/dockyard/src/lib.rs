//! The language of the Dockyard: the options of an image, and their meaning.
//!
//! ```text
//!  recipe.toml ──► Recipe ──► (imagebuilder) ──► image with the label io.nanocloud.options
//!                                                          │ Surface::parse
//!   spec.options, profile, host facts, peers ──► Request ──┤ resolve
//!                                                          ▼
//!             Resolution: options, secrets to make, TLS, requires, bindings, env, ports, volumes, probes
//! ```
//!
//! The label is a JSON document ([`LabelDocument`]) whose strings are written in a small language
//! ([`grammar`]; guide in `docs/options.md`): `?optional`, `name=value|other|<kind>`,
//! `*requires[=value]`, `&service`, and the macros `!dns`, `!local_ip`, `!rand`, `!tls`, `!if`.
//!
//! Invariants
//! * No IO, no clock, no randomness: equal input gives equal output.
//! * The value of a secret is never seen here; only its name and how it is made.
//! * A [`Surface`] that parsed has no dangling reference and no cycle; what is left to refuse is the caller's.
//! * All refusals come at once, each with field path, stable code and allowed values.
//!
//! Limits: [`MAX_LABEL_BYTES`], [`MAX_OPTIONS`], [`MAX_KEY_BYTES`], [`MAX_VALUE_BYTES`],
//! [`MAX_RANDOM_LEN`], [`MAX_NESTING`].

mod charset;
mod check;
mod declaration;
mod document;
mod expr;
mod field_error;
pub mod grammar;
mod key;
mod kind;
mod label;
mod label_error;
pub mod names;
mod recipe;
mod request;
mod resolution;
mod resolve;
#[cfg(test)]
mod roundtrip_tests;
mod surface;

pub use charset::{Charset, CharsetError};
pub use declaration::{Alternative, Declaration, Dependency};
pub use document::{
    CallDocument, HttpDocument, LABEL_VERSION, LabelDocument, OfferDocument, PortDocument, ProbeDocument,
    ResourcesDocument, VolumeDocument,
};
pub use expr::{
    Condition, Expression, Located, Macro, PeerFact, Reference, Segment, SelfFact, Span, Template, TlsPart,
};
pub use field_error::{Code, FieldError};
pub use grammar::{MAX_NESTING, MAX_RANDOM_LEN};
pub use key::{Key, KeyError, MAX_KEY_BYTES};
pub use kind::{Kind, MAX_VALUE_BYTES, is_absolute_path, is_quantity, parse_publish};
pub use label_error::LabelError;
pub use recipe::{
    DebianSettings, DirectoryEntry, FileEntry, JoinEntry, MAX_RECIPE_BYTES, Mode, Owner, Packages, RECIPE_FILE, Recipe,
    RecipeError, SymlinkEntry, User,
};
pub use request::{Facts, Peer, Profile, Request};
pub use resolution::{
    BINDINGS_DIR, BindingPlan, Check, PortPlan, Probe, Protocol, Publish, Requirement, Resolution, Resources,
    SECRETS_DIR, SecretPlan, SecretRecipe, TLS_DIR, TlsRequest, Undo, Value, VolumePlan,
};
pub use resolve::{requirements, resolve};
pub use surface::{LABEL, MAX_LABEL_BYTES, MAX_OPTIONS, Offer, PortSpec, Surface, offer_command};
