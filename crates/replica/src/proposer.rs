//! From many writers to few log entries: what waits becomes one entry, so that one sync of the disk serves all.

use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use keyspace::{ClusterClock, Command, Error, Outcome, Refusal, Reply};
use openraft::error::{ClientWriteError, Fatal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{MAX_BATCH_BYTES, MAX_BATCH_COMMANDS, MAX_IN_FLIGHT, MAX_QUEUED};
use crate::metrics::Metrics;
use crate::room::Room;
use crate::store::Store;
use crate::types::{Proposal, Raft};

/// A command that waits, and who waits for it.
#[derive(Debug)]
pub(crate) struct Pending {
    command: Command,
    since: Instant,
    reply: oneshot::Sender<Result<Reply, Error>>,
}

/// The way in: a bounded queue.
#[derive(Clone, Debug)]
pub(crate) struct Proposals {
    queue: mpsc::Sender<Pending>,
    metrics: Metrics,
}

impl Proposals {
    /// The queue, and its end for the [`Proposer`].
    pub(crate) fn new(metrics: Metrics) -> (Self, mpsc::Receiver<Pending>) {
        let (queue, pending) = mpsc::channel(MAX_QUEUED);
        (Proposals { queue, metrics }, pending)
    }

    /// Proposes a command and waits until it is durable and applied.
    pub(crate) async fn propose(&self, command: Command) -> Result<Reply, Error> {
        keyspace::check::command(&command)?;
        let (reply, answer) = oneshot::channel();
        let pending = Pending { command, since: Instant::now(), reply };
        self.queue.try_send(pending).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded { limit: MAX_QUEUED },
            mpsc::error::TrySendError::Closed(_) => Error::Closed,
        })?;
        self.metrics.queue_depth.inc();
        answer.await.unwrap_or(Err(Error::Closed))
    }
}

/// Makes entries of what waits.
pub(crate) struct Proposer {
    pub(crate) raft: Raft,
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<ClusterClock>,
    pub(crate) room: Arc<Room>,
    pub(crate) node_id: u64,
    pub(crate) metrics: Metrics,
}

impl Proposer {
    /// Runs until `stop`; then what was taken is finished and what waits is refused.
    pub(crate) async fn run(self, mut queue: mpsc::Receiver<Pending>, stop: CancellationToken) {
        let mut in_flight: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(()) = in_flight.next(), if !in_flight.is_empty() => {}
                first = queue.recv(), if in_flight.len() < MAX_IN_FLIGHT => match first {
                    None => break,
                    Some(first) => {
                        let batch = self.gather(first, &mut queue);
                        if let Some(answered) = self.send(batch).await {
                            in_flight.push(answered);
                        }
                    }
                },
            }
        }
        queue.close();
        while let Some(pending) = queue.recv().await {
            self.metrics.queue_depth.dec();
            // Whoever asked may have gone; then nobody needs to know. So in all of this module.
            drop(pending.reply.send(Err(Error::Closed)));
        }
        while in_flight.next().await.is_some() {}
    }

    /// The first and whatever waits behind it, within the bounds of an entry.
    fn gather(&self, first: Pending, queue: &mut mpsc::Receiver<Pending>) -> Vec<Pending> {
        let mut bytes = first.command.size();
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH_COMMANDS && bytes < MAX_BATCH_BYTES {
            let Ok(next) = queue.try_recv() else { break };
            bytes += next.command.size();
            batch.push(next);
        }
        let now = Instant::now();
        for pending in &batch {
            self.metrics.queue_depth.dec();
            self.metrics.waited(now.duration_since(pending.since));
        }
        batch
    }

    /// Hands a batch to Raft; the future answers those who wait.
    async fn send(&self, batch: Vec<Pending>) -> Option<BoxFuture<'static, ()>> {
        let batch = self.admit(batch);
        if batch.is_empty() {
            return None;
        }
        let (mut commands, mut replies) = (Vec::with_capacity(batch.len() + 1), Vec::with_capacity(batch.len()));
        let ticked = batch.iter().any(|pending| pending.command.needs_time());
        if ticked {
            commands.push(Command::Tick { now_ms: self.clock.now_ms() });
        }
        for pending in batch {
            commands.push(pending.command);
            replies.push(pending.reply);
        }
        self.metrics.batched(replies.len());
        self.metrics.active.inc_by(i64::try_from(replies.len()).unwrap_or(i64::MAX));
        let began = Instant::now();
        let proposed = self.raft.client_write_ff(Proposal { commands: Arc::new(commands) }).await;
        let (store, metrics) = (self.store.clone(), self.metrics.clone());
        Some(Box::pin(async move {
            let written = match proposed {
                Err(fatal) => Err(from_fatal(&store, &fatal)),
                Ok(answer) => match answer.await {
                    Ok(Ok(response)) => Ok(response.data.outcomes),
                    Ok(Err(error)) => Err(from_write_error(error)),
                    // Raft dropped the answer: it has stopped.
                    Err(_) => Err(from_fatal(&store, &Fatal::Stopped)),
                },
            };
            metrics.active.dec_by(i64::try_from(replies.len()).unwrap_or(i64::MAX));
            metrics.ran(began.elapsed());
            answer_all(replies, written, usize::from(ticked));
        }))
    }

    /// Refuses what would grow the state when the disk is nearly full or the quota used up.
    fn admit(&self, batch: Vec<Pending>) -> Vec<Pending> {
        let disk = self.store.require_room();
        if disk.is_err() {
            self.room.changed.notify_one();
        }
        let refusal = |command: &Command| {
            if !command.grows() {
                return None;
            }
            if let Err(full) = &disk {
                return Some(Error::from(full.clone()));
            }
            (!self.room.admits(command.size())).then(|| Refusal::NoSpace { member: self.node_id }.into())
        };
        let mut admitted = Vec::with_capacity(batch.len());
        for pending in batch {
            match refusal(&pending.command) {
                None => admitted.push(pending),
                Some(error) => drop(pending.reply.send(Err(error))),
            }
        }
        admitted
    }
}

fn answer_all(replies: Vec<oneshot::Sender<Result<Reply, Error>>>, written: Result<Vec<Outcome>, Error>, skip: usize) {
    match written {
        Ok(outcomes) => {
            for (reply, outcome) in replies.into_iter().zip(outcomes.into_iter().skip(skip)) {
                drop(reply.send(outcome.map_err(Error::from)));
            }
        }
        Err(error) => {
            for reply in replies {
                drop(reply.send(Err(error.clone())));
            }
        }
    }
}

fn from_write_error(error: ClientWriteError<u64, crate::types::Peer>) -> Error {
    match error {
        ClientWriteError::ForwardToLeader(forward) => Error::NotLeader { leader: forward.leader_id },
        ClientWriteError::ChangeMembershipError(error) => Error::Unavailable { detail: error.to_string() },
    }
}

/// Raft has stopped: because of the storage, if that failed, else because it was told to.
pub(crate) fn from_fatal(store: &Store, fatal: &Fatal<u64>) -> Error {
    match (store.fault(), fatal) {
        (Some(fault), _) => fault.clone().into(),
        (None, Fatal::Stopped) => Error::Closed,
        (None, other) => Error::Unavailable { detail: other.to_string() },
    }
}
