//! Sets and clears the alarms of this member: the quota is exceeded, the disk is full (see [`crate::room`]).

use std::sync::Arc;
use std::time::Duration;

use keyspace::{Alarm, AlarmKind, Command, Engine, EngineError, Error, read};

use crate::config::RESERVED_BYTES;
use crate::parts::Parts;
use crate::proposer::Proposals;

/// How often the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often while it is full.
const LOOK_FULL_EVERY: Duration = Duration::from_millis(500);
/// Room beyond the reserve at which a disk counts as no longer full, so that the alarm does not flutter.
const ROOMY_BYTES: u64 = RESERVED_BYTES + 8 * 1024 * 1024;
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
        // What woke it is looked at again.
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
    let over_quota = parts.room.take_refused();
    let free = parts.store.disk().free_bytes();
    let command = decide(Seen { member: parts.config.node_id, alarms: &alarms, over_quota, free });
    Ok((command, free.is_some_and(|free| free < ROOMY_BYTES)))
}

#[cfg(test)]
mod tests {
    use super::*;

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
