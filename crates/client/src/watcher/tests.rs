use std::{collections::VecDeque, pin::Pin};

use api::kinds::ConfigMap;
use futures::FutureExt;
use parking_lot::Mutex;

use super::*;

type Listed = Result<(Vec<ConfigMap>, String)>;
type Watch = Result<Vec<Result<WatchEvent<ConfigMap>>>>;

/// A server that answers what it is told, one answer after the other; then it is silent.
#[derive(Default)]
struct Script {
    lists: Mutex<VecDeque<Listed>>,
    watches: Mutex<VecDeque<Watch>>,
    asked: Mutex<Vec<String>>,
}

impl Watchable for std::sync::Arc<Script> {
    type Object = ConfigMap;

    fn list_objects<'a>(&'a self, _: &'a ListParams) -> BoxFuture<'a, Result<(Vec<ConfigMap>, String)>> {
        self.asked.lock().push("list".into());
        let answer = self.lists.lock().pop_front();
        async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        }
        .boxed()
    }

    fn watch_objects<'a>(&'a self, _: &'a ListParams, from: &'a str) -> BoxFuture<'a, Result<Changes<ConfigMap>>> {
        self.asked.lock().push(format!("watch {from}"));
        let answer = self.watches.lock().pop_front();
        async move {
            match answer {
                Some(Ok(events)) => Ok(stream::iter(events).boxed()),
                Some(Err(error)) => Err(error),
                None => std::future::pending().await,
            }
        }
        .boxed()
    }

    fn kind_name(&self) -> &str {
        "Script"
    }

    fn revision(object: &ConfigMap) -> Option<String> {
        object.metadata.resource_version.clone()
    }
}

fn map(name: &str, revision: &str) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.into());
    map.metadata.resource_version = Some(revision.into());
    map
}

fn failure(code: u16) -> Error {
    Status::of_code(code, "Test", "as told").into()
}

type Events = Pin<Box<dyn Stream<Item = Result<Event<ConfigMap>>> + Send>>;

fn run(
    lists: impl IntoIterator<Item = Listed>,
    watches: impl IntoIterator<Item = Watch>,
) -> (std::sync::Arc<Script>, Events) {
    let script = std::sync::Arc::new(Script {
        lists: Mutex::new(lists.into_iter().collect()),
        watches: Mutex::new(watches.into_iter().collect()),
        asked: Mutex::default(),
    });
    (script.clone(), Box::pin(watcher(script, ListParams::default())))
}

/// What the watcher tells until nothing more comes.
async fn told(events: &mut Events) -> Vec<String> {
    let mut told = Vec::new();
    // Time is paused: it moves on only when nothing else can happen.
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(3600), events.next()).await {
        told.push(match event {
            Ok(Event::Restarted(objects)) => format!("full {}", objects.len()),
            Ok(Event::Applied(object)) => format!("+{}", object.metadata.name.unwrap()),
            Ok(Event::Deleted(object)) => format!("-{}", object.metadata.name.unwrap()),
            Err(error) => format!("error {}", error.status().map_or(0, |status| status.code)),
        });
    }
    told
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_where_the_last_event_or_bookmark_was() {
    let changes = vec![
        Ok(WatchEvent::Added(map("a", "6"))),
        Ok(WatchEvent::Deleted(map("a", "7"))),
        Ok(WatchEvent::Bookmark("9".into())),
    ];
    let (script, mut events) = run([Ok((vec![map("b", "3")], "5".into()))], [Ok(changes), Ok(vec![Err(failure(500))])]);
    assert_eq!(told(&mut events).await, ["full 1", "+a", "-a", "error 500"]);
    assert_eq!(*script.asked.lock(), ["list", "watch 5", "watch 9", "watch 9"]);
}

#[tokio::test(start_paused = true)]
async fn history_that_is_gone_means_listing_again() {
    let lists = [Ok((vec![], "5".into())), Ok((vec![map("a", "8")], "8".into())), Ok((vec![], "9".into()))];
    let (script, mut events) = run(lists, [Ok(vec![Err(failure(410))]), Err(failure(410))]);
    assert_eq!(told(&mut events).await, ["full 0", "full 1", "full 0"]);
    assert_eq!(*script.asked.lock(), ["list", "watch 5", "list", "watch 8", "list", "watch 9"]);
}

#[tokio::test(start_paused = true)]
async fn failures_to_list_are_told_and_tried_again_from_the_start() {
    let (script, mut events) = run([Err(failure(503)), Ok((vec![], "5".into()))], []);
    assert_eq!(told(&mut events).await, ["error 503", "full 0"]);
    assert_eq!(*script.asked.lock(), ["list", "list", "watch 5"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_every_watch_at_once_is_asked_more_and_more_rarely() {
    let watches: Vec<_> = (0..20).map(|_| Ok(vec![])).collect();
    let (script, mut events) = run([Ok((vec![], "5".into()))], watches);
    let start = Instant::now();
    assert!(matches!(events.next().await, Some(Ok(Event::Restarted(_)))));
    // Stops waiting when the last of the watches has been asked for.
    let _ = tokio::time::timeout(Duration::from_secs(600), events.next()).await;
    assert_eq!(script.asked.lock().len(), 22);
    let least: Duration = (1..=20).map(|failures| pause(failures) / 2).sum();
    assert!(start.elapsed() >= least);
}

#[test]
fn pauses_grow_to_their_limit_and_are_spread() {
    assert_eq!([pause(1), pause(2), pause(3), pause(100)], [PAUSE, PAUSE * 2, PAUSE * 4, PAUSE_MAX]);
    for _ in 0..1000 {
        let spread = jitter(PAUSE_MAX);
        assert!(PAUSE_MAX / 2 <= spread && spread <= PAUSE_MAX);
    }
}
