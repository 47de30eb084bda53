//! What is known when an install is resolved.

use std::collections::BTreeSet;
use std::net::IpAddr;

use indexmap::IndexMap;

use crate::Surface;

/// Everything [`crate::resolve`] decides on. No clock, no randomness, no IO.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// `metadata.name` of the Bundle.
    pub bundle: &'a str,
    /// `spec.service`: the name of the image in the catalog.
    pub service: &'a str,
    /// `metadata.namespace` of the Bundle.
    pub namespace: &'a str,
    /// `spec.options`, as the caller gave them.
    pub options: IndexMap<String, String>,
    /// Facts of the node, for `!dns` and `!local_ip`.
    pub facts: Facts,
    /// What an earlier resolution stored; [`Profile::default`] at the first one.
    pub profile: Profile,
    /// The installed bundles that the options may select, by bundle name (same namespace).
    /// [`crate::requirements`] says which ones are needed.
    pub peers: IndexMap<String, Peer>,
}

/// Facts of the host that macros may ask for. Read once by the caller, stored in the profile afterwards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// First resolver a workload can use (`!dns`).
    pub dns: Option<IpAddr>,
    /// First non-loopback IPv4 address of the host (`!local_ip`).
    pub local_ip: Option<IpAddr>,
}

/// The stored outcome of an earlier resolution (`status.profile` and the profile Secret's key names).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// [`crate::Resolution::options`] as stored.
    pub options: IndexMap<String, String>,
    /// Names of the secrets that exist. Their values are none of this crate's business.
    pub secrets: BTreeSet<String>,
}

/// An installed bundle, as seen by those that bind to it.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its `spec.service`.
    pub service: String,
    /// The option surface of its image.
    pub surface: Surface,
    /// Its resolved options (its `status.profile`); empty while it is not resolved yet.
    pub options: IndexMap<String, String>,
}
