//! Whether there is room to grow: the quota of the state, and the disk of this member.
//!
//! ```text
//!  Proposer ── before each entry ──► Room: refuses what grows, wakes the guard
//!  guard ── measures ──► decide ──► AlarmSet / AlarmClear in the log
//! ```
//!
//! The quota's alarm is about the keyspace: every member refuses, until somebody clears it. That of a full disk is about its
//! member, and goes with its reason: that member takes no writes of its own clients and hands leadership over, and the
//! others go on, as long as a majority of the voters has room.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use keyspace::{Alarm, AlarmKind, Command, Engine, EngineError, Error, Refusal, read};
use tokio::sync::Notify;

use crate::config::RESERVED_BYTES;
use crate::proposer::Proposals;
use crate::replica::Parts;
use crate::store::StateEngine;

/// How often the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often while it is full.
const LOOK_FULL_EVERY: Duration = Duration::from_millis(500);
/// Room beyond the reserve at which a disk counts as no longer full, so that the alarm does not flutter.
const ROOMY_BYTES: u64 = RESERVED_BYTES + 8 * 1024 * 1024;
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
    fn note(&self, me: u64, alarms: &[Alarm], voters: &[u64]) {
        self.starved.store(starved(alarms, voters).unwrap_or(0), Ordering::Relaxed);
        self.differs.store(alarms.contains(&Alarm { member: me, kind: AlarmKind::Differs }), Ordering::Relaxed);
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

/// What the guard sees.
#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    member: u64,
    alarms: &'a [Alarm],
    /// Whether a write was refused because of the quota since it last looked.
    over_quota: bool,
    /// Free bytes of the disk, if that can be told.
    free: Option<u64>,
}

/// What is to be said of it.
fn decide(seen: Seen<'_>) -> Option<Command> {
    let alarm = |kind| Alarm { member: seen.member, kind };
    let is_on = |kind| seen.alarms.contains(&alarm(kind));
    let disk_full = is_on(AlarmKind::DiskFull);
    if seen.free.is_some_and(|free| free < RESERVED_BYTES) && !disk_full {
        return Some(Command::AlarmSet(alarm(AlarmKind::DiskFull)));
    }
    if disk_full && seen.free.is_some_and(|free| free >= ROOMY_BYTES) {
        return Some(Command::AlarmClear(alarm(AlarmKind::DiskFull)));
    }
    (seen.over_quota && !is_on(AlarmKind::NoSpace)).then(|| Command::AlarmSet(alarm(AlarmKind::NoSpace)))
}

/// Sets and clears the alarms of this member. Runs until it is dropped.
pub(crate) async fn guard(parts: Arc<Parts>, proposals: Proposals) {
    loop {
        let mut pause = LOOK_EVERY;
        match look(&parts) {
            Ok((command, full)) => {
                if full {
                    pause = LOOK_FULL_EVERY;
                }
                if let Some(command) = command {
                    match proposals.propose(command.clone()).await {
                        Ok(_) => {
                            tracing::warn!(?command, "keyspace alarm");
                            continue;
                        }
                        Err(Error::Closed) => return,
                        Err(error) => {
                            tracing::warn!(error = &error as &dyn std::error::Error, "an alarm was not recorded");
                            // Without a look at `changed`: the proposal itself may have told it, and a store that has
                            // stopped refuses at once.
                            tokio::time::sleep(LOOK_FULL_EVERY).await;
                        }
                    }
                }
            }
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "alarms could not be read"),
        }
        // What woke it is looked at anew.
        tokio::select! {
            () = parts.room.changed.notified() => {}
            () = parts.machine.alarms_changed().notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// What to say, and whether the disk is full.
fn look(parts: &Parts) -> Result<(Option<Command>, bool), EngineError> {
    let alarms = read::alarms(&parts.engine.view())?;
    let voters: Vec<u64> = {
        let metrics = parts.raft.server_metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.membership().voter_ids().collect()
    };
    parts.room.note(parts.config.node_id, &alarms, &voters);
    let over_quota = parts.room.refused.swap(false, Ordering::Relaxed);
    let free = parts.store.disk().free_bytes();
    let command = decide(Seen { member: parts.config.node_id, alarms: &alarms, over_quota, free });
    Ok((command, free.is_some_and(|free| free < ROOMY_BYTES)))
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

    #[test]
    fn alarms_follow_their_reasons() {
        let alarm = |member, kind| Alarm { member, kind };
        let (full, disk) = (alarm(2, AlarmKind::NoSpace), alarm(2, AlarmKind::DiskFull));
        let others = alarm(1, AlarmKind::DiskFull);
        let (low, between, high) = (Some(RESERVED_BYTES - 1), Some(RESERVED_BYTES), Some(ROOMY_BYTES));
        for (alarms, over_quota, free, wanted) in [
            (&[][..], false, high, None),
            (&[], false, low, Some(Command::AlarmSet(disk))),
            (&[others], false, low, Some(Command::AlarmSet(disk))),
            (&[disk], false, low, None),
            (&[disk], false, between, None),
            (&[disk], false, high, Some(Command::AlarmClear(disk))),
            (&[others], false, high, None),
            (&[disk], false, None, None),
            (&[], true, high, Some(Command::AlarmSet(full))),
            (&[full], true, high, None),
            (&[full], false, high, None),
        ] {
            assert_eq!(
                decide(Seen { member: 2, alarms, over_quota, free }),
                wanted,
                "{alarms:?} {over_quota} {free:?}"
            );
        }
    }
}
