//! Alarms: what is wrong with the keyspace as a whole, or with one of its members. They are part of the replicated state,
//! so that every member refuses the same commands.
//!
//! An alarm about one member alone forbids nothing here: that member steps aside, and the others go on.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::engine::{Table, View};
use crate::error::EngineError;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlarmKind {
    /// The state has outgrown its quota (etcd's `NOSPACE`): what would grow it is refused until somebody clears the
    /// alarm. What exists can still be deleted, and replaced by what is hardly larger.
    NoSpace,
    /// A member's state differs from the leader's, and nobody knows which of them is right (etcd's `CORRUPT`): every
    /// write is refused until somebody clears the alarm or removes the member.
    Corrupt,
    /// A member's disk is nearly full. It alone takes no writes that grow the keyspace, and clears the alarm when there is
    /// room.
    DiskFull,
    /// A member cannot read some of its own records. It goes on with the others, and does not lead.
    Damaged,
    /// A member's state differs from that of the others, which agree. It answers no reads and does not lead.
    Differs,
}

impl AlarmKind {
    /// All of them.
    pub const ALL: [AlarmKind; 5] =
        [AlarmKind::NoSpace, AlarmKind::Corrupt, AlarmKind::DiskFull, AlarmKind::Damaged, AlarmKind::Differs];

    /// Whether the member should not lead as long as another one can.
    pub fn steps_aside(self) -> bool {
        matches!(self, AlarmKind::DiskFull | AlarmKind::Damaged | AlarmKind::Differs)
    }
}

impl std::fmt::Display for AlarmKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            AlarmKind::NoSpace => "NoSpace",
            AlarmKind::Corrupt => "Corrupt",
            AlarmKind::DiskFull => "DiskFull",
            AlarmKind::Damaged => "Damaged",
            AlarmKind::Differs => "Differs",
        })
    }
}

/// An alarm that is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Alarm {
    /// The member it is about.
    pub member: u64,
    /// What is wrong with it.
    pub kind: AlarmKind,
}

/// Alarms that are on, in order.
pub(crate) fn read(view: &impl View) -> Result<Vec<Alarm>, EngineError> {
    match view.get(Table::Meta, codec::ALARMS_KEY)? {
        None => Ok(Vec::new()),
        Some(bytes) => codec::decode(&bytes, "alarms"),
    }
}
