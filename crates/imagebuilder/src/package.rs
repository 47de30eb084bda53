//! Packages of the distribution.

use serde::{Deserialize, Serialize};

/// A Debian binary package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) arch: String,
    pub(crate) sha256: String,
}

/// What apt knows about a package that is to be installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Candidate {
    pub(crate) package: Package,
    /// File name in the archive folder.
    pub(crate) file: String,
    pub(crate) size: u64,
}
