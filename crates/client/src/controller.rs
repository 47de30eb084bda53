//! The one controller runtime: caches wake keys, workers reconcile them.
//!
//! ```text
//!   Store ─► Change ─► keys ─► WorkQueue ─► worker ─► Reconciler::reconcile(key)
//!                                 ▲            │ Ok(After)  wait, then again
//!                                 │            │ Err        back-off, then again
//!                                 └────────────┤ panic      quarantine, then again
//! ```
//!
//! A panic over one key is a failure of that key; all others go on.

use std::{error::Error, fmt, future::Future, sync::Arc, time::Duration};

use api::ObjectKey;
use futures::{FutureExt, future::BoxFuture};
use tokio::{
    sync::broadcast::error::RecvError,
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Store, WorkQueue,
    error::chain,
    isolation::{self, Panicked, Quarantine},
};

/// Every key is reconciled at least this often, whatever the watches report.
pub const RESYNC: Duration = Duration::from_secs(600);
/// Keys reconciled at the same time by one controller.
pub const WORKERS: usize = 4;
/// Reason of the event about an object over which a controller panicked.
const PANICKED: &str = "ReconcilePanicked";

/// When to reconcile a key again, apart from when something it watches changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Next {
    /// Only when something changes.
    #[default]
    OnChange,
    /// After this long.
    After(Duration),
}

impl Next {
    /// The earlier of two.
    #[must_use]
    pub fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::After(a), Self::After(b)) => Self::After(a.min(b)),
            (Self::After(a), Self::OnChange) | (Self::OnChange, Self::After(a)) => Self::After(a),
            (Self::OnChange, Self::OnChange) => Self::OnChange,
        }
    }
}

/// One change of an object, as a controller sees it.
#[derive(Debug)]
pub struct Change<'a, O> {
    /// The object as it is, or as it last was.
    pub object: &'a O,
    /// Whether it is gone.
    pub gone: bool,
    /// Whether it is part of a full listing, as at the start: its earlier changes are not known.
    pub listed: bool,
}

impl<O> Clone for Change<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for Change<'_, O> {}

/// Brings the actual state to the desired one, for one key at a time.
///
/// It reads everything afresh, is idempotent, never sleeps and keeps no state.
pub trait Reconciler: Send + Sync + 'static {
    /// Why one reconcile did not finish.
    type Error: Error + Send + 'static;

    /// Name of the controller in logs, metrics and events.
    fn name(&self) -> &'static str;

    /// Brings the key one step, or all the way, to where it should be.
    fn reconcile(&self, key: &ObjectKey) -> impl Future<Output = Result<Next, Self::Error>> + Send;

    /// Whether the error only says that another writer came first: planning again is right, and no fault.
    fn is_conflict(error: &Self::Error) -> bool;

    /// Records a warning event about the object of a key.
    fn warn(&self, key: &ObjectKey, reason: &'static str, message: String) -> impl Future<Output = ()> + Send;
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it could.
    Done,
    /// It failed and is retried.
    Failed,
    /// It panicked; its key is in quarantine.
    Panicked,
}

/// Observes every reconcile; metrics implement it.
pub trait Observer: Send + Sync + 'static {
    /// A reconcile of `controller` ended.
    fn observe(&self, controller: &'static str, outcome: Outcome, took: Duration);
}

type Trigger = Box<dyn FnOnce(Arc<WorkQueue>, CancellationToken) -> BoxFuture<'static, ()> + Send>;

/// A reconciler with the caches that wake it.
pub struct Controller<R> {
    reconciler: Arc<R>,
    queue: Arc<WorkQueue>,
    triggers: Vec<Trigger>,
    observer: Option<Arc<dyn Observer>>,
    workers: usize,
}

impl<R: Reconciler> fmt::Debug for Controller<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Controller({})", self.reconciler.name())
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

    /// Wakes the keys that `keys` names for each change of a store's objects.
    #[must_use]
    pub fn watches<O: Send + Sync + 'static>(
        mut self,
        store: &Store<O>,
        keys: impl Fn(Change<'_, O>) -> Vec<ObjectKey> + Send + Sync + 'static,
    ) -> Self {
        let (store, controller) = (store.clone(), self.reconciler.name());
        self.triggers.push(Box::new(move |queue, stop| {
            async move {
                stop.run_until_cancelled(forward(store, keys, &queue, controller)).await;
            }
            .boxed()
        }));
        self
    }

    /// Has every reconcile observed.
    #[must_use]
    pub fn observer(mut self, observer: Option<Arc<dyn Observer>>) -> Self {
        self.observer = observer;
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
        let quarantine = Arc::new(Quarantine::default());
        for _ in 0..self.workers {
            let worker = Worker {
                reconciler: self.reconciler.clone(),
                queue: self.queue.clone(),
                observer: self.observer.clone(),
                quarantine: quarantine.clone(),
            };
            tasks.spawn(worker.run(stop.clone()));
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                // A bug in the runtime itself must not pass for a quiet controller.
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }
}

