//! Runs controllers over the client until they are told to stop.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ::client::{Client, EventRecorder, Observer, WorkQueue};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    client_world::{ClientWorld, Endpoints},
    controller::Controller,
    isolation::Quarantine,
    worker::Worker,
};

/// Keys one controller reconciles at the same time.
pub const WORKERS: usize = 4;
/// Every object is looked at again at least this often, whatever the watches told.
pub const RESYNC: Duration = Duration::from_secs(600);

/// Runs all controllers: caches of the kinds they watch, their queues and workers, their events.
///
/// `host` is named in events; `observer` is told of every reconcile. Returns when `stop` is
/// cancelled and reconciles that were under way are done.
pub async fn run(
    client: Client,
    controllers: Vec<Arc<dyn Controller>>,
    host: &str,
    observer: Option<Arc<dyn Observer>>,
    stop: CancellationToken,
) {
    let endpoints = Endpoints::new(&client);
    let mut tasks = JoinSet::new();
    let mut watched = BTreeMap::new();
    for controller in controllers {
        let (recorder, writer) = EventRecorder::new(client.clone(), controller.name(), host);
        tasks.spawn(writer.run(stop.clone()));
        let world = Arc::new(ClientWorld { client: client.clone(), endpoints: endpoints.clone(), recorder });
        let queue = Arc::<WorkQueue>::default();
        for watch in controller.watches() {
            watched.insert(watch.kind.resource(), watch.kind);
            tasks.spawn(endpoints.clone().forward(watch.kind, watch.keys, queue.clone(), stop.clone()));
        }
        let quarantine = Arc::new(Quarantine::default());
        for _ in 0..WORKERS {
            let worker = Worker {
                controller: controller.clone(),
                world: world.clone(),
                observer: observer.clone(),
                quarantine: quarantine.clone(),
            };
            tasks.spawn(worker.run(queue.clone(), stop.clone()));
        }
    }
    for kind in watched.into_values() {
        tasks.spawn(endpoints.clone().watch(kind, stop.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            // A bug in what carries the controllers must not pass for a quiet one.
            std::panic::resume_unwind(error.into_panic());
        }
    }
}
