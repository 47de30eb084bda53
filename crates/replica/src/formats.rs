//! The bytes of log records and of what members say to each other, as they were when formats and protocol were made
//! (`formats.txt`). What is in commands and replies is in `keyspace`'s list.

use std::sync::Arc;

use bytes::Bytes;
use keyspace::testing::{assert_recorded, record};
use keyspace::{ClusterError, Command, Member, MemberChange, Refusal, Reply};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{CommittedLeaderId, EntryPayload, Vote};

use crate::log_store;
use crate::peer::hello::{Hello, Lane, PROTOCOL, Rejection};
use crate::peer::wire::{Answer, Failure, Request};
use crate::types::{Entry, LogId, Membership, Peer, Proposal, SnapshotMeta};

fn log_id(index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(2, 1), index)
}

fn peer() -> Peer {
    Peer { address: "h:1".into(), name: "n".into(), api_url: "u".into() }
}

fn proposal() -> Arc<Vec<Command>> {
    Arc::new(vec![Command::Tick { now_ms: 1 }])
}

fn membership() -> openraft::Membership<u64, Peer> {
    openraft::Membership::new(
        vec![[1].into()],
        [(1, peer()), (2, peer())].into_iter().collect::<std::collections::BTreeMap<_, _>>(),
    )
}

fn entries() -> Vec<Entry> {
    let entry = |payload| Entry { log_id: log_id(7), payload };
    vec![
        entry(EntryPayload::Blank),
        entry(EntryPayload::Normal(Proposal { commands: proposal() })),
        entry(EntryPayload::Membership(membership())),
    ]
}

fn meta() -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: Some(log_id(7)),
        last_membership: Membership::new(Some(log_id(6)), membership()),
        snapshot_id: "s".into(),
    }
}

fn member() -> Member {
    Member { id: 2, name: "n".into(), peer_address: "h:1".into(), api_url: "u".into() }
}

/// Each variant in its order.
fn requests() -> Vec<Request> {
    let vote = Vote::new_committed(2, 1);
    let append =
        AppendEntriesRequest { vote, prev_log_id: Some(log_id(6)), entries: entries(), leader_commit: Some(log_id(5)) };
    let change = |change| Request::Change(change);
    vec![
        Request::Append(append),
        Request::Vote(VoteRequest { vote: Vote::new(3, 2), last_log_id: Some(log_id(7)) }),
        Request::SnapshotOffer { vote, meta: meta(), bytes: 8 },
        Request::SnapshotChunk { vote, snapshot_id: "s".into(), offset: 9, data: Bytes::from_static(b"d") },
        Request::Propose(proposal()),
        Request::ReadIndex,
        change(MemberChange::Add(member())),
        change(MemberChange::Promote { id: 2 }),
        change(MemberChange::Remove { id: 2, force: true }),
        change(MemberChange::Lead { id: 2 }),
        Request::Elect,
        Request::Presence,
    ]
}

/// Each variant in its order.
fn failures() -> Vec<Failure> {
    vec![
        Failure::Refused(Refusal::EmptyKey),
        Failure::NotLeader { leader: Some(1) },
        Failure::Overloaded { limit: 1 },
        Failure::NoSpace("t".into()),
        Failure::NoLeader("t".into()),
        Failure::Unknown("t".into()),
    ]
}

/// Each variant in its order.
fn answers() -> Vec<Answer> {
    let vote = Vote::new(3, 2);
    let appended = [
        AppendEntriesResponse::Success,
        AppendEntriesResponse::PartialSuccess(Some(log_id(7))),
        AppendEntriesResponse::Conflict,
        AppendEntriesResponse::HigherVote(vote),
    ];
    let mut answers: Vec<Answer> = appended.into_iter().map(Answer::Appended).collect();
    answers.extend([
        Answer::Voted(VoteResponse { vote, vote_granted: true, last_log_id: None }),
        Answer::SnapshotAt { offset: 9 },
        Answer::SnapshotDone(SnapshotResponse { vote }),
        Answer::Proposed(vec![Ok(Reply::HashTaken), Err(Failure::NotLeader { leader: None })]),
        Answer::ReadAt { index: 7, now_ms: 8 },
        Answer::Changed(Err(ClusterError::NotFound { id: 2 })),
        Answer::Done,
        Answer::Failed(Failure::Unknown("t".into())),
    ]);
    answers
}

fn hellos() -> Vec<Hello> {
    let hello = |lane| Hello { protocol: PROTOCOL, cluster_id: 1, from: 2, to: 3, incarnation: 4, lane };
    [Lane::Control, Lane::Log, Lane::Snapshot, Lane::Forward].map(hello).into()
}

/// Each variant in its order.
fn rejections() -> Vec<Rejection> {
    vec![
        Rejection::Protocol { id: 1, theirs: 2, ours: 3 },
        Rejection::Cluster { id: 1, theirs: 2, ours: 3 },
        Rejection::Target { id: 1, wanted: 2 },
        Rejection::Identity { claimed: 1, proved: 2 },
        Rejection::Removed { id: 1 },
        Rejection::Duplicate { id: 1 },
    ]
}

#[test]
fn stored_and_sent_bytes_do_not_change() {
    let mut now = String::new();
    for entry in entries() {
        let bytes = log_store::encode(&entry, "encode an entry").expect("encodes");
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        now.push_str(&format!("log {hex}\n"));
    }
    record(&mut now, "snapshot meta", &[meta()]);
    record(&mut now, "request", &requests());
    record(&mut now, "answer", &answers());
    record(&mut now, "failure", &failures());
    record(&mut now, "hello", &hellos());
    record(&mut now, "rejection", &rejections());
    assert_recorded(include_str!("formats.txt"), &now);
}
