//! Clients of a member: they read, write, hold leases and watch, and take notes for the judges.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use keyspace::testing::Random;
use keyspace::{Error, KeyRange, Keyspace, LeaseId, WatchRequest};
use keyspace_sim::ask::{self, refused};
use keyspace_sim::history::{Request, Response};

use crate::notes::Notes;
use crate::plant::Plant;

/// Keys there are.
const KEYS: u64 = 12;
/// Longest a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// Longest pause between two requests of one client, milliseconds.
const PAUSE_MS: u64 = 40;
/// Pause after a refusal.
const BACK_OFF: Duration = Duration::from_millis(150);
/// Time to live of leases, at most, seconds.
const LEASE_SECONDS: u64 = 4;
/// How often watchers want to be told how far they are.
const PROGRESS: Duration = Duration::from_millis(200);

/// What a client needs.
#[derive(Clone)]
pub struct Client {
    /// The member it talks to.
    pub keyspace: Arc<dyn Keyspace>,
    /// Where it takes notes.
    pub notes: Notes,
    /// The bug that is planted.
    pub plant: Plant,
    /// The member's number.
    pub member: u64,
}

impl Client {
    /// Asks one thing after the other until told to stop.
    pub async fn work(self, mut random: Random) {
        while !self.notes.stopped() {
            let request = self.any_request(&mut random, 0);
            if self.ask(request).await.is_none() {
                tokio::time::sleep(BACK_OFF).await;
            }
            tokio::time::sleep(Duration::from_millis(random.below(PAUSE_MS + 1))).await;
        }
    }

    fn any_request(&self, random: &mut Random, lease: LeaseId) -> Request {
        let key = |random: &mut Random| Bytes::from(format!("k/{:02}", random.below(KEYS)));
        match random.below(12) {
            0..3 => Request::Put { writes: vec![(key(random), self.notes.value())], lease },
            3 => {
                let (first, second) = (random.below(KEYS - 1), self.notes.value());
                let keys = [format!("k/{first:02}"), format!("k/{:02}", KEYS - 1)].map(Bytes::from);
                let values = [self.notes.value(), second];
                Request::Put { writes: keys.into_iter().zip(values).collect(), lease }
            }
            4 => Request::Delete { key: key(random) },
            5..8 => {
                let key = key(random);
                let expected = self.notes.last_value(&key);
                Request::Swap { key, expected, value: self.notes.value() }
            }
            8 => Request::Read { key: "k/".into(), prefix: true, serializable: false },
            9 => Request::Read { key: key(random), prefix: false, serializable: true },
            _ => Request::Read { key: key(random), prefix: false, serializable: false },
        }
    }

    /// Asks, and takes notes. The answer, if there was one.
    pub async fn ask(&self, request: Request) -> Option<Response> {
        let note = self.notes.invoke(self.member, &request);
        let answer = tokio::time::timeout(PATIENCE, self.send(&request)).await;
        match answer {
            Ok(Ok(response)) => {
                self.notes.done(note, &response);
                Some(response)
            }
            Ok(Err(error)) => {
                self.notes.failed(note, refused(&error), &error);
                None
            }
            // What is unknown stays so.
            Err(_) => None,
        }
    }

    async fn send(&self, request: &Request) -> Result<Response, Error> {
        let stale = matches!(request, Request::Read { .. }) && self.lies().await;
        ask::ask(self.keyspace.as_ref(), request, stale).await
    }

    /// Whether the planted bug makes a read one that may be stale.
    async fn lies(&self) -> bool {
        match self.plant {
            Plant::StaleReads => true,
            Plant::LeaderReads => {
                let status = self.keyspace.status().await;
                status.is_ok_and(|status| status.leader == Some(status.node_id))
            }
            _ => false,
        }
    }

    /// Takes leases, puts keys on them, keeps them alive for a while, and lets them end.
    pub async fn lease(self, mut random: Random) {
        while !self.notes.stopped() {
            let seconds = 1 + random.below(LEASE_SECONDS) as i64;
            let asked = self.notes.begin_lease();
            let granted = tokio::time::timeout(PATIENCE, self.keyspace.lease_grant(0, seconds)).await;
            let Ok(Ok(granted)) = granted else {
                tokio::time::sleep(BACK_OFF).await;
                continue;
            };
            self.notes.lease_alive(granted.id, seconds, asked);
            for _ in 0..random.below(6) {
                let key = Bytes::from(format!("l/{}/{}", granted.id, random.below(3)));
                self.ask(Request::Put { writes: vec![(key, self.notes.value())], lease: granted.id }).await;
                tokio::time::sleep(Duration::from_millis(random.below(1_500))).await;
                if self.notes.stopped() {
                    return;
                }
                let asked = self.notes.begin_lease();
                let kept = tokio::time::timeout(PATIENCE, self.keyspace.lease_keep_alive(granted.id)).await;
                match kept {
                    Ok(Ok(_)) => self.notes.lease_alive(granted.id, seconds, asked),
                    _ => break,
                }
            }
            tokio::time::sleep(Duration::from_millis(random.below(3_000))).await;
        }
    }

    /// Follows `range` for ever, over all streams it takes.
    pub async fn follow(self, watcher: usize, range: KeyRange) {
        loop {
            let from = self.notes.follow_from(watcher, &range);
            let skipped = u64::from(self.plant == Plant::WatchGap && from > 1);
            let request = WatchRequest::new(range.clone(), from + skipped).with_prev().with_progress(PROGRESS);
            match self.keyspace.watch(request).await {
                Err(error) => self.lost(watcher, &error),
                Ok(mut stream) => {
                    while let Some(batch) = stream.next().await {
                        match batch {
                            Ok(batch) => self.notes.followed(watcher, batch),
                            Err(error) => self.lost(watcher, &error),
                        }
                    }
                }
            }
            tokio::time::sleep(BACK_OFF).await;
        }
    }

    fn lost(&self, watcher: usize, error: &Error) {
        if let Some(compacted) = error.compacted() {
            self.notes.follow_anew(watcher, compacted);
        }
    }
}
