//! Who the members are, and changing that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use keyspace::{
    Alarm, AlarmKind, Cluster, ClusterError, ClusterState, Command, Engine, MAX_VOTERS, Member, MemberChange,
    MemberRole, MemberState, read,
};
use openraft::ChangeMembers;
use openraft::error::{ClientWriteError, RaftError};
use openraft::storage::RaftLogStorage;
use tokio::sync::Mutex;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::leadership::{Held, Leader};
use crate::parts::{Parts, tombstone};
use crate::peer::hello::Lane;
use crate::peer::wire::{Answer, Request};
use crate::proposer::Proposals;
use crate::types::{Peer, RaftMetrics};

/// A learner that lacks no more than so many log entries has caught up: what is left passes while it is promoted.
const CAUGHT_UP_ENTRIES: u64 = 500;
/// Pause before a leader with an alarm tries again to hand over: writes wait meanwhile.
const ASIDE_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// The membership, as the leader changes it and every member tells it.
#[derive(Debug)]
pub(crate) struct Members {
    parts: Arc<Parts>,
    proposals: Proposals,
    /// One change at a time.
    changing: Mutex<()>,
}

fn unavailable(detail: impl Into<String>) -> ClusterError {
    ClusterError::Unavailable { detail: detail.into() }
}

fn late(_: Elapsed) -> ClusterError {
    unavailable("too few voters answered in time; it is made as soon as they do")
}

impl From<(u64, &Peer)> for MemberKey {
    fn from((id, peer): (u64, &Peer)) -> Self {
        let Peer { address, name, api_url } = peer.clone();
        MemberKey(Member { id, name, peer_address: address, api_url })
    }
}

struct MemberKey(Member);

fn peer_of(member: &Member) -> Peer {
    Peer { address: member.peer_address.clone(), name: member.name.clone(), api_url: member.api_url.clone() }
}

/// While it lives, this member begins nothing as a leader and sends no heartbeats.
struct Quiet<'p> {
    parts: &'p Parts,
    held: Option<Held<'p>>,
}

impl<'p> Quiet<'p> {
    fn new(parts: &'p Parts) -> Self {
        let held = Some(parts.leadership.hold());
        parts.raft.runtime_config().heartbeat(false);
        Quiet { parts, held }
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        self.parts.raft.runtime_config().heartbeat(true);
        drop(self.held.take());
        self.parts.look_for_leader();
    }
}

impl Members {
    pub(crate) fn new(parts: Arc<Parts>, proposals: Proposals) -> Self {
        Members { parts, proposals, changing: Mutex::default() }
    }

    fn metrics(&self) -> RaftMetrics {
        self.parts.raft.metrics().borrow().clone()
    }

    /// Makes a change, as the leader.
    pub(crate) async fn change(&self, change: MemberChange) -> Result<(), ClusterError> {
        if self.parts.links.transport().is_none() {
            return Err(ClusterError::Alone);
        }
        let _one = self.changing.lock().await;
        match change {
            MemberChange::Add(member) => self.add(&member).await,
            MemberChange::Promote { id } => self.promote(&[id]).await,
            MemberChange::Remove { id, force } => self.remove(id, force).await,
            MemberChange::Lead { id } => self.hand_over(id).await,
        }
    }

    async fn add(&self, member: &Member) -> Result<(), ClusterError> {
        let id = member.id;
        if self.parts.was_removed(id) {
            return Err(ClusterError::Removed { id });
        }
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        for (other, peer) in membership.nodes().filter(|(other, _)| **other != id) {
            if !member.name.is_empty() && peer.name == member.name {
                return Err(ClusterError::Exists { id: *other, name: member.name.clone() });
            }
            if peer.address == member.peer_address {
                return Err(ClusterError::Exists { id: *other, name: member.peer_address.clone() });
            }
        }
        let nodes = BTreeMap::from([(id, peer_of(member))]);
        match membership.get_node(&id) {
            Some(peer) if *peer == peer_of(member) => Ok(()),
            // Connections prove their identity, so another address cannot make another member of it.
            Some(_) => self.alter(ChangeMembers::SetNodes(nodes)).await,
            None => self.alter(ChangeMembers::AddNodes(nodes)).await,
        }
    }

