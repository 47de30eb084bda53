//! What a replica does beside serving. Each of these runs until it is dropped.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use keyspace::{Alarm, AlarmKind, Command, Comparison, Engine, EngineError, Error, KvHash, Refusal, read};
use tokio::time::Instant;

use crate::config::CUT_AFTER_LOG_BYTES;
use crate::parts::Parts;
use crate::proposer::Proposals;
use crate::revision_times::RevisionTimes;
use crate::store;

/// How often the leader looks whether history is long or old enough to be cut; a short age is looked at more often.
const COMPACT_EVERY: Duration = Duration::from_secs(60);
/// How often at most.
const COMPACT_AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// How often members compare their states.
const COMPARE_EVERY: Duration = Duration::from_secs(10 * 60);
/// Pause after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Removes what compactions made unreadable, in steps between which writes go on.
pub(crate) async fn sweep(parts: Arc<Parts>) {
    loop {
        let machine = parts.machine.clone();
        match store::blocking(&parts.store, move || machine.sweep()).await {
            Some(Ok(true)) => {}
            Some(Ok(false)) => parts.machine.compacted().notified().await,
            Some(Err(error)) => {
                if matches!(error, EngineError::Corrupt { .. }) {
                    parts.damaged.notify_one();
                }
                tracing::warn!(error = &error as &dyn std::error::Error, "old history could not be removed");
                tokio::time::sleep(RETRY_AFTER).await;
            }
            // The runtime is going down.
            None => return,
        }
    }
}

/// Has the log cut when it has grown enough. Members that lack what was cut get a snapshot: the larger the state, the
/// more of the log is kept to spare them that.
pub(crate) async fn cut_log(parts: Arc<Parts>) {
    loop {
        parts.log_pressure.notified().await;
        let state = if parts.leads_alone() { 0 } else { parts.engine.size_bytes().unwrap_or(0) };
        let enough = state.max(CUT_AFTER_LOG_BYTES);
        parts.log.cut_after(enough);
        if parts.log.grown() >= enough && parts.raft.trigger().snapshot().await.is_err() {
            // Raft has stopped, and whoever writes is told so.
            return;
        }
    }
}

/// Compacts history that is longer or older than configured, while this member leads.
pub(crate) async fn compact(parts: Arc<Parts>, proposals: Proposals) {
    let (keep, age) = (parts.config.keep_revisions, parts.config.keep_age);
    if keep == 0 && age.is_zero() {
        return;
    }
    let began = Instant::now();
    let mut ages = RevisionTimes::new(age);
    let pause = if age.is_zero() { COMPACT_EVERY } else { (age / 10).clamp(COMPACT_AT_MOST_EVERY, COMPACT_EVERY) };
    loop {
        tokio::time::sleep(pause).await;
        if !parts.leads() {
            ages = RevisionTimes::new(age);
            continue;
        }
        let revisions = read::revisions(&parts.engine.view());
        let compacted = match revisions {
            Ok((newest, compacted)) => {
                let old = ages.observe(began.elapsed(), newest).filter(|old| *old > compacted);
                match due((newest, compacted), keep).max(old) {
                    Some(revision) => proposals.propose(Command::Compact { revision }).await.map(drop),
                    None => Ok(()),
                }
            }
            Err(error) => Err(error.into()),
        };
        match compacted {
            // Somebody else compacted further meanwhile.
            Ok(()) | Err(Error::Refused(Refusal::Compacted { .. })) => {}
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "history could not be compacted"),
        }
    }
}

/// The revision to compact at, once there is a tenth more than is to be kept.
fn due((newest, compacted): (u64, u64), keep: u64) -> Option<u64> {
    if keep == 0 {
        return None;
    }
    let kept = newest.saturating_sub(compacted);
    (kept > keep.saturating_add(keep / 10)).then(|| newest - keep)
}

/// Tells the hash of the leader's state through the log, for every member to compare, when there are several.
pub(crate) async fn tell_hash(parts: Arc<Parts>, proposals: Proposals) {
    loop {
        tokio::time::sleep(COMPARE_EVERY).await;
        if !parts.leads() || parts.leads_alone() {
            continue;
        }
        match hash(&parts, 0).await {
            Some(Ok(hash)) => match proposals.propose_here(Command::CheckHash { hash }).await {
                Ok(_) | Err(Error::NotLeader { .. }) => {}
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "members were not compared"),
            },
            Some(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "members were not compared");
            }
            None => return,
        }
    }
}

/// Compares this member's state with each hash the leader tells; a difference is an alarm.
pub(crate) async fn compare_hash(parts: Arc<Parts>, proposals: Proposals) {
    let mut told = parts.machine.leader_hash();
    while told.changed().await.is_ok() {
        let Some(leaders) = *told.borrow_and_update() else { continue };
        match hash(&parts, leaders.revision).await {
            Some(Ok(own)) if own.compare(&leaders) == Comparison::Differs => {
                tracing::error!(?own, ?leaders, "this member's keyspace differs from the leader's");
                let voters: Vec<u64> = {
                    let metrics = parts.raft.server_metrics();
                    let metrics = metrics.borrow();
                    metrics.membership_config.membership().voter_ids().collect()
                };
                if raise(&parts, &proposals, difference(parts.config.node_id, &voters)).await.is_break() {
                    return;
                }
            }
            // Compacted meanwhile: the next one will tell.
            Some(Ok(_) | Err(Error::Refused(_))) => {}
            Some(Err(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "this member could not be compared");
            }
            None => return,
        }
    }
}

