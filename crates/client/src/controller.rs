//! Runs a reconciler for every key whose objects changed.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use api::{ObjectKey, Resource};
use futures::{FutureExt, future::BoxFuture};
use tokio::{
    sync::broadcast::error::RecvError,
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use crate::{BoxError, Store, WorkQueue};

/// Every key is reconciled at least this often, whatever the watches told.
pub const RESYNC: Duration = Duration::from_secs(600);
/// Keys reconciled at the same time by one controller.
pub const WORKERS: usize = 4;

/// When a key is to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When something changes.
    OnChange,
    /// After this long, or when something changes.
    After(Duration),
}

/// Makes what is into what should be, for one key at a time.
///
/// It reads everything anew, is idempotent, never sleeps and never remembers.
pub trait Reconciler: Send + Sync + 'static {
    /// Name of the controller in logs and metrics.
    const NAME: &'static str;

    /// Brings the key one step or all the way to where it should be.
    fn reconcile(&self, key: &ObjectKey) -> impl Future<Output = Result<Next, BoxError>> + Send;
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it could.
    Done,
    /// It failed and is retried.
    Failed,
    /// It panicked; what it was about is left alone for a while.
    Panicked,
}

/// Is told of every reconcile; metrics implement it.
pub trait Observer: Send + Sync + 'static {
    /// A reconcile of `controller` ended.
    fn observe(&self, controller: &'static str, outcome: Outcome, took: Duration);
}

type Trigger = Box<dyn FnOnce(Arc<WorkQueue>, CancellationToken) -> BoxFuture<'static, ()> + Send>;

/// A reconciler with what wakes it.
pub struct Controller<R> {
    reconciler: Arc<R>,
    queue: Arc<WorkQueue>,
    triggers: Vec<Trigger>,
    observer: Option<Arc<dyn Observer>>,
    workers: usize,
}

impl<R: Reconciler> fmt::Debug for Controller<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Controller({})", R::NAME)
    }
}

impl<R: Reconciler> Controller<R> {
    /// A controller that nothing wakes yet.
    pub fn new(reconciler: R) -> Self {
        Self {
            reconciler: Arc::new(reconciler),
            queue: Arc::default(),
            triggers: Vec::new(),
            observer: None,
            workers: WORKERS,
        }
    }

    /// Wakes a key when its own object changes.
    #[must_use]
    pub fn primary<K: Resource>(self, store: &Store<K>) -> Self {
        self.watches(store, |object| vec![ObjectKey::of(object)])
    }

    /// Wakes the object of kind `O` that owns (as a controller) the object that changed.
    #[must_use]
    pub fn owned<O: Resource, K: Resource>(self, store: &Store<K>) -> Self {
        self.watches(store, |object| {
            let owners = object.meta().owner_references.iter().flatten();
            let ours = owners.filter(|owner| owner.kind == O::KIND && owner.api_version == O::api_version());
            let namespace = object.meta().namespace.clone();
            ours.map(|owner| ObjectKey { namespace: namespace.clone(), name: owner.name.clone() }).collect()
        })
    }

    /// Wakes whatever keys a function names for the object that changed, before and after the change.
    #[must_use]
    pub fn watches<K: Resource>(
        mut self,
        store: &Store<K>,
        map: impl Fn(&K) -> Vec<ObjectKey> + Send + Sync + 'static,
    ) -> Self {
        let store = store.clone();
        self.triggers.push(Box::new(move |queue, stop| {
            async move {
                stop.run_until_cancelled(forward(store, map, queue)).await;
            }
            .boxed()
        }));
        self
    }

    /// Tells an observer of every reconcile.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// How many keys are reconciled at the same time.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// The queue, to wake keys by other means.
    pub fn queue(&self) -> Arc<WorkQueue> {
        self.queue.clone()
    }

    /// Runs until `stop`; reconciles that are under way are finished.
    pub async fn run(self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        for trigger in self.triggers {
            tasks.spawn(trigger(self.queue.clone(), stop.clone()));
        }
        for _ in 0..self.workers {
            tasks.spawn(work(self.reconciler.clone(), self.queue.clone(), self.observer.clone(), stop.clone()));
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                // A bug in a reconciler must not pass for a quiet controller.
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }
}

async fn forward<K: Resource>(store: Store<K>, map: impl Fn(&K) -> Vec<ObjectKey>, queue: Arc<WorkQueue>) {
    let wake = |object: &K| map(object).into_iter().for_each(|key| queue.add(key));
    let mut changes = store.subscribe();
    // The first tick comes at once: everything there is is looked at.
    let mut resync = tokio::time::interval(RESYNC);
    resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let change = tokio::select! {
            _ = resync.tick() => None,
            change = changes.recv() => Some(change),
        };
        match change {
            Some(Ok(change)) => change.old.iter().chain(change.new.iter()).for_each(|object| wake(object)),
            Some(Err(RecvError::Closed)) => return,
            // Time for it, or behind the changes: the full state says it all.
            Some(Err(RecvError::Lagged(_))) | None => store.all().iter().for_each(|object| wake(object)),
        }
    }
}