    /// Gives learners that have caught up a vote, all in one step.
    async fn promote(&self, ids: &[u64]) -> Result<(), ClusterError> {
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        let mut voters: BTreeSet<u64> = membership.voter_ids().collect();
        for &id in ids {
            if membership.get_node(&id).is_none() {
                return Err(ClusterError::NotFound { id });
            }
            if !voters.insert(id) {
                continue;
            }
            let behind = behind(&metrics, id);
            if behind > CAUGHT_UP_ENTRIES {
                return Err(ClusterError::Behind { id, behind });
            }
            if !self.answers(id).await {
                return Err(ClusterError::Silent { id });
            }
        }
        if voters.len() > MAX_VOTERS {
            return Err(ClusterError::Voters { voters: voters.len() });
        }
        self.alter(ChangeMembers::AddVoterIds(ids.iter().copied().collect())).await
    }

    async fn remove(&self, id: u64, force: bool) -> Result<(), ClusterError> {
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        let Some(peer) = membership.get_node(&id) else {
            return Err(if self.parts.was_removed(id) {
                ClusterError::Removed { id }
            } else {
                ClusterError::NotFound { id }
            });
        };
        let is_voter = membership.voter_ids().any(|voter| voter == id);
        if is_voter {
            let left: Vec<u64> = membership.voter_ids().filter(|voter| *voter != id).collect();
            if left.is_empty() {
                return Err(ClusterError::Voters { voters: 0 });
            }
            let reachable = self.answering(&left).await;
            if !force && !is_majority(reachable, left.len()) {
                return Err(ClusterError::Quorum { id, left: left.len(), reachable });
            }
            if id == self.parts.config.node_id {
                let successor =
                    left.into_iter().filter(|voter| self.is_live(*voter)).min_by_key(|v| behind(&metrics, *v));
                self.hand_over(successor.ok_or(ClusterError::Voters { voters: 0 })?).await?;
                return Err(unavailable("another member leads now and can remove this one"));
            }
        }
        // The tombstone is first, and counts only once the member is none any more.
        let bury = Command::RecordRemoval { member: id, key: tombstone(id).into(), value: peer.name.clone().into() };
        let buried = timeout(self.committed_within(), self.proposals.propose_here(bury)).await;
        buried.map_err(late)?.map_err(|error| unavailable(error.to_string()))?;
        if is_voter {
            self.alter(ChangeMembers::RemoveVoters(BTreeSet::from([id]))).await
        } else {
            self.alter(ChangeMembers::RemoveNodes(BTreeSet::from([id]))).await
        }
    }

