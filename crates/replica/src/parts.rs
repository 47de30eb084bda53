//! What the replica's tasks share with it.

use std::sync::Arc;

use keyspace::read;
use keyspace::{ClusterClock, Engine, Error as KeyspaceError, RangeRequest};
use tokio::sync::Notify;

use crate::config::Config;
use crate::leadership::Leadership;
use crate::log_store::LogStore;
use crate::peer::links::Links;
use crate::peer::standing::Standing;
use crate::room::Room;
use crate::state_machine::StateMachine;
use crate::store::{self, StateEngine, Store};
use crate::types::Raft;

/// Keys of members that were removed, before their ids: outside of what anybody else writes.
const REMOVED: &[u8] = b"\0nanocloud/members/removed/";

/// What the replica's tasks share with it.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) store: Arc<Store>,
    pub(crate) engine: Arc<StateEngine>,
    pub(crate) log: LogStore,
    pub(crate) machine: StateMachine,
    pub(crate) raft: Raft,
    pub(crate) clock: Arc<ClusterClock>,
    pub(crate) log_pressure: Arc<Notify>,
    pub(crate) room: Arc<Room>,
    pub(crate) leadership: Leadership,
    pub(crate) links: Links,
    /// Told when a record of this member could not be read.
    pub(crate) damaged: Arc<Notify>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Parts {
    /// Takes over what Raft says of the leader. Before this member begins to lead in a new term, it goes on counting time
    /// from where the state has it: no lease ends early.
    pub(crate) fn look_for_leader(&self) {
        self.leadership.look(&self.raft, self.config.node_id, || self.take_over_time());
    }

    /// Whether this member leads.
    pub(crate) fn leads(&self) -> bool {
        self.leadership.is_here()
    }

    /// Whether this member leads and is the only voter. The log knows without delay when that ends: before another
    /// member can get a membership with other voters, or a vote, it has been written here.
    pub(crate) fn leads_alone(&self) -> bool {
        self.log.is_of_one() && {
            let metrics = self.raft.server_metrics();
            let metrics = metrics.borrow();
            let voters = metrics.membership_config.membership().voter_ids();
            metrics.current_leader == Some(self.config.node_id) && voters.eq([self.config.node_id])
        }
    }

    /// Where the member can be reached; empty when it is none.
    pub(crate) fn address_of(&self, member: u64) -> String {
        address_of(&self.raft, member)
    }

    /// What is known of a member that connects.
    pub(crate) fn standing(&self, member: u64) -> Standing {
        let metrics = self.raft.server_metrics();
        let is_member = metrics.borrow().membership_config.membership().get_node(&member).is_some();
        match is_member {
            true => Standing::Member,
            false if self.was_removed(member) => Standing::Removed,
            false => Standing::Unknown,
        }
    }

    /// Whether that was a member and was removed. A member that knows of no removal yet says no.
    pub(crate) fn was_removed(&self, member: u64) -> bool {
        let metrics = self.raft.server_metrics();
        if metrics.borrow().membership_config.membership().get_node(&member).is_some() {
            return false;
        }
        let request = RangeRequest::key(tombstone(member));
        read::range(&self.engine.view(), &request).is_ok_and(|found| !found.kvs.is_empty())
    }

    /// Goes on counting time from where the state has it.
    fn take_over_time(&self) {
        match read::clock_ms(&self.engine.view()) {
            Ok(clock_ms) => self.clock.reset(clock_ms),
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "cluster time could not be read"),
        }
        self.machine.leases_changed().notify_one();
    }
}

/// Where the member can be reached; empty when it is none.
pub(crate) fn address_of(raft: &Raft, member: u64) -> String {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow();
    metrics.membership_config.membership().get_node(&member).map_or_else(String::new, |peer| peer.address.clone())
}

/// The key that says that a member was removed.
pub(crate) fn tombstone(member: u64) -> Vec<u8> {
    [REMOVED, format!("{member:016x}").as_bytes()].concat()
}

/// Reads on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    engine: Arc<StateEngine>,
    run: impl FnOnce(&StateEngine) -> Result<T, KeyspaceError> + Send + 'static,
) -> Result<T, KeyspaceError> {
    let store = engine.store().clone();
    // Without an answer the runtime is going down, and the task with it.
    store::blocking(&store, move || run(&engine)).await.unwrap_or(Err(KeyspaceError::Closed))
}
