//! Who leads, as far as this member may rely on it.
//!
//! A leader that has not heard of a majority for longer than its lease may have been replaced, so here it does not count
//! as one: what is asked of it waits for a leader, or is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyspace::Error;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::config::Timing;
use crate::types::Raft;

/// Who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leader {
    /// This member.
    Here,
    /// Another one.
    There(u64),
    /// Nobody this member knows of.
    Nowhere,
}

/// What is known of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    pub(crate) leader: Leader,
    since: Instant,
    /// This member hands leadership over: it begins nothing.
    held: bool,
}

impl State {
    /// The leader to turn to; nobody while leadership is handed over.
    fn usable(&self) -> Option<Leader> {
        match self.leader {
            Leader::Nowhere => None,
            Leader::Here if self.held => None,
            leader => Some(leader),
        }
    }
}

/// Who leads, and since when. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Leadership {
    state: Arc<watch::Sender<State>>,
    /// Newest term this member led in.
    led_term: Arc<AtomicU64>,
    timing: Timing,
}

/// While it lives, this member begins nothing as a leader.
#[derive(Debug)]
pub(crate) struct Held<'l> {
    leadership: &'l Leadership,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.leadership.state.send_modify(|state| state.held = false);
    }
}

impl Leadership {
    pub(crate) fn new(timing: Timing) -> Self {
        let state = State { leader: Leader::Nowhere, since: Instant::now(), held: false };
        Leadership { state: Arc::new(watch::Sender::new(state)), led_term: Arc::default(), timing }
    }

    /// Whether this member leads and may begin something.
    pub(crate) fn is_here(&self) -> bool {
        self.state.borrow().usable() == Some(Leader::Here)
    }

    /// How long what is known has not changed.
    pub(crate) fn stands_for(&self) -> Duration {
        self.state.borrow().since.elapsed()
    }

    /// The other member that leads, if one does.
    pub(crate) fn elsewhere(&self) -> Option<u64> {
        match self.state.borrow().leader {
            Leader::There(id) => Some(id),
            Leader::Here | Leader::Nowhere => None,
        }
    }

    /// Told when it changes.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Has this member begin nothing as a leader from now on.
    pub(crate) fn hold(&self) -> Held<'_> {
        self.state.send_modify(|state| state.held = true);
        Held { leadership: self }
    }

    /// Takes over what Raft says. `begins` runs before this member (`me`) counts as the leader of a new term.
    pub(crate) fn look(&self, raft: &Raft, me: u64, begins: impl FnOnce()) {
        let (term, leader) = observed(raft, me, self.timing.election_max);
        if leader == Leader::Here && self.led_term.swap(term, Ordering::SeqCst) != term {
            begins();
        }
        self.state.send_if_modified(|state| {
            let changed = state.leader != leader;
            if changed {
                (state.leader, state.since) = (leader, Instant::now());
                match leader {
                    Leader::Here => tracing::info!(term, "this member leads"),
                    Leader::There(member) => {
                        tracing::info!(term, leader = format!("{member:x}"), "another member leads")
                    }
                    Leader::Nowhere => tracing::info!(term, "no member leads"),
                }
            }
            changed
        });
    }

    /// A leader, once there is one. Refused when there has been none for an election's time already, and at `until` at
    /// the latest.
    pub(crate) async fn leader(&self, until: Instant) -> Result<Leader, Error> {
        let mut watch = self.watch();
        loop {
            let state = *watch.borrow_and_update();
            if let Some(leader) = state.usable() {
                return Ok(leader);
            }
            let until = match state.leader {
                Leader::Nowhere => until.min(state.since + self.timing.patience()),
                // Handed over right now: that ends soon, one way or the other.
                Leader::Here | Leader::There(_) => until,
            };
            if timeout_at(until, watch.changed()).await.is_err() {
                let detail = match state.leader {
                    Leader::Nowhere => format!("none for {} ms", state.since.elapsed().as_millis()),
                    Leader::Here | Leader::There(_) => "it is being handed over".into(),
                };
                return Err(Error::NoLeader { detail });
            }
        }
    }

    /// Waits for a change away from `leader`.
    pub(crate) async fn left(&self, leader: Leader) {
        let mut watch = self.watch();
        // The sender lives as long as this.
        let _ = watch.wait_for(|state| state.leader != leader).await;
    }

    /// Waits for a change away from `leader`, and a while longer: the next leader commits what this one began, and an
    /// answer may be on its way.
    pub(crate) async fn lost(&self, leader: Leader) {
        self.left(leader).await;
        tokio::time::sleep(self.timing.election_max).await;
    }

    /// Waits for a change away from `leader`, or a moment when what was known is stale.
    pub(crate) async fn settle(&self, leader: Leader) {
        let mut watch = self.watch();
        let changed = watch.wait_for(|state| state.leader != leader);
        let _ = tokio::time::timeout(self.timing.heartbeat / 5, changed).await;
    }
}

/// The term, and who leads by Raft's account; this member only when a majority was heard of within `lease`.
fn observed(raft: &Raft, me: u64, lease: Duration) -> (u64, Leader) {
    let metrics = raft.metrics();
    let metrics = metrics.borrow();
    let leader = match metrics.current_leader {
        None => Leader::Nowhere,
        Some(leader) if leader != me => Leader::There(leader),
        Some(_) => {
            let alone = metrics.membership_config.membership().voter_ids().eq([me]);
            let silent = metrics.millis_since_quorum_ack.is_some_and(|millis| u128::from(millis) > lease.as_millis());
            if silent && !alone { Leader::Nowhere } else { Leader::Here }
        }
    };
    (metrics.current_term, leader)
}
