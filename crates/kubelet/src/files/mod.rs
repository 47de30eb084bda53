//! The files of pods on this node: where they are, and how they are written.

mod layout;
mod mounts;
mod payload;
mod sandbox;
mod subpath;

pub use layout::{Layout, LogDir};
pub(crate) use layout::{private_dir, remove_dir};
pub(crate) use mounts::{mount_tmpfs, unmount_below};
pub(crate) use payload::{Owner, write_payload};
pub(crate) use sandbox::{pin_namespaces, write_text};
pub(crate) use subpath::expose;