/// Wakes the keys of a store's changes, and all of them at the start and at every resync.
pub async fn forward<O: Send + Sync + 'static>(
    store: Store<O>,
    keys: impl Fn(Change<'_, O>) -> Vec<ObjectKey>,
    queue: &WorkQueue,
    controller: &'static str,
) {
    let wake = |change: Change<'_, O>| match isolation::call(|| keys(change)) {
        Ok(woken) => woken.into_iter().for_each(|key| queue.add(key)),
        Err(panicked) => {
            let object = store.key_of(change.object);
            tracing::error!(controller, %object, %panicked, "a change of this object wakes no key");
        }
    };
    store.wait_until_ready().await;
    let mut changes = store.subscribe();
    // The first tick comes at once: everything that exists is reconciled.
    let mut resync = tokio::time::interval(RESYNC);
    resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let change = tokio::select! {
            _ = resync.tick() => None,
            change = changes.recv() => Some(change),
        };
        match change {
            Some(Ok(change)) => match (&change.old, &change.new) {
                (_, Some(object)) => wake(Change { object, gone: false, listed: false }),
                (Some(object), None) => wake(Change { object, gone: true, listed: false }),
                (None, None) => {}
            },
            Some(Err(RecvError::Closed)) => return,
            // A resync is due, or changes were missed: the full state stands for all of them.
            Some(Err(RecvError::Lagged(_))) | None => {
                store.all().iter().for_each(|object| wake(Change { object, gone: false, listed: true }));
            }
        }
    }
}

/// Reconciles the keys of a queue, one at a time.
struct Worker<R> {
    reconciler: Arc<R>,
    queue: Arc<WorkQueue>,
    observer: Option<Arc<dyn Observer>>,
    /// Shared by all workers of the controller.
    quarantine: Arc<Quarantine>,
}

impl<R: Reconciler> Worker<R> {
    async fn run(self, stop: CancellationToken) {
        while let Some(key) = stop.run_until_cancelled(self.queue.next()).await {
            match self.quarantine.left(&key) {
                // A change of the object does not end its quarantine early.
                Some(left) => {
                    self.queue.done(&key);
                    self.queue.add_after(key, left);
                }
                None => {
                    self.reconcile(&key).await;
                    self.queue.done(&key);
                }
            }
        }
    }

    async fn reconcile(&self, key: &ObjectKey) {
        let start = Instant::now();
        let result = isolation::isolate(self.reconciler.reconcile(key)).await;
        if let Some(observer) = &self.observer {
            let outcome = match &result {
                Ok(Ok(_)) => Outcome::Done,
                Ok(Err(_)) => Outcome::Failed,
                Err(_) => Outcome::Panicked,
            };
            observer.observe(self.reconciler.name(), outcome, start.elapsed());
        }
        match result {
            Ok(result) => {
                self.quarantine.forget(key);
                self.ended(key, result);
            }
            Err(panicked) => self.panicked(key, &panicked).await,
        }
    }

    fn ended(&self, key: &ObjectKey, result: Result<Next, R::Error>) {
        let controller = self.reconciler.name();
        match result {
            Ok(next) => {
                self.queue.forget(key);
                if let Next::After(delay) = next {
                    self.queue.add_after(key.clone(), delay);
                }
            }
            Err(error) => {
                let retry_in = self.queue.add_failed(key.clone());
                let cause = chain(&error);
                if R::is_conflict(&error) {
                    tracing::debug!(controller, %key, cause, ?retry_in, "another writer came first; planning again");
                } else {
                    tracing::warn!(controller, %key, cause, ?retry_in, "reconcile failed");
                }
            }
        }
    }

    /// Puts the key into quarantine, and says so where the object's owner looks.
    async fn panicked(&self, key: &ObjectKey, panicked: &Panicked) {
        let controller = self.reconciler.name();
        let wait = self.quarantine.add(key);
        self.queue.add_after(key.clone(), wait);
        let seconds = wait.as_secs();
        tracing::error!(controller, %key, %panicked, seconds, "the object is in quarantine; please report this bug");
        let message = format!("{controller} leaves this object alone for {seconds} s after {panicked}");
        self.reconciler.warn(key, PANICKED, message).await;
    }
}

#[cfg(test)]
mod tests;