/// What it means that a member differs from the leader. One of several voters, or a learner, may be left aside: the others
/// go on. Of two voters nobody knows which one is right.
fn difference(member: u64, voters: &[u64]) -> AlarmKind {
    let left = voters.iter().filter(|voter| **voter != member).count();
    if !voters.contains(&member) || left >= 2 { AlarmKind::Differs } else { AlarmKind::Corrupt }
}

/// Says when this member found records of its own that it cannot read.
pub(crate) async fn tell_damage(parts: Arc<Parts>, proposals: Proposals) {
    loop {
        parts.damaged.notified().await;
        let alarm = Alarm { member: parts.config.node_id, kind: AlarmKind::Damaged };
        let told = read::alarms(&parts.engine.view()).is_ok_and(|alarms| alarms.contains(&alarm));
        if !told && raise(&parts, &proposals, AlarmKind::Damaged).await.is_break() {
            return;
        }
    }
}

/// Turns an alarm of this member on, however long that takes; ends when the keyspace does.
async fn raise(parts: &Parts, proposals: &Proposals, kind: AlarmKind) -> ControlFlow<()> {
    let alarm = Alarm { member: parts.config.node_id, kind };
    while let Err(error) = proposals.propose(Command::AlarmSet(alarm)).await {
        // A store that has failed takes no writes any more; whoever runs it is told.
        if matches!(error, Error::Closed) || parts.store.fault().is_some() {
            return ControlFlow::Break(());
        }
        tracing::warn!(error = &error as &dyn std::error::Error, "an alarm was not recorded");
        tokio::time::sleep(RETRY_AFTER).await;
    }
    ControlFlow::Continue(())
}

/// The hash of this member's state, taken on another thread; nothing when the runtime is going down.
async fn hash(parts: &Arc<Parts>, revision: u64) -> Option<Result<KvHash, Error>> {
    let hashing = parts.clone();
    store::blocking(&parts.store, move || hashing.hash(revision)).await
}

/// Follows who leads. Runs until it is dropped.
pub(crate) async fn follow_leader(parts: Arc<Parts>) {
    let mut servers = parts.raft.server_metrics();
    loop {
        parts.look_for_leader();
        // Raft announces no change of the time since it heard of a majority.
        if let Ok(Err(_)) = tokio::time::timeout(parts.config.timing.heartbeat, servers.changed()).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use keyspace::testing::PATIENCE;
    use keyspace::{Alarm, AlarmKind, Command, Keyspace, KeyspaceExt, KvHash};
    use prometheus_client::registry::Registry;

    use super::{difference, due};
    use crate::{Config, Replica};

    /// A member whose state is not the leader's says so to all; one that agrees, or cannot tell, says nothing.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_member_that_differs_raises_an_alarm() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let replica = Replica::open(Config::new(dir.path().join("keyspace")), &mut Registry::default()).await;
        let replica = replica.expect("opens");
        replica.put("k", "x").await.expect("put");
        let right = replica.hash_kv(0).await.expect("hash");
        let unknown = KvHash { compact_revision: right.compact_revision + 1, hash: !right.hash, ..right };
        let wrong = KvHash { hash: !right.hash, ..right };
        for (hash, alarms) in [(right, 0), (unknown, 0), (wrong, 1)] {
            replica.proposals.propose(Command::CheckHash { hash }).await.expect("proposes");
            let reached = async {
                while replica.alarms().await.expect("alarms").len() != alarms {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, reached).await.expect("compares");
        }
        assert_eq!(replica.alarms().await.expect("alarms"), [Alarm { member: 1, kind: AlarmKind::Corrupt }]);
        replica.put("k", "y").await.expect_err("nothing is written");
        let closed = replica.closed();
        replica.shutdown().await.expect("shuts down");
        drop(replica);
        closed.await;
    }

    #[test]
    fn one_of_several_is_left_aside() {
        assert_eq!(difference(1, &[1]), AlarmKind::Corrupt);
        assert_eq!(difference(2, &[1, 2]), AlarmKind::Corrupt);
        assert_eq!(difference(3, &[1, 2, 3]), AlarmKind::Differs);
        assert_eq!(difference(2, &[1]), AlarmKind::Differs, "a learner");
    }

    #[test]
    fn compacts_in_steps() {
        assert_eq!(due((100, 0), 100), None);
        assert_eq!(due((110, 0), 100), None);
        assert_eq!(due((111, 0), 100), Some(11));
        assert_eq!(due((120, 11), 100), None);
        assert_eq!(due((5, 9), 100), None);
        assert_eq!(due((5_000, 0), 0), None);
    }
}
