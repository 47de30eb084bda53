//! Gives every controller to the runtime of `client`: caches of the kinds it watches, its queue, its events.

use std::{collections::BTreeMap, sync::Arc};

use ::client::{Client, DynamicApi, EventRecorder, ListParams, Observer, Reconciler, Store, reflect};
use api::{Kind, ObjectKey, kinds::CustomResourceDefinition};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    api_world::ApiWorld,
    controller::{Controller, Next},
    custom_watches::CustomWatches,
    error::Error,
    step::Notice,
    world::World,
};

/// Runs all controllers.
///
/// `host` is named in events; every reconcile is reported to `observer`. Returns when `stop` is
/// cancelled and reconciles that were under way are done.
pub async fn run(
    client: Client,
    controllers: Vec<Arc<dyn Controller>>,
    host: &str,
    observer: Option<Arc<dyn Observer>>,
    stop: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    let mut caches = BTreeMap::new();
    let mut custom = CustomWatches::new(client.clone());
    for controller in controllers {
        let (recorder, writer) = EventRecorder::new(client.clone(), controller.name(), host);
        tasks.spawn(writer.run(stop.clone()));
        let world = ApiWorld { client: client.clone(), recorder };
        let mut runtime = ::client::Controller::new(InWorld { controller: controller.clone(), world });
        for watch in controller.watches() {
            let (_, store) = caches.entry(watch.kind.resource()).or_insert_with(|| (watch.kind, Store::dynamic()));
            runtime = runtime.watches(store, move |change| (watch.keys)(change));
        }
        custom.add(controller, runtime.queue());
        tasks.spawn(runtime.observer(observer.clone()).run(stop.clone()));
    }
    if let Some((_, definitions)) = caches.get(&Kind::of::<CustomResourceDefinition>().resource()) {
        tasks.spawn(custom.follow(definitions.clone(), stop.clone()));
    }
    for (kind, store) in caches.into_values() {
        let api = DynamicApi::new(client.clone(), &kind, None);
        tasks.spawn(reflect(api, ListParams::default(), store, stop.clone()));
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

/// A controller and the world it acts on, as the runtime needs them.
struct InWorld {
    controller: Arc<dyn Controller>,
    world: ApiWorld,
}

impl Reconciler for InWorld {
    type Error = Error;

    fn name(&self) -> &'static str {
        self.controller.name()
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        self.controller.reconcile(&self.world, key).await
    }

    fn is_conflict(error: &Error) -> bool {
        error.is_conflict()
    }

    async fn warn(&self, key: &ObjectKey, reason: &'static str, message: String) {
        // The kind that a controller watches first is the one it is for.
        let Some(watch) = self.controller.watches().into_iter().next() else { return };
        if let Ok(Some(about)) = self.world.get(&watch.kind, key).await {
            self.world.notify(&Notice { kind: watch.kind, about, warning: true, reason: reason.into(), message }).await;
        }
    }
}
