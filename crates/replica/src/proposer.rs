//! From many writers to few log entries: what waits becomes one entry, so that one sync of the disk serves all. On a
//! member that does not lead, what waits goes to the leader as one request.

use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use keyspace::{ClusterClock, Command, Engine, Error, Outcome, Refusal, Reply};
use openraft::error::{ClientWriteError, Fatal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{
    EMERGENCY_BYTES, MAX_BATCH_BYTES, MAX_BATCH_COMMANDS, MAX_FORWARDED, MAX_IN_FLIGHT, MAX_QUEUED, RESERVED_BYTES,
    Timing,
};
use crate::leadership::{Leader, Leadership};
use crate::metrics::Metrics;
use crate::parts::address_of;
use crate::peer::hello::Lane;
use crate::peer::link::CallError;
use crate::peer::links::Links;
use crate::peer::wire::{Answer, Failure, Request};
use crate::room::Room;
use crate::store::{StateEngine, Store};
use crate::types::{Peer, Proposal, Raft};

/// A command that waits, and who waits for it.
#[derive(Debug)]
pub(crate) struct Pending {
    command: Command,
    since: Instant,
    /// It goes to no other member: it came from one, or makes sense on the leader only.
    stays: bool,
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
        self.enqueue(command, false).await
    }

    /// Proposes a command if this member leads; it goes to no other one.
    pub(crate) async fn propose_here(&self, command: Command) -> Result<Reply, Error> {
        self.enqueue(command, true).await
    }

    async fn enqueue(&self, command: Command, stays: bool) -> Result<Reply, Error> {
        keyspace::check::command(&command)?;
        let (reply, answer) = oneshot::channel();
        let pending = Pending { command, since: Instant::now(), stays, reply };
        self.queue.try_send(pending).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded { limit: MAX_QUEUED },
            mpsc::error::TrySendError::Closed(_) => Error::Closed,
        })?;
        self.metrics.queue_depth.inc();
        let stopped = || Error::Unavailable { detail: "this member was shut down while it wrote".into() };
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }
}

/// Makes entries of what waits.
pub(crate) struct Proposer {
    pub(crate) way: WritePath,
    pub(crate) metrics: Metrics,
}

/// The way into the log, here or through the leader.
#[derive(Clone)]
pub(crate) struct WritePath {
    pub(crate) raft: Raft,
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<ClusterClock>,
    pub(crate) room: Arc<Room>,
    pub(crate) node_id: u64,
    pub(crate) leadership: Leadership,
    pub(crate) links: Links,
    pub(crate) timing: Timing,
}

