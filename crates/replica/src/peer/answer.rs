//! Answering what another member asks.

use std::sync::Arc;

use super::receive::Receiver;
use super::wire::{Answer, Failure, Request};
use crate::parts::Parts;
use crate::proposer::Proposals;
use crate::{members::Members, reads};

/// What answering needs.
#[derive(Debug)]
pub(crate) struct Answerer {
    pub(crate) parts: Arc<Parts>,
    pub(crate) proposals: Proposals,
    pub(crate) members: Arc<Members>,
    pub(crate) receiver: Receiver,
}

impl Answerer {
    /// The answer to a request.
    pub(crate) async fn answer(&self, request: Request) -> Answer {
        let raft = &self.parts.raft;
        match request {
            Request::Append(rpc) => match raft.append_entries(rpc).await {
                Ok(answer) => Answer::Appended(answer),
                Err(error) => failed(&error),
            },
            Request::Vote(rpc) => match raft.vote(rpc).await {
                Ok(answer) => Answer::Voted(answer),
                Err(error) => failed(&error),
            },
            Request::SnapshotOffer { meta, bytes, .. } => {
                self.receiver.offer(raft, meta, bytes).await.unwrap_or_else(|error| failed(&error))
            }
            Request::SnapshotChunk { vote, snapshot_id, offset, data } => {
                let taken = self.receiver.chunk((raft, &*self.parts.store), vote, &snapshot_id, offset, &data).await;
                taken.unwrap_or_else(|error| failed(&error))
            }
            Request::Propose(commands) => self.propose(commands).await,
            // A confirmation while leadership is handed over would renew the lease of this leader.
            Request::ReadIndex if !self.parts.leadership.is_here() => {
                Answer::Failed(Failure::NotLeader { leader: self.parts.leadership.elsewhere() })
            }
            Request::ReadIndex => match reads::here(&self.parts).await {
                Ok(at) => Answer::ReadAt { index: at.index, now_ms: at.now_ms },
                Err(error) => Answer::Failed(error.into()),
            },
            Request::Change(change) => {
                if self.parts.leadership.is_here() {
                    Answer::Changed(self.members.change(change).await)
                } else {
                    Answer::Failed(Failure::NotLeader { leader: self.parts.leadership.elsewhere() })
                }
            }
            Request::Elect => match raft.trigger().elect().await {
                Ok(()) => Answer::Done,
                Err(error) => failed(&error),
            },
            Request::Presence => Answer::Done,
        }
    }

    async fn propose(&self, commands: Arc<Vec<keyspace::Command>>) -> Answer {
        if !self.parts.leadership.is_here() {
            return Answer::Failed(Failure::NotLeader { leader: self.parts.leadership.elsewhere() });
        }
        let commands = Arc::try_unwrap(commands).unwrap_or_else(|shared| (*shared).clone());
        let answers = commands.into_iter().map(|command| self.proposals.propose_here(command));
        let answers = futures::future::join_all(answers).await;
        Answer::Proposed(answers.into_iter().map(|answer| answer.map_err(Failure::from)).collect())
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Answer {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    Answer::Failed(Failure::Unknown(text))
}
