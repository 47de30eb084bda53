//! A volume as the inventory has it.

use serde::{Deserialize, Serialize};

use crate::Id;

/// Who owns the root of a fresh volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// A volume that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Volume {
    /// Its id.
    pub id: Id,
    /// Bytes it was asked to hold.
    pub capacity_bytes: u64,
    /// Owner its root was made with.
    pub ownership: Ownership,
    /// Whether its data are encrypted at rest.
    #[serde(default)]
    pub encrypted: bool,
    /// It is being deleted: what is left of it goes at the next start, should this one not finish.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleting: bool,
}
