//! Images: found in the local catalog or a registry, verified, unpacked once, kept by content.
//!
//! ```text
//!  reference ─► catalog (OCI layout on disk) ─┐
//!            └► registry (HTTP)              ─┴► manifest ─► config, layers ─► unpack ─► <store>/layers
//!                                                digest ✓     digest ✓          diff_id ✓
//! ```
//!
//! The store, all below [`ImageConfig::root`]:
//!
//! ```text
//!  lock                     held by the one process that has the store open
//!  refs.json                reference -> manifest digest
//!  blobs/sha256/<hex>       manifests and configurations; a manifest's time is the last use of its image
//!  layers/<hex>/diff        a layer as overlayfs wants it; <hex> is its diff_id
//!  layers/<hex>/mark        `durable`, or the boot in which it was unpacked
//!  layers/<hex>/implied     directories it has no entry for, if any; see `parents`
//!  layers/<hex>/bytes       its size, once it was asked for
//!  tmp/                     half-made things; emptied at open
//! ```
//!
//! Invariants:
//! - nothing from an image is trusted: digests are checked, unpacking cannot leave its directory;
//! - nothing has its final name before its digest was checked; a name is never rewritten with other content;
//! - a layer whose unpacking may not have reached the disk before a power cut is unpacked again.
//!
//! Limits: Linux with overlayfs, on x86_64 or aarch64; runs as root; blobs under SHA-256; signatures are not checked.

mod catalog;
mod collect;
mod disk;
mod error;
mod inner;
mod layers;
mod manifest;
mod parents;
mod pipeline;
mod progress;
mod reference;
mod registry;
mod retention;
mod settings;
mod stop;
mod store;
mod unpack;
mod user;

pub use collect::Collected;
pub use error::ImageError;
pub use inner::ImageConfig;
pub use progress::{NoProgress, Progress, ProgressEvent};
pub use reference::Reference;
pub use registry::{Credentials, RegistryConfig};
pub use retention::CollectPolicy;
pub use settings::ImageSettings;
pub use store::{EnsureOptions, Image, ImageStore, PullPolicy};