async fn work<R: Reconciler>(
    reconciler: Arc<R>,
    queue: Arc<WorkQueue>,
    observer: Option<Arc<dyn Observer>>,
    stop: CancellationToken,
) {
    while let Some(key) = stop.run_until_cancelled(queue.next()).await {
        let start = Instant::now();
        let result = reconciler.reconcile(&key).await;
        let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Failed };
        if let Some(observer) = &observer {
            observer.observe(R::NAME, outcome, start.elapsed());
        }
        match result {
            Ok(next) => {
                queue.forget(&key);
                if let Next::After(delay) = next {
                    queue.add_after(key.clone(), delay);
                }
            }
            Err(error) => {
                let wait = queue.add_failed(key.clone());
                // Conflicts are everyday life of optimistic concurrency; the first retries stay quiet.
                if wait > Duration::from_secs(1) {
                    tracing::warn!(controller = R::NAME, %key, %error, retry_in = ?wait, "reconcile failed");
                } else {
                    tracing::debug!(controller = R::NAME, %key, %error, retry_in = ?wait, "reconcile failed");
                }
            }
        }
        queue.done(&key);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use api::kinds::ConfigMap;
    use tokio::sync::mpsc;

    use super::*;
    use crate::Event;

    struct Flaky {
        failures: AtomicU32,
        seen: mpsc::UnboundedSender<ObjectKey>,
    }

    impl Reconciler for Flaky {
        const NAME: &'static str = "flaky";

        async fn reconcile(&self, key: &ObjectKey) -> Result<Next, BoxError> {
            if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                return Err("not yet".into());
            }
            self.seen.send(key.clone())?;
            Ok(Next::OnChange)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_wakes_its_key_and_failures_are_retried() {
        let (seen, mut keys) = mpsc::unbounded_channel();
        let store = Store::<ConfigMap>::default();
        let stop = CancellationToken::new();
        let controller = Controller::new(Flaky { failures: AtomicU32::new(3), seen }).primary(&store);
        let running = tokio::spawn(controller.run(stop.clone()));
        let mut map = ConfigMap::default();
        map.metadata.name = Some("a".into());
        store.apply(Event::Applied(map));
        assert_eq!(keys.recv().await.unwrap(), ObjectKey::namespaced("default", "a"));
        stop.cancel();
        running.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn every_key_is_looked_at_again_even_while_others_change() {
        let (seen, mut keys) = mpsc::unbounded_channel();
        let store = Store::<ConfigMap>::default();
        let named = |name: &str, revision: u32| {
            let mut map = ConfigMap::default();
            map.metadata.name = Some(name.into());
            map.metadata.resource_version = Some(revision.to_string());
            map
        };
        store.apply(Event::Applied(named("quiet", 0)));
        let stop = CancellationToken::new();
        let controller = Controller::new(Flaky { failures: AtomicU32::new(0), seen }).primary(&store);
        let running = tokio::spawn(controller.run(stop.clone()));
        // Something changes more often than the resync comes, for a little longer than two of them.
        for revision in 0..2 * RESYNC.as_secs() / 60 + 1 {
            store.apply(Event::Applied(named("busy", u32::try_from(revision).unwrap())));
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        stop.cancel();
        running.await.unwrap();
        let mut quiet = 0;
        while let Ok(key) = keys.try_recv() {
            quiet += u32::from(key.name == "quiet");
        }
        assert_eq!(quiet, 3, "at the start and at each resync");
    }

    struct Slow {
        at_work: AtomicU32,
        most: Arc<AtomicU32>,
        done: mpsc::UnboundedSender<ObjectKey>,
    }

    impl Reconciler for Slow {
        const NAME: &'static str = "slow";

        async fn reconcile(&self, key: &ObjectKey) -> Result<Next, BoxError> {
            let now = self.at_work.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.at_work.fetch_sub(1, Ordering::SeqCst);
            self.done.send(key.clone())?;
            Ok(Next::After(Duration::from_secs(30)))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_keys_are_at_work_and_work_under_way_is_finished() {
        let (done, mut keys) = mpsc::unbounded_channel();
        let most = Arc::new(AtomicU32::new(0));
        let controller = Controller::new(Slow { at_work: AtomicU32::new(0), most: most.clone(), done }).workers(3);
        let queue = controller.queue();
        (0..7).for_each(|index| queue.add(ObjectKey::cluster(index.to_string())));
        let stop = CancellationToken::new();
        let running = tokio::spawn(controller.run(stop.clone()));
        for _ in 0..6 {
            keys.recv().await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        stop.cancel();
        running.await.unwrap();
        assert!(keys.try_recv().is_ok(), "the seventh was at work when the controller was stopped");
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }
}
