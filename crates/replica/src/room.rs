//! Whether there is room to grow: the quota of the state, and the disk of this member.
//!
//! ```text
//!  Proposer ── before each entry ──► Room: refuses what grows, wakes the guard
//!  room_guard ── measures ──► decide ──► AlarmSet / AlarmClear in the log
//! ```
//!
//! The quota's alarm is about the keyspace: every member refuses, until somebody clears it. That of a full disk is about its
//! member, and goes with its reason: that member takes no writes of its own clients and hands leadership over, and the
//! others go on, as long as a majority of the voters has room.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keyspace::{Alarm, AlarmKind, Engine, Error, Refusal};
use tokio::sync::Notify;

use crate::store::StateEngine;

/// What a record takes beside its key and value, about: revisions, index, checksums.
const RECORD_BYTES: u64 = 256;

/// The state is measured again at the latest when so small a part of the quota was admitted since: what was admitted is
/// an estimate.
const MEASURE_PARTS: u64 = 16;

/// What is known of the room of one member.
#[derive(Debug)]
pub(crate) struct Room {
    quota: u64,
    engine: Arc<StateEngine>,
    /// Size when last measured, and what was admitted since.
    measured: AtomicU64,
    admitted: AtomicU64,
    /// Whether something was refused because of the quota since the guard last looked.
    refused: AtomicBool,
    /// A voter with a full disk, when too few others have room; 0 when enough have.
    starved: AtomicU64,
    /// Whether this member's state differs from the others'.
    differs: AtomicBool,
    /// Wakes the guard.
    pub(crate) changed: Notify,
}

impl Room {
    /// Room for a state of `quota` bytes, 0 for any size.
    pub(crate) fn new(quota: u64, engine: Arc<StateEngine>) -> Self {
        let room = Room {
            quota,
            engine,
            measured: AtomicU64::new(0),
            admitted: AtomicU64::new(0),
            refused: AtomicBool::new(false),
            starved: AtomicU64::new(0),
            differs: AtomicBool::new(false),
            changed: Notify::new(),
        };
        // What was there before counts.
        room.measure();
        room
    }

    /// An error when too few voters have room on their disks.
    pub(crate) fn require_majority(&self) -> Result<(), Error> {
        match self.starved.load(Ordering::Relaxed) {
            0 => Ok(()),
            member => Err(Refusal::NoSpace { member }.into()),
        }
    }

    /// An error when this member's state is not what the others have.
    pub(crate) fn require_agreement(&self, member: u64) -> Result<(), Error> {
        if self.differs.load(Ordering::Relaxed) { Err(Refusal::Corrupt { member }.into()) } else { Ok(()) }
    }

    /// Takes over what the alarms say of the members.
    pub(crate) fn note(&self, me: u64, alarms: &[Alarm], voters: &[u64]) {
        self.starved.store(starved(alarms, voters).unwrap_or(0), Ordering::Relaxed);
        self.differs.store(alarms.contains(&Alarm { member: me, kind: AlarmKind::Differs }), Ordering::Relaxed);
    }

    /// Whether something was refused because of the quota since this was last asked.
    pub(crate) fn take_refused(&self) -> bool {
        self.refused.swap(false, Ordering::Relaxed)
    }

    /// Whether the quota leaves room for a command that grows the state by so many bytes of keys and values. The state
    /// is measured only when an estimate says that it may be full.
    pub(crate) fn admits(&self, bytes: usize) -> bool {
        if self.quota == 0 {
            return true;
        }
        // A value is written to the newest versions and to the history.
        let cost = 2 * bytes as u64 + RECORD_BYTES;
        let admitted = self.admitted.fetch_add(cost, Ordering::Relaxed) + cost;
        let estimate = self.measured.load(Ordering::Relaxed) + admitted;
        if estimate <= self.quota && admitted <= self.quota / MEASURE_PARTS {
            return true;
        }
        let fits = self.measure().saturating_add(cost) <= self.quota;
        if fits {
            self.admitted.store(cost, Ordering::Relaxed);
        } else {
            self.refused.store(true, Ordering::Relaxed);
            self.changed.notify_one();
        }
        fits
    }

    fn measure(&self) -> u64 {
        let size = self.engine.size_bytes().unwrap_or(0);
        self.measured.store(size, Ordering::Relaxed);
        self.admitted.store(0, Ordering::Relaxed);
        size
    }
}

/// A voter whose disk is full, when those with room are no majority.
fn starved(alarms: &[Alarm], voters: &[u64]) -> Option<u64> {
    let is_full = |member: &&u64| alarms.contains(&Alarm { member: **member, kind: AlarmKind::DiskFull });
    let full = voters.iter().filter(is_full).count();
    let roomy = voters.len() - full;
    if roomy > voters.len() / 2 { None } else { voters.iter().find(is_full).copied() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_with_room_goes_on() {
        let full = |members: &[u64]| -> Vec<Alarm> {
            let others = [Alarm { member: 1, kind: AlarmKind::NoSpace }, Alarm { member: 1, kind: AlarmKind::Damaged }];
            members.iter().map(|member| Alarm { member: *member, kind: AlarmKind::DiskFull }).chain(others).collect()
        };
        for (voters, members, wanted) in [
            (&[1][..], &[][..], None),
            (&[1], &[1], Some(1)),
            (&[1, 2], &[2], Some(2)),
            (&[1, 2, 3], &[3], None),
            (&[1, 2, 3], &[1, 3], Some(1)),
            // A learner, and one that is no member, hold up nobody.
            (&[1, 2, 3], &[3, 4, 5], None),
            (&[1], &[2], None),
            (&[], &[], None),
        ] {
            assert_eq!(starved(&full(members), voters), wanted, "{voters:?}, of which {members:?} are full");
        }
    }
}
