//! Linearizable reads without a log entry: the leader confirms that it leads and says up to where must be applied.
//!
//! Reads that wait share one confirmation: those that came while one was under way wait for the next.

use std::sync::Arc;

use keyspace::Error;
use openraft::error::{CheckIsLeaderError, RaftError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::config::MAX_QUEUED;
use crate::leadership::Leader;
use crate::parts::Parts;
use crate::peer::hello::Lane;
use crate::peer::wire::{Answer, Request};
use crate::proposer::from_fatal;

/// What a read needs to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadAt {
    /// What must be applied here.
    pub(crate) index: u64,
    /// The leader's cluster time, milliseconds.
    pub(crate) now_ms: u64,
}

type Asking = oneshot::Sender<Result<ReadAt, Error>>;

/// The way in: a bounded queue.
#[derive(Clone, Debug)]
pub(crate) struct Reads {
    queue: mpsc::Sender<Asking>,
}

impl Reads {
    /// The queue, and its end for [`run`].
    pub(crate) fn new() -> (Self, mpsc::Receiver<Asking>) {
        let (queue, asking) = mpsc::channel(MAX_QUEUED);
        (Reads { queue }, asking)
    }

    /// Waits until a read here sees every write acknowledged before.
    pub(crate) async fn confirm(&self) -> Result<ReadAt, Error> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(reply).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded { limit: MAX_QUEUED },
            mpsc::error::TrySendError::Closed(_) => Error::Closed,
        })?;
        answer.await.unwrap_or(Err(Error::Closed))
    }
}

/// Confirms until dropped.
pub(crate) async fn run(parts: Arc<Parts>, mut queue: mpsc::Receiver<Asking>) {
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, MAX_QUEUED).await > 0 {
        let confirmed = confirm(&parts).await;
        for reply in waiting.drain(..) {
            // Who asked may be gone.
            drop(reply.send(confirmed.clone()));
        }
    }
}

/// One confirmation, and the wait for what it asks for. Trying again changes nothing, so it is done while there is time.
async fn confirm(parts: &Parts) -> Result<ReadAt, Error> {
    let until = Instant::now() + parts.config.timing.patience();
    loop {
        let leader = parts.leadership.leader(until).await?;
        let read = match leader {
            Leader::Here => here(parts).await,
            Leader::There(id) => there(parts, id, until).await,
            Leader::Nowhere => continue,
        };
        match read {
            Ok(at) => return applied(parts, at, until).await,
            Err(error @ (Error::NoLeader { .. } | Error::NotLeader { .. })) => {
                if Instant::now() >= until {
                    return Err(error);
                }
                parts.leadership.settle(leader).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Confirms as the leader, by a round of heartbeats.
pub(crate) async fn here(parts: &Parts) -> Result<ReadAt, Error> {
    match parts.raft.get_read_log_id().await {
        Ok((at, _)) => Ok(ReadAt { index: at.map_or(0, |at| at.index), now_ms: parts.clock.now_ms() }),
        Err(RaftError::Fatal(fatal)) => Err(from_fatal(&parts.store, &fatal)),
        Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(forward))) => {
            Err(Error::NotLeader { leader: forward.leader_id })
        }
        Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(error))) => {
            Err(Error::NoLeader { detail: error.to_string() })
        }
    }
}

/// Has the leader confirm.
async fn there(parts: &Parts, leader: u64, until: Instant) -> Result<ReadAt, Error> {
    let silent = || Error::NoLeader { detail: format!("member {leader:x} leads and does not answer") };
    let address = parts.address_of(leader);
    let asked = parts.links.ask(leader, &address, Lane::Forward, &Request::ReadIndex);
    let answer = tokio::select! {
        answer = timeout_at(until, asked) => answer.map_err(|_| silent())?,
        // A read can be asked twice, so the next leader is asked at once.
        () = parts.leadership.left(Leader::There(leader)) => return Err(Error::NotLeader { leader: None }),
    };
    match answer {
        Ok(Answer::ReadAt { index, now_ms }) => Ok(ReadAt { index, now_ms }),
        Ok(Answer::Failed(failure)) => match failure.into() {
            // A read changes nothing, so there is nothing unknown about it.
            Error::Unavailable { detail } => Err(Error::NoLeader { detail }),
            error => Err(error),
        },
        Ok(_) => Err(Error::NoLeader { detail: format!("member {leader:x} answers something else") }),
        Err(error) => Err(Error::NoLeader { detail: error.to_string() }),
    }
}

/// Waits until that much is applied here.
async fn applied(parts: &Parts, at: ReadAt, until: Instant) -> Result<ReadAt, Error> {
    let mut metrics = parts.raft.metrics();
    let done = metrics.wait_for(|metrics| {
        metrics.running_state.is_err() || metrics.last_applied.map_or(0, |applied| applied.index) >= at.index
    });
    // A member that joins or comes back may take longer; it says so, and another one can be asked.
    match timeout_at(until.max(Instant::now() + parts.config.timing.heartbeat), done).await {
        Ok(Ok(metrics)) if metrics.running_state.is_ok() => Ok(at),
        Ok(_) => Err(Error::Closed),
        Err(_) => Err(Error::NoLeader { detail: "this member has not caught up with the leader yet".into() }),
    }
}