impl Proposer {
    /// Runs until `stop`; then what was taken is finished and what waits is refused.
    pub(crate) async fn run(self, mut queue: mpsc::Receiver<Pending>, stop: CancellationToken) {
        let mut in_flight: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        loop {
            let most = if self.way.leadership.is_here() { MAX_IN_FLIGHT } else { MAX_FORWARDED };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(()) = in_flight.next(), if !in_flight.is_empty() => {}
                first = queue.recv(), if in_flight.len() < most => match first {
                    None => break,
                    Some(first) => in_flight.push(self.send(self.gather(first, &mut queue))),
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

    /// Delivers a batch, and answers those who wait.
    fn send(&self, batch: Vec<Pending>) -> BoxFuture<'static, ()> {
        self.metrics.batched(batch.len());
        let (way, metrics) = (self.way.clone(), self.metrics.clone());
        Box::pin(async move {
            let count = i64::try_from(batch.len()).unwrap_or(i64::MAX);
            let began = Instant::now();
            metrics.active.inc_by(count);
            way.deliver(batch.into()).await;
            metrics.active.dec_by(count);
            metrics.ran(began.elapsed());
        })
    }
}

/// What became of a batch.
enum Delivered {
    /// One answer for each command.
    Answers(Vec<Result<Reply, Error>>),
    /// The same for all.
    Failed(Error),
    /// It did not get to a leader: nothing was done.
    NotLeader,
}

impl WritePath {
    /// Brings a batch to the leader, wherever that is. What may have been done is never sent a second time.
    async fn deliver(&self, mut batch: Batch) {
        let until = Instant::now() + self.timing.patience();
        loop {
            let leader = match self.leadership.leader(until).await {
                Ok(leader) => leader,
                Err(error) => return batch.fail(&error),
            };
            let delivered = match leader {
                Leader::Here => {
                    self.admit(&mut batch);
                    self.append(&batch.commands).await
                }
                Leader::There(id) => {
                    batch.refuse(|_, waiting| waiting.stays, &Error::NotLeader { leader: Some(id) });
                    self.admit_own_disk(&mut batch);
                    self.forward(id, &batch.commands).await
                }
                Leader::Nowhere => Delivered::NotLeader,
            };
            match delivered {
                Delivered::Answers(answers) => batch.answer(answers),
                Delivered::Failed(error) => return batch.fail(&error),
                Delivered::NotLeader => {}
            }
            if batch.waiting.is_empty() {
                return;
            }
            if Instant::now() >= until {
                let detail = "the leader changes all the time".into();
                return batch.fail(&Error::NoLeader { detail });
            }
            self.leadership.settle(leader).await;
        }
    }

    /// Refuses what would grow the state when this member's disk is nearly full, or those of too many others, or the quota
    /// is used up.
    fn admit(&self, batch: &mut Batch) {
        self.admit_own_disk(batch);
        if let Err(full) = self.room.require_majority() {
            batch.refuse(|command, _| self.grows(command), &full);
        }
        let full = Refusal::NoSpace { member: self.node_id }.into();
        batch.refuse(
            |command, _| command.grows() && !self.room.admits(command.size()) && !self.replaces(command),
            &full,
        );
    }

    /// Refuses what would grow the state when this member's disk is nearly full, wherever the leader is.
    fn admit_own_disk(&self, batch: &mut Batch) {
        if let Err(full) = self.store.require_room(RESERVED_BYTES) {
            self.room.changed.notify_one();
            let emergency = self.store.require_room(EMERGENCY_BYTES).is_err();
            batch.refuse(|command, _| command.grows() && (emergency || !self.replaces(command)), &full.into());
        }
    }

    fn grows(&self, command: &Command) -> bool {
        command.grows() && !self.replaces(command)
    }

    /// Whether what is there is only replaced by what is hardly larger (see [`keyspace::replaces`]), as far as is known
    /// here now.
    fn replaces(&self, command: &Command) -> bool {
        keyspace::replaces(&StateEngine::new(self.store.clone()).view(), command).unwrap_or(false)
    }

    /// Makes a log entry of the commands, as the leader.
    async fn append(&self, commands: &Arc<Vec<Command>>) -> Delivered {
        if commands.is_empty() {
            return Delivered::Answers(Vec::new());
        }
        let timed = commands.iter().any(Command::needs_time);
        let commands = if timed {
            let tick = Command::Tick { now_ms: self.clock.now_ms() };
            Arc::new(std::iter::once(tick).chain(commands.iter().cloned()).collect())
        } else {
            commands.clone()
        };
        let replacements = self.store.replacements();
        let proposed = match self.raft.client_write_ff(Proposal { commands }).await {
            Ok(proposed) => proposed,
            Err(fatal) => return Delivered::Failed(from_fatal(&self.store, &fatal)),
        };
        let written = tokio::select! {
            written = proposed => written,
            () = self.leadership.lost(Leader::Here) => {
                let detail = "this member lost its leadership while it wrote".into();
                return Delivered::Failed(Error::Unavailable { detail });
            }
        };
        match written {
            Ok(Ok(response)) => {
                let outcomes = response.data.outcomes.into_iter().skip(usize::from(timed));
                Delivered::Answers(outcomes.map(|outcome: Outcome| outcome.map_err(Error::from)).collect())
            }
            Ok(Err(error)) => from_write_error(error, self.store.replacements() != replacements),
            // Raft has stopped, after it took the commands: other members may still commit them.
            Err(_) => Delivered::Failed(match self.store.fault() {
                Some(fault) => fault.clone().into(),
                None => Error::Unavailable { detail: "this member was shut down while it wrote".into() },
            }),
        }
    }

    /// Sends the commands to the leader.
    async fn forward(&self, leader: u64, commands: &Arc<Vec<Command>>) -> Delivered {
        if commands.is_empty() {
            return Delivered::Answers(Vec::new());
        }
        let address = address_of(&self.raft, leader);
        let request = Request::Propose(commands.clone());
        let answer = tokio::select! {
            answer = self.links.ask(leader, &address, Lane::Forward, &request) => answer,
            () = self.leadership.lost(Leader::There(leader)) => {
                let detail = format!("member {leader:x} lost its leadership while it wrote");
                return Delivered::Failed(Error::Unavailable { detail });
            }
        };
        match answer {
            Ok(Answer::Proposed(answers)) if answers.len() == commands.len() => {
                Delivered::Answers(answers.into_iter().map(|answer| answer.map_err(Error::from)).collect())
            }
            Ok(Answer::Failed(Failure::NotLeader { .. })) | Err(CallError::NotSent(_)) => Delivered::NotLeader,
            Ok(Answer::Failed(failure)) => Delivered::Failed(failure.into()),
            Ok(_) => {
                let detail = format!("member {leader:x} answers something else");
                Delivered::Failed(Error::Unavailable { detail })
            }
            Err(CallError::Lost(detail)) => Delivered::Failed(Error::Unavailable { detail }),
        }
    }
}

/// Commands that go together, and who waits for each.
struct Batch {
    commands: Arc<Vec<Command>>,
    waiting: Vec<Waiting>,
}

struct Waiting {
    stays: bool,
    reply: oneshot::Sender<Result<Reply, Error>>,
}

impl From<Vec<Pending>> for Batch {
    fn from(pending: Vec<Pending>) -> Self {
        let (commands, waiting): (Vec<_>, Vec<_>) = pending
            .into_iter()
            .map(|Pending { command, stays, reply, .. }| (command, Waiting { stays, reply }))
            .unzip();
        Batch { commands: Arc::new(commands), waiting }
    }
}

impl Batch {
    /// Answers; keeps what a member refused because it led no more when it took it up, for the next leader.
    fn answer(&mut self, answers: Vec<Result<Reply, Error>>) {
        let mut commands = Vec::new();
        let waiting = std::mem::take(&mut self.waiting).into_iter().zip(self.commands.iter());
        for ((waiting, command), answer) in waiting.zip(answers) {
            if matches!(answer, Err(Error::NotLeader { .. })) && !waiting.stays {
                commands.push(command.clone());
                self.waiting.push(waiting);
            } else {
                drop(waiting.reply.send(answer));
            }
        }
        self.commands = Arc::new(commands);
    }

    fn fail(self, error: &Error) {
        for waiting in self.waiting {
            drop(waiting.reply.send(Err(error.clone())));
        }
    }

    /// Takes some out, with this answer. Each is asked about once, in order.
    fn refuse(&mut self, which: impl Fn(&Command, &Waiting) -> bool, error: &Error) {
        let pairs = self.commands.iter().zip(&self.waiting);
        let refused: Vec<bool> = pairs.map(|(command, waiting)| which(command, waiting)).collect();
        if !refused.contains(&true) {
            return;
        }
        let commands = self.commands.iter().zip(&refused).filter(|(_, refused)| !**refused);
        let commands = commands.map(|(command, _)| command.clone()).collect();
        self.commands = Arc::new(commands);
        for (waiting, refused) in std::mem::take(&mut self.waiting).into_iter().zip(refused) {
            if refused {
                drop(waiting.reply.send(Err(error.clone())));
            } else {
                self.waiting.push(waiting);
            }
        }
    }
}

/// Raft says so before it appends, and of entries that it cuts off because another leader's log has others in their
/// place: either way nothing was done. But when it takes in a snapshot it cuts off from the entry on that it knows to be
/// committed, and others may have committed more: then it is unknown.
fn from_write_error(error: ClientWriteError<u64, Peer>, replaced: bool) -> Delivered {
    match error {
        ClientWriteError::ForwardToLeader(_) if replaced => {
            let detail = "this member got a snapshot of another leader while it wrote".into();
            Delivered::Failed(Error::Unavailable { detail })
        }
        ClientWriteError::ForwardToLeader(_) => Delivered::NotLeader,
        ClientWriteError::ChangeMembershipError(error) => {
            Delivered::Failed(Error::Unavailable { detail: error.to_string() })
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What Raft cut off when a snapshot came in may have been committed by others: it is never sent again.
    #[test]
    fn what_a_snapshot_cut_off_is_unknown() {
        let elsewhere = || ClientWriteError::ForwardToLeader(openraft::error::ForwardToLeader::empty());
        assert!(matches!(from_write_error(elsewhere(), false), Delivered::NotLeader));
        let unknown = from_write_error(elsewhere(), true);
        assert!(matches!(unknown, Delivered::Failed(Error::Unavailable { .. })));
    }

    /// What a leader refused because it led no more when it took it up stays for the next one; the rest is answered.
    #[test]
    fn what_was_refused_by_no_leader_is_kept() {
        let command = |now_ms| Command::Tick { now_ms };
        let (replies, mut answers): (Vec<_>, Vec<_>) = (0..4).map(|_| oneshot::channel()).unzip();
        let waiting = replies.into_iter().enumerate().map(|(n, reply)| Waiting { stays: n == 2, reply }).collect();
        let mut batch = Batch { commands: Arc::new((0..4).map(command).collect()), waiting };
        let elsewhere = || Err(Error::NotLeader { leader: Some(2) });
        batch.answer(vec![Ok(Reply::Compacted { revision: 7 }), elsewhere(), elsewhere(), Err(Error::Closed)]);
        assert_eq!((&*batch.commands, batch.waiting.len()), (&vec![command(1)], 1));
        let mut answered = answers.iter_mut().map(|answer| answer.try_recv().is_ok());
        assert!(answered.by_ref().eq([true, false, true, true]));
    }
}