    async fn alter(&self, change: ChangeMembers<u64, Peer>) -> Result<(), ClusterError> {
        let altered = timeout(self.committed_within(), self.parts.raft.change_membership(change, false)).await;
        match altered.map_err(late)? {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                Err(unavailable("the leader has changed"))
            }
            Err(error) => Err(unavailable(error.to_string())),
        }
    }

    /// Longest for a step of a change to be committed.
    fn committed_within(&self) -> Duration {
        self.parts.config.timing.patience() * 3
    }

    /// Ends a change that was begun and not ended, since its leader was lost or too few voters answered in time: of the
    /// old voters and the new ones only the new ones are left.
    async fn finish(&self) {
        let metrics = self.metrics();
        let begun = &metrics.membership_config;
        let is_committed = begun.log_id().map(|at| at.index) <= metrics.last_applied.map(|at| at.index);
        if begun.membership().get_joint_config().len() < 2 || !is_committed {
            return;
        }
        match self.alter(ChangeMembers::AddVoterIds(BTreeSet::new())).await {
            Ok(()) => tracing::info!("a change of the membership that was begun before is ended"),
            Err(error) => tracing::warn!(%error, "a change of the membership that was begun before goes on"),
        }
    }

    /// Has another voter lead: nothing new is begun here and no heartbeat sent, the other one gets the whole log and is
    /// told to stand for election at once. What is asked meanwhile waits for it.
    async fn hand_over(&self, id: u64) -> Result<(), ClusterError> {
        let parts = &self.parts;
        if id == parts.config.node_id {
            return Ok(());
        }
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        if membership.get_node(&id).is_none() {
            return Err(ClusterError::NotFound { id });
        }
        if membership.voter_ids().all(|voter| voter != id) {
            return Err(ClusterError::NotVoter { id });
        }
        if !self.answers(id).await {
            return Err(ClusterError::Silent { id });
        }
        // Who leads since a moment ago does not know yet what the others have.
        let mut metrics = parts.raft.metrics();
        let near = metrics.wait_for(|metrics| behind(metrics, id) <= CAUGHT_UP_ENTRIES);
        if timeout(parts.config.timing.patience(), near).await.is_err() {
            return Err(ClusterError::Behind { id, behind: behind(&self.metrics(), id) });
        }
        // Ends however this does: who asked may go away in the middle.
        let _quiet = Quiet::new(parts);
        self.elected(id).await
    }

    /// Waits until the member has the whole log, and has it stand for election until it leads.
    async fn elected(&self, id: u64) -> Result<(), ClusterError> {
        let (parts, timing) = (&self.parts, self.parts.config.timing);
        let until = Instant::now() + timing.patience();
        let last = self.last_entry().await.map_err(|error| unavailable(error.to_string()))?;
        let mut metrics = parts.raft.metrics();
        let caught_up = metrics.wait_for(|metrics| matched(metrics, id) >= last);
        if timeout_at(until, caught_up).await.is_err() {
            return Err(ClusterError::Behind { id, behind: behind(&self.metrics(), id) });
        }
        // Voters vote for nobody else until their lease of this leader is over. Of three, the vote of this member and the
        // other one's own are enough, and this one's lease began when it was elected.
        let voters = self.metrics().membership_config.membership().voter_ids().count();
        if voters > 3 || parts.leadership.stands_for() <= timing.election_max {
            sleep(timing.election_max + timing.heartbeat / 5).await;
        }
        let mut servers = parts.raft.server_metrics();
        // To ask again ends the election that goes on, so the pauses grow: where disks are slow, votes take longer to
        // store than a heartbeat.
        let mut pause = timing.heartbeat;
        while Instant::now() < until {
            let address = parts.address_of(id);
            if let Err(error) = parts.links.ask(id, &address, Lane::Control, &Request::Elect).await {
                tracing::warn!(member = format!("{id:x}"), %error, "a member cannot be told to lead");
            }
            let leads = servers.wait_for(|metrics| metrics.current_leader == Some(id));
            if timeout_at(until.min(Instant::now() + pause), leads).await.is_ok() {
                return Ok(());
            }
            pause *= 2;
        }
        Err(unavailable("the other member was not elected in time"))
    }

    /// The last entry of this member's log, with everything that was begun before this was asked. (Raft's metrics do not
    /// have an entry yet while it is being stored.)
    async fn last_entry(&self) -> Result<Option<u64>, Box<dyn std::error::Error + Send + Sync>> {
        self.parts.raft.with_raft_state(|_| ()).await?;
        let log = self.parts.log.clone().get_log_state().await?;
        Ok(log.last_log_id.map(|last| last.index))
    }

    /// Does what alarms ask of the leader: those of members that were removed are turned off, one that cannot be trusted
    /// hands over, and if most voters differ from it, all writing stops.
    async fn heed_alarms(&self, aside_after: &mut Instant) {
        let me = self.parts.config.node_id;
        let alarms = match read::alarms(&self.parts.engine.view()) {
            Ok(alarms) if alarms.is_empty() => return,
            Ok(alarms) => alarms,
            Err(error) => return tracing::warn!(%error, "alarms could not be read"),
        };
        for alarm in alarms.iter().filter(|alarm| self.parts.was_removed(alarm.member)) {
            self.propose_alarm(Command::AlarmClear(*alarm)).await;
        }
        let metrics = self.metrics();
        let voters: Vec<u64> = metrics.membership_config.membership().voter_ids().collect();
        let corrupt = Alarm { member: me, kind: AlarmKind::Corrupt };
        if most_differ(&alarms, &voters) && !alarms.contains(&corrupt) {
            self.propose_alarm(Command::AlarmSet(corrupt)).await;
        }
        let aside = |member: u64| alarms.iter().any(|alarm| alarm.member == member && alarm.kind.steps_aside());
        if !aside(me) || Instant::now() < *aside_after {
            return;
        }
        let sound = voters.into_iter().filter(|voter| *voter != me && self.is_live(*voter) && !aside(*voter));
        if let Some(successor) = sound.min_by_key(|voter| behind(&metrics, *voter)) {
            *aside_after = Instant::now() + ASIDE_AGAIN_AFTER;
            match self.hand_over(successor).await {
                Ok(()) => {
                    tracing::warn!(member = format!("{successor:x}"), "this member has an alarm and leads no more")
                }
                Err(error) => tracing::warn!(%error, "this member has an alarm, and nobody else leads"),
            }
        }
    }

    async fn propose_alarm(&self, command: Command) {
        tracing::warn!(?command, "keyspace alarm");
        let proposed = timeout(self.committed_within(), self.proposals.propose_here(command)).await;
        if let Ok(Err(error)) = proposed {
            tracing::warn!(%error, "an alarm was not recorded");
        }
    }

    fn is_live(&self, id: u64) -> bool {
        id == self.parts.config.node_id || self.parts.links.is_live(id)
    }

    /// Whether the member answers now. That it did a moment ago is not enough where its vote is going to be needed.
    async fn answers(&self, id: u64) -> bool {
        let parts = &self.parts;
        if id == parts.config.node_id {
            return true;
        }
        let address = parts.address_of(id);
        let asked = parts.links.ask(id, &address, Lane::Control, &Request::Presence);
        matches!(timeout(parts.config.timing.election_max, asked).await, Ok(Ok(_)))
    }

    /// How many of these members answer now.
    async fn answering(&self, ids: &[u64]) -> usize {
        let answers = futures::future::join_all(ids.iter().map(|id| self.answers(*id))).await;
        answers.into_iter().filter(|answers| *answers).count()
    }

    /// Learners to be given a vote now: as many as make the number of voters odd, of those that have caught up.
    fn due(&self) -> Vec<u64> {
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        let ready = |id: &u64| self.is_live(*id) && behind(&metrics, *id) <= CAUGHT_UP_ENTRIES;
        let mut learners: Vec<u64> = membership.learner_ids().filter(ready).collect();
        learners.truncate(promotions(membership.voter_ids().count(), learners.len()));
        learners
    }

    fn state(&self) -> ClusterState {
        let metrics = self.metrics();
        let (me, leader) = (self.parts.config.node_id, metrics.current_leader);
        let membership = metrics.membership_config.membership();
        let state = |(id, peer): (&u64, &Peer)| {
            let MemberKey(member) = (*id, peer).into();
            let matched = metrics.replication.as_ref().and_then(|matched| matched.get(id).copied());
            MemberState {
                member,
                role: if membership.voter_ids().any(|v| v == *id) { MemberRole::Voter } else { MemberRole::Learner },
                leads: leader == Some(*id),
                reachable: self.is_live(*id),
                matched: matched.map(|matched| matched.map_or(0, |matched| matched.index)),
            }
        };
        ClusterState {
            cluster_id: self.parts.links.me().cluster_id,
            asked: me,
            leader,
            term: metrics.current_term,
            last_index: metrics.last_log_index.unwrap_or(0),
            applied_index: metrics.last_applied.map_or(0, |applied| applied.index),
            members: membership.nodes().map(state).collect(),
        }
    }

    /// Has the leader make a change, wherever it is.
    async fn request(&self, change: MemberChange) -> Result<(), ClusterError> {
        let parts = &self.parts;
        let until = Instant::now() + parts.config.timing.patience();
        loop {
            let leader = parts.leadership.leader(until).await.map_err(|error| unavailable(error.to_string()))?;
            let changed = match leader {
                Leader::Nowhere => continue,
                Leader::Here => self.change(change.clone()).await,
                Leader::There(id) => {
                    let address = parts.address_of(id);
                    match parts.links.ask(id, &address, Lane::Forward, &Request::Change(change.clone())).await {
                        Ok(Answer::Changed(changed)) => changed,
                        Ok(_) => Err(unavailable("the leader has changed")),
                        Err(error) => Err(unavailable(error.to_string())),
                    }
                }
            };
            match changed {
                // Every change may be asked for twice.
                Err(ClusterError::Unavailable { .. }) if Instant::now() < until => {
                    parts.leadership.settle(leader).await
                }
                changed => return changed,
            }
        }
    }
}

