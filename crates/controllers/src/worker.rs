//! Reconciles the keys of one controller's queue, one at a time.

use std::{sync::Arc, time::Instant};

use ::client::{Observer, Outcome, WorkQueue};
use api::ObjectKey;
use tokio_util::sync::CancellationToken;

use crate::{
    controller::{Controller, Next},
    error::{Error, chain},
    isolation::{Panicked, Quarantine, isolate},
    step::Notice,
    world::World,
};

/// Reason of the event about an object over which a controller panicked.
const PANICKED: &str = "ReconcilePanicked";

pub(crate) struct Worker {
    pub(crate) controller: Arc<dyn Controller>,
    pub(crate) world: Arc<dyn World>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    /// Shared by all workers of the controller.
    pub(crate) quarantine: Arc<Quarantine>,
}

impl Worker {
    /// Works until `stop`.
    pub(crate) async fn run(self, queue: Arc<WorkQueue>, stop: CancellationToken) {
        while let Some(key) = stop.run_until_cancelled(queue.next()).await {
            match self.quarantine.left(&key) {
                // A change of the object does not end it early.
                Some(left) => {
                    queue.done(&key);
                    queue.add_after(key, left);
                }
                None => {
                    self.reconcile(&queue, &key).await;
                    queue.done(&key);
                }
            }
        }
    }

    async fn reconcile(&self, queue: &WorkQueue, key: &ObjectKey) {
        let start = Instant::now();
        let result = isolate(self.controller.reconcile(self.world.as_ref(), key)).await;
        if let Some(observer) = &self.observer {
            let outcome = match &result {
                Ok(Ok(_)) => Outcome::Done,
                Ok(Err(_)) => Outcome::Failed,
                Err(_) => Outcome::Panicked,
            };
            observer.observe(self.controller.name(), outcome, start.elapsed());
        }
        match result {
            Ok(result) => {
                self.quarantine.forget(key);
                self.ended(queue, key, result);
            }
            Err(panicked) => self.panicked(queue, key, &panicked).await,
        }
    }

    fn ended(&self, queue: &WorkQueue, key: &ObjectKey, result: Result<Next, Error>) {
        let controller = self.controller.name();
        match result {
            Ok(next) => {
                queue.forget(key);
                if let Next::After(delay) = next {
                    queue.add_after(key.clone(), delay);
                }
            }
            Err(error) => {
                let retry_in = queue.add_failed(key.clone());
                let cause = chain(&error);
                if error.is_conflict() {
                    tracing::debug!(controller, %key, cause, ?retry_in, "somebody else wrote; planning again");
                } else {
                    tracing::warn!(controller, %key, cause, ?retry_in, "reconcile failed");
                }
            }
        }
    }

    /// Leaves the key alone for a while, and says so where its owner looks.
    async fn panicked(&self, queue: &WorkQueue, key: &ObjectKey, panicked: &Panicked) {
        let controller = self.controller.name();
        let wait = self.quarantine.add(key);
        queue.add_after(key.clone(), wait);
        let seconds = wait.as_secs();
        tracing::error!(controller, %key, %panicked, seconds, "the object is left alone for a while; please report this");
        let Some(watch) = self.controller.watches().into_iter().next() else { return };
        if let Ok(Some(about)) = self.world.get(&watch.kind, key).await {
            let message = format!("{controller} leaves this alone for {seconds} s after {panicked}");
            let notice = Notice { kind: watch.kind, about, warning: true, reason: PANICKED.into(), message };
            self.world.notify(&notice).await;
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use api::{Kind, kinds::ConfigMap};
    use async_trait::async_trait;
    use parking_lot::Mutex;
    use serde_json::json;

    use super::*;
    use crate::{
        Watch,
        isolation::{QUARANTINE_FIRST, is_isolated},
        testing::Memory,
    };

    /// Cannot stand one name until it is cured.
    #[derive(Default)]
    struct Allergic {
        runs: Mutex<BTreeMap<String, u32>>,
        cured: AtomicBool,
    }

    #[async_trait]
    impl Controller for Allergic {
        fn name(&self) -> &'static str {
            "allergic"
        }

        fn watches(&self) -> Vec<Watch> {
            vec![Watch::new(Kind::of::<ConfigMap>(), crate::controller::itself)]
        }

        async fn reconcile(&self, _: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
            *self.runs.lock().entry(key.name.clone()).or_default() += 1;
            tokio::task::yield_now().await;
            assert!(is_isolated());
            assert!(key.name != "nuts" || self.cured.load(Ordering::Relaxed), "nuts");
            Ok(Next::OnChange)
        }
    }

    #[derive(Default)]
    struct Seen(Mutex<Vec<Outcome>>);

    impl Observer for Seen {
        fn observe(&self, _: &'static str, outcome: Outcome, _: Duration) {
            self.0.lock().push(outcome);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_over_one_key_leaves_the_others_alone_and_is_tried_again_later() {
        let (controller, world, seen) =
            (Arc::new(Allergic::default()), Arc::new(Memory::default()), Arc::new(Seen::default()));
        let nuts = json!({"metadata": {"name": "nuts", "namespace": "default"}});
        world.create(&Kind::of::<ConfigMap>(), &nuts).await.unwrap();
        let queue = Arc::<WorkQueue>::default();
        let stop = CancellationToken::new();
        let worker = Worker {
            controller: controller.clone(),
            world: world.clone(),
            observer: Some(seen.clone()),
            quarantine: Arc::default(),
        };
        let task = tokio::spawn(worker.run(queue.clone(), stop.clone()));
        let key = |name: &str| ObjectKey::namespaced("default", name);
        // Each of these waits for the paused clock to find nobody at work.
        for name in ["nuts", "bread", "nuts", "nuts"] {
            queue.add(key(name));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let runs = |name: &str| controller.runs.lock().get(name).copied().unwrap_or_default();
        assert_eq!((runs("nuts"), runs("bread")), (1, 1), "a change does not end the quarantine");
        assert_eq!(world.notices(), ["ReconcilePanicked"]);
        controller.cured.store(true, Ordering::Relaxed);
        tokio::time::sleep(QUARANTINE_FIRST).await;
        assert_eq!(runs("nuts"), 2);
        queue.add(key("nuts"));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(runs("nuts"), 3, "who is well is trusted again");
        assert_eq!(*seen.0.lock(), [Outcome::Panicked, Outcome::Done, Outcome::Done, Outcome::Done]);
        stop.cancel();
        task.await.unwrap();
    }
}
