//! Which of several servers on one etcd cluster acts for all of them.
//!
//! The servers have no consensus of their own there, so the cluster decides: a key on a lease names the one that acts. It
//! keeps the lease alive; one that cannot do so in time acts no more *before* the lease ends, and when it has ended the key
//! goes and another one puts its name there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use keyspace::{Compare, Error, Keyspace, KeyspaceExt, LeaseId, Op, Operand, Put, Refusal, Txn};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// The key that names the one that acts.
const KEY: &[u8] = b"nanocloud/acting";
/// Time to live of its lease, seconds.
const TTL_SECONDS: i64 = 12;
/// How often the lease is kept alive, and how often others look whether it has gone.
const EVERY: Duration = Duration::from_secs(3);
/// Without a sign of the lease for so long the server acts no more: what it has begun has the rest of the time to live to end.
const GIVES_UP_AFTER: Duration = Duration::from_secs(8);

/// A server that wants to act for all.
#[derive(Debug)]
pub struct Candidacy {
    acts: watch::Receiver<bool>,
    stop: CancellationToken,
    task: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

impl Candidacy {
    /// Stands as `name`, which no other server has.
    pub fn begin(keyspace: Arc<dyn Keyspace>, name: &str) -> Self {
        let (told, acts) = watch::channel(false);
        let stop = CancellationToken::new();
        let candidate = Candidate { keyspace, name: Bytes::copy_from_slice(name.as_bytes()), told };
        #[expect(clippy::disallowed_methods, reason = "stopped and waited for by the candidacy")]
        let task = tokio::spawn(candidate.run(stop.clone()));
        Candidacy { acts, stop, task: parking_lot::Mutex::new(Some(task)) }
    }

    /// Whether this server acts, and every change of that.
    pub fn acts(&self) -> impl Stream<Item = bool> + Send + 'static {
        futures::stream::unfold((self.acts.clone(), None), |(mut acts, told)| async move {
            loop {
                let now = *acts.borrow_and_update();
                if told != Some(now) {
                    return Some((now, (acts, Some(now))));
                }
                acts.changed().await.ok()?;
            }
        })
    }

    /// Stands no more; another server can act at once.
    pub async fn end(&self) {
        self.stop.cancel();
        let task = self.task.lock().take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the candidacy of this server ended badly");
        }
    }
}

impl Drop for Candidacy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Candidate {
    keyspace: Arc<dyn Keyspace>,
    name: Bytes,
    told: watch::Sender<bool>,
}

