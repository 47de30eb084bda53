//! Volumes on one node: create, publish, unpublish, delete, all idempotent.
//!
//! ```text
//!   <root>/volumes/<id>/            the volume's files
//!   <root>/inventory/<id>.json      what the volume is (written before the folder, removed after it)
//!   <root>/publish/<pod>/<name>     bind mount of a volume, handed to a pod's containers
//!   <root>/images/<id>              container of an encrypted volume, mounted at its folder while it is published
//!   <root>/snapshots/<id>.tar       archives of volumes
//! ```
//!
//! The verbs follow CSI's node service (`CreateVolume`, `NodePublishVolume`, ...). Mounts are read
//! from the kernel, never remembered, so a crash between two steps is mended by repeating the call.
//!
//! Invariants: an id is one safe path component; a published volume is never deleted; nothing is
//! followed through a symbolic link. Limits: [`ID_MAX`], [`METADATA_MAX_BYTES`].

mod error;
mod files;
mod id;
mod inventory;
mod luks;
mod mounts;
mod volume;
mod volumes;

pub use error::{Error, Result};
pub use id::{ID_MAX, Id};
pub use inventory::METADATA_MAX_BYTES;
pub use volume::{Ownership, Volume};
pub use volumes::{Publication, VolumeRequest, Volumes};
