//! The files of pods on this node: where they are, and how they are written.

mod layout;
mod mounts;
mod name;
mod payload;
mod sandbox;
mod subpath;
mod volume_path;

pub use layout::{EtcFile, Layout, LogDir};
pub(crate) use layout::{private_dir, remove_dir};
pub use mounts::unmount_below;
pub(crate) use mounts::{give_pod_memory, mount_tmpfs};
pub use name::{ContainerName, NamespaceName, PodUid, VolumeName};
pub(crate) use payload::{Owner, write_payload};
pub(crate) use sandbox::{pin_namespaces, write_text};
pub(crate) use subpath::{Missing, expose};
pub use volume_path::VolumePath;