impl Candidate {
    async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match stop.run_until_cancelled(self.stand()).await {
                Some(Ok(Some((lease, since)))) => {
                    self.told.send_replace(true);
                    tracing::info!("this server acts for all on the etcd cluster");
                    let lost = stop.run_until_cancelled(self.hold(lease, since)).await;
                    self.told.send_replace(false);
                    match lost {
                        Some(reason) => tracing::warn!(reason, "this server acts no more for all on the etcd cluster"),
                        None => self.give_back(lease).await,
                    }
                }
                Some(Ok(None)) => {}
                Some(Err(error)) => {
                    tracing::warn!(%error, "it cannot be decided on the etcd cluster which server acts")
                }
                None => return,
            }
            // Between two attempts, and after a loss.
            stop.run_until_cancelled(tokio::time::sleep(EVERY)).await;
        }
    }

    /// Tries to put this server's name there: the lease it is on, and since when that lives at least.
    async fn stand(&self) -> Result<Option<(LeaseId, Instant)>, Error> {
        if self.keyspace.get(KEY).await?.is_some_and(|kv| kv.value != self.name) {
            return Ok(None);
        }
        let since = Instant::now();
        let lease = self.keyspace.lease_grant(0, TTL_SECONDS).await?.id;
        let put = || Op::Put(Put { key: KEY.into(), value: self.name.clone(), lease, ..Put::default() });
        // Its own name is there when it was restarted before the lease of its former life has ended.
        let own = Compare::equal(KEY, Operand::Value(self.name.clone()));
        let or_own = Txn::when([own]).then([put()]);
        let txn = Txn::when([Compare::absent(KEY)]).then([put()]).otherwise([Op::Txn(or_own)]);
        self.keyspace.txn(txn).await?;
        let holds = self.keyspace.get(KEY).await?.is_some_and(|kv| kv.lease == lease);
        if !holds {
            self.give_back(lease).await;
        }
        Ok(holds.then_some((lease, since)))
    }

    /// Keeps the lease alive until that is not possible any more; why.
    async fn hold(&self, lease: LeaseId, mut since: Instant) -> &'static str {
        loop {
            let until = since + GIVES_UP_AFTER;
            let began = Instant::now();
            match timeout_at(until, self.keep(lease)).await {
                Ok(Ok(true)) => since = began,
                Ok(Ok(false)) => return "another server has taken its place",
                Ok(Err(Error::Refused(Refusal::LeaseNotFound { .. }))) => return "its lease has ended",
                Ok(Err(error)) => tracing::debug!(%error, "the lease of the acting server was not kept alive"),
                Err(_) => return "the etcd cluster does not answer",
            }
            if timeout_at(since + GIVES_UP_AFTER, tokio::time::sleep(EVERY)).await.is_err() {
                return "the etcd cluster does not answer";
            }
        }
    }

    /// Keeps the lease alive; whether this server's name is still there.
    async fn keep(&self, lease: LeaseId) -> Result<bool, Error> {
        self.keyspace.lease_keep_alive(lease).await?;
        Ok(self.keyspace.get(KEY).await?.is_some_and(|kv| kv.lease == lease))
    }

    /// Ends the lease, so that nobody waits for its end.
    async fn give_back(&self, lease: LeaseId) {
        let revoked = tokio::time::timeout(EVERY, self.keyspace.lease_revoke(lease)).await;
        if let Ok(Err(error)) = revoked {
            tracing::debug!(%error, "the lease of the acting server was not given back, and ends by itself");
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use keyspace::MemoryKeyspace;
    use keyspace::testing::PATIENCE;

    use super::*;

    async fn becomes(acts: &mut (impl Stream<Item = bool> + Unpin), wanted: bool) {
        let reached = async { while acts.next().await != Some(wanted) {} };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("it never is {wanted}"));
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_several_acts_and_another_one_when_it_ends() {
        let keyspace = Arc::new(MemoryKeyspace::new());
        let first = Candidacy::begin(keyspace.clone(), "one");
        becomes(&mut Box::pin(first.acts()), true).await;
        let second = Candidacy::begin(keyspace.clone(), "two");
        tokio::time::sleep(10 * Duration::from_secs(TTL_SECONDS as u64)).await;
        assert!(*first.acts.borrow() && !*second.acts.borrow(), "the lease is kept alive");
        first.end().await;
        assert!(!*first.acts.borrow());
        becomes(&mut Box::pin(second.acts()), true).await;
    }

    /// A server that is cut off acts no more before another one may.
    #[tokio::test(start_paused = true)]
    async fn who_loses_the_lease_stops_first() {
        let keyspace = Arc::new(MemoryKeyspace::new());
        let first = Candidacy::begin(keyspace.clone(), "one");
        becomes(&mut Box::pin(first.acts()), true).await;
        let lease = keyspace.get(KEY).await.expect("get").expect("there").lease;
        keyspace.lease_revoke(lease).await.expect("revokes");
        becomes(&mut Box::pin(first.acts()), false).await;
        assert!(GIVES_UP_AFTER + EVERY < Duration::from_secs(TTL_SECONDS as u64));
    }

    /// After a crash the same server does not wait for the end of its own lease; its former life, if there is one, ends.
    #[tokio::test(start_paused = true)]
    async fn a_server_takes_its_own_place() {
        let keyspace = Arc::new(MemoryKeyspace::new());
        let former = Candidacy::begin(keyspace.clone(), "one");
        becomes(&mut Box::pin(former.acts()), true).await;
        let again = Candidacy::begin(keyspace.clone(), "one");
        becomes(&mut Box::pin(again.acts()), true).await;
        becomes(&mut Box::pin(former.acts()), false).await;
        assert!(*again.acts.borrow());
        drop(former);
    }
}
