#![expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use api::kinds::ConfigMap;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::*;
use crate::{
    Event,
    isolation::{QUARANTINE_FIRST, is_isolated},
};

#[derive(Debug, thiserror::Error)]
#[error("not yet")]
struct NotYet;

/// Reconciles by a function, and keeps the reasons of its warnings.
struct Scripted<F> {
    run: F,
    warnings: Arc<Mutex<Vec<&'static str>>>,
}

fn scripted<F>(run: F) -> Scripted<F>
where
    F: Fn(ObjectKey) -> BoxFuture<'static, Result<Next, NotYet>> + Send + Sync + 'static,
{
    Scripted { run, warnings: Arc::default() }
}

impl<F> Reconciler for Scripted<F>
where
    F: Fn(ObjectKey) -> BoxFuture<'static, Result<Next, NotYet>> + Send + Sync + 'static,
{
    type Error = NotYet;

    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, NotYet> {
        (self.run)(key.clone()).await
    }

    fn is_conflict(_: &NotYet) -> bool {
        false
    }

    async fn warn(&self, _: &ObjectKey, reason: &'static str, _: String) {
        self.warnings.lock().push(reason);
    }
}

/// Fails so many times, then passes its keys on.
fn flaky(failures: u32, seen: mpsc::UnboundedSender<ObjectKey>) -> impl Reconciler {
    let failures = AtomicU32::new(failures);
    scripted(move |key| {
        let fails = failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let seen = seen.clone();
        async move {
            if fails {
                return Err(NotYet);
            }
            seen.send(key).unwrap();
            Ok(Next::OnChange)
        }
        .boxed()
    })
}

fn itself(change: Change<'_, ConfigMap>) -> Vec<ObjectKey> {
    vec![ObjectKey::of(change.object)]
}

fn map(name: &str, revision: u64) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.into());
    map.metadata.resource_version = Some(revision.to_string());
    map
}

#[tokio::test(start_paused = true)]
async fn a_change_wakes_its_key_and_failures_are_retried() {
    let (seen, mut keys) = mpsc::unbounded_channel();
    let store = Store::<ConfigMap>::default();
    let stop = CancellationToken::new();
    let running = tokio::spawn(Controller::new(flaky(3, seen)).watches(&store, itself).run(stop.clone()));
    store.apply(Event::Restarted(Vec::new()));
    store.apply(Event::Applied(map("a", 1)));
    assert_eq!(keys.recv().await.unwrap(), ObjectKey::namespaced("default", "a"));
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_key_is_looked_at_again_even_while_others_change() {
    let (seen, mut keys) = mpsc::unbounded_channel();
    let store = Store::<ConfigMap>::default();
    store.apply(Event::Restarted(vec![map("quiet", 0)]));
    let stop = CancellationToken::new();
    let running = tokio::spawn(Controller::new(flaky(0, seen)).watches(&store, itself).run(stop.clone()));
    // Something changes more often than the resync comes, for a little longer than two of them.
    for revision in 0..2 * RESYNC.as_secs() / 60 + 1 {
        store.apply(Event::Applied(map("busy", revision)));
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

#[tokio::test(start_paused = true)]
async fn what_is_listed_changed_or_gone_is_told_apart() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let store = Store::<ConfigMap>::default();
    let stop = CancellationToken::new();
    let noted = told.clone();
    let note = move |change: Change<'_, ConfigMap>| {
        noted.lock().push((change.object.metadata.name.clone().unwrap(), change.gone, change.listed));
        Vec::new()
    };
    let idle = scripted(|_| async { Ok(Next::OnChange) }.boxed());
    let running = tokio::spawn(Controller::new(idle).watches(&store, note).run(stop.clone()));
    let applied = [Event::Restarted(vec![map("a", 1)]), Event::Applied(map("b", 2)), Event::Deleted(map("a", 3))];
    for event in applied {
        store.apply(event);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let told = std::mem::take(&mut *told.lock());
    let expected = [("a", false, true), ("b", false, false), ("a", true, false)];
    assert_eq!(told, expected.map(|(name, gone, listed)| (name.to_owned(), gone, listed)));
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_choice_of_keys_loses_that_change_only() {
    let (seen, mut keys) = mpsc::unbounded_channel();
    let store = Store::<ConfigMap>::default();
    store.apply(Event::Restarted(vec![map("a", 1), map("nuts", 1), map("z", 1)]));
    let stop = CancellationToken::new();
    let choosy = |change: Change<'_, ConfigMap>| {
        let keys = itself(change);
        assert!(keys[0].name != "nuts", "nuts");
        keys
    };
    let running = tokio::spawn(Controller::new(flaky(0, seen)).watches(&store, choosy).run(stop.clone()));
    let mut names = [keys.recv().await.unwrap().name, keys.recv().await.unwrap().name];
    names.sort();
    assert_eq!(names, ["a", "z"]);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_so_many_keys_are_at_work_and_work_under_way_is_finished() {
    let (done, mut keys) = mpsc::unbounded_channel();
    let (at_work, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let peak = most.clone();
    let slow = scripted(move |key| {
        let (at_work, most, done) = (at_work.clone(), most.clone(), done.clone());
        async move {
            let now = at_work.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            at_work.fetch_sub(1, Ordering::SeqCst);
            done.send(key).unwrap();
            Ok(Next::After(Duration::from_secs(30)))
        }
        .boxed()
    });
    let controller = Controller::new(slow).workers(3);
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
    assert_eq!(peak.load(Ordering::SeqCst), 3);
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
    let (cured, runs) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeMap::<String, u32>::new())));
    let (healthy, counted) = (cured.clone(), runs.clone());
    let allergic = scripted(move |key| {
        let cured = healthy.clone();
        *counted.lock().entry(key.name.clone()).or_default() += 1;
        async move {
            tokio::task::yield_now().await;
            assert!(is_isolated());
            assert!(key.name != "nuts" || cured.load(Ordering::Relaxed), "nuts");
            Ok(Next::OnChange)
        }
        .boxed()
    });
    let (warnings, seen) = (allergic.warnings.clone(), Arc::new(Seen::default()));
    let controller = Controller::new(allergic).workers(1).observer(Some(seen.clone()));
    let (queue, stop) = (controller.queue(), CancellationToken::new());
    let running = tokio::spawn(controller.run(stop.clone()));
    let key = |name: &str| ObjectKey::namespaced("default", name);
    // Each of these sleeps ends when no worker has anything to do: the clock is paused.
    for name in ["nuts", "bread", "nuts", "nuts"] {
        queue.add(key(name));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let count = |name: &str| runs.lock().get(name).copied().unwrap_or_default();
    assert_eq!((count("nuts"), count("bread")), (1, 1), "a change does not end the quarantine");
    assert_eq!(*warnings.lock(), ["ReconcilePanicked"]);
    cured.store(true, Ordering::Relaxed);
    tokio::time::sleep(QUARANTINE_FIRST).await;
    assert_eq!(count("nuts"), 2);
    queue.add(key("nuts"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(count("nuts"), 3, "a success ends the quarantine");
    assert_eq!(*seen.0.lock(), [Outcome::Panicked, Outcome::Done, Outcome::Done, Outcome::Done]);
    stop.cancel();
    running.await.unwrap();
}
