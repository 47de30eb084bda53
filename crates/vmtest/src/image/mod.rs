//! What a guest boots from.

mod debian;
mod initramfs;
mod modules;

pub use debian::{Debian, disk_from_folder};

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A kernel, its initial memory file system and, unless the guest is tiny, a disk.
///
/// Debian's are built here ([`Debian`]); a NixOS guest is described by a JSON file of this shape and brings the agent
/// as a service of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The kernel.
    pub kernel: PathBuf,
    /// Its initial memory file system.
    pub initrd: PathBuf,
    /// Raw disk, copied for each guest; it appears with the serial `root`.
    #[serde(default)]
    pub disk: Option<PathBuf>,
    /// Words of the kernel line, beside those of the harness.
    #[serde(default)]
    pub append: String,
}

/// What a tiny guest has beside its kernel, agent and busybox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// Kernel modules that are loaded at boot.
    pub modules: Vec<String>,
    /// Programs of this machine, and where they are in the guest. Their libraries come along.
    pub programs: Vec<(PathBuf, String)>,
}

/// Serial of the disk a guest boots from.
pub const ROOT_SERIAL: &str = "root";