/// Whether so many voters differ from the leader that the leader may be the one that is wrong.
fn most_differ(alarms: &[Alarm], voters: &[u64]) -> bool {
    let differs = |member: &&u64| alarms.contains(&Alarm { member: **member, kind: AlarmKind::Differs });
    let differing = voters.iter().filter(differs).count();
    differing > 0 && differing * 2 >= voters.len()
}

/// How many log entries the member lacks, as the leader knows.
fn behind(metrics: &RaftMetrics, id: u64) -> u64 {
    metrics.last_log_index.unwrap_or(0).saturating_sub(matched(metrics, id).unwrap_or(0))
}

/// The last entry that a member is known to have.
fn matched(metrics: &RaftMetrics, id: u64) -> Option<u64> {
    let matched = metrics.replication.as_ref()?.get(&id).copied().flatten()?;
    Some(matched.index)
}

fn is_majority(count: usize, of: usize) -> bool {
    count > of / 2
}

/// How many of so many learners are given a vote, so that the number of voters gets or stays odd: an even number
/// tolerates no more failures than one less, and is more likely to have one.
fn promotions(voters: usize, learners: usize) -> usize {
    let most = (voters + learners).min(MAX_VOTERS);
    let odd = if most % 2 == 1 { most } else { most.saturating_sub(1) };
    odd.saturating_sub(voters)
}

