//! The numeric identity of a process below a root.

use serde::{Deserialize, Serialize};

/// Numeric identity of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserIds {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
}

impl UserIds {
    /// Root without supplementary groups.
    pub const ROOT: UserIds = UserIds { uid: 0, gid: 0, groups: Vec::new() };
}

/// `nobody:nogroup` (65534), the least of all users.
impl Default for UserIds {
    fn default() -> Self {
        Self { uid: 65534, gid: 65534, groups: Vec::new() }
    }
}