/// While this member leads, ends changes that were left unfinished, gives learners a vote as they catch up, and heeds
/// alarms. Runs until dropped.
pub(crate) async fn tend(members: Arc<Members>) {
    let pause = members.parts.config.timing.heartbeat * 2;
    let mut aside_after = Instant::now();
    loop {
        sleep(pause).await;
        if !members.parts.leadership.is_here() {
            continue;
        }
        let _one = members.changing.lock().await;
        members.finish().await;
        members.heed_alarms(&mut aside_after).await;
        let due = members.due();
        if due.is_empty() {
            continue;
        }
        match members.promote(&due).await {
            Ok(()) => {
                let members = due.iter().map(|member| format!("{member:x}")).collect::<Vec<_>>().join(", ");
                tracing::info!(members, "learners have caught up and vote from now on");
            }
            Err(error) => tracing::warn!(%error, "learners could not be given a vote"),
        }
    }
}

/// Keeps what the membership records of this member up to date, and shows the others that it is there. Runs until
/// dropped.
pub(crate) async fn presence(members: Arc<Members>) {
    let parts = &members.parts;
    let me = parts.config.node_id;
    let pause = parts.config.timing.heartbeat;
    loop {
        let (announced, others): (bool, Vec<(u64, Peer)>) = {
            let metrics = parts.raft.server_metrics();
            let metrics = metrics.borrow();
            let membership = metrics.membership_config.membership();
            let announced = membership.get_node(&me).is_none_or(|peer| *peer == parts.config.peer);
            let others = membership.nodes().filter(|(id, _)| **id != me).map(|(id, peer)| (*id, peer.clone()));
            (announced, others.collect())
        };
        parts.links.keep(|member| others.iter().any(|(id, _)| *id == member));
        let asked = others.iter().map(|(id, peer)| {
            let asked = parts.links.ask(*id, &peer.address, Lane::Control, &Request::Presence);
            // Who does not answer is not waited for.
            timeout(pause, asked)
        });
        futures::future::join_all(asked).await;
        if !announced {
            let Peer { address, name, api_url } = parts.config.peer.clone();
            let member = Member { id: me, name, peer_address: address, api_url };
            if let Err(error) = members.request(MemberChange::Add(member)).await {
                tracing::warn!(%error, "this member's address could not be recorded");
            }
        }
        sleep(pause).await;
    }
}

/// The port, as the replica gives it.
#[derive(Clone, Debug)]
pub(crate) struct Port(pub(crate) Arc<Members>);

impl Cluster for Port {
    fn members(&self) -> BoxFuture<'_, ClusterState> {
        async move { self.0.state() }.boxed()
    }

    fn change(&self, change: MemberChange) -> BoxFuture<'_, Result<(), ClusterError>> {
        self.0.request(change).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voters_stay_odd() {
        let cases = [
            ((1, 0), 0),
            ((1, 1), 0),
            ((1, 2), 2),
            ((1, 3), 2),
            ((1, 4), 4),
            ((2, 0), 0),
            ((2, 1), 1),
            ((3, 1), 0),
            ((3, 2), 2),
            ((4, 1), 1),
            ((5, 3), 0),
        ];
        for ((voters, learners), promoted) in cases {
            assert_eq!(promotions(voters, learners), promoted, "{voters} voters, {learners} learners");
        }
    }

    #[test]
    fn a_leader_that_most_differ_from_may_be_wrong_itself() {
        let alarms = |members: &[u64]| -> Vec<Alarm> {
            members.iter().map(|member| Alarm { member: *member, kind: AlarmKind::Differs }).collect()
        };
        for (differing, voters, wanted) in [
            (&[][..], &[1, 2, 3][..], false),
            (&[3], &[1, 2, 3], false),
            (&[2, 3], &[1, 2, 3], true),
            (&[2, 3], &[1, 2, 3, 4, 5], false),
            (&[2, 3, 4], &[1, 2, 3, 4, 5], true),
            (&[2], &[1, 2], true),
            (&[4, 5], &[1, 2, 3], false),
            (&[], &[], false),
        ] {
            assert_eq!(most_differ(&alarms(differing), voters), wanted, "{differing:?} of {voters:?}");
        }
    }

    #[test]
    fn majorities() {
        assert!(is_majority(1, 1) && is_majority(2, 3) && is_majority(3, 5) && is_majority(2, 2));
        assert!(!is_majority(1, 2) && !is_majority(1, 3) && !is_majority(2, 5) && !is_majority(0, 1));
    }
}
