//! Watches of kinds that CustomResourceDefinitions define, as these come and go.

use std::{collections::BTreeMap, sync::Arc};

use ::client::{Client, DynamicApi, ListParams, Store, WorkQueue, forward, reflect};
use api::{Kind, Kinds, kinds::CustomResourceDefinition};
use serde_json::Value;
use tokio::{sync::broadcast::error::RecvError, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::controller::Controller;

/// The controllers that such kinds concern, and the watches that run for them.
pub(crate) struct CustomWatches {
    client: Client,
    controllers: Vec<(Arc<dyn Controller>, Arc<WorkQueue>)>,
    /// By resource: the version that is watched, and what ends the watch.
    running: BTreeMap<String, (String, CancellationToken)>,
    tasks: JoinSet<()>,
}

impl CustomWatches {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, controllers: Vec::new(), running: BTreeMap::new(), tasks: JoinSet::new() }
    }

    /// A controller, and the queue of its keys.
    pub(crate) fn add(&mut self, controller: Arc<dyn Controller>, queue: Arc<WorkQueue>) {
        self.controllers.push((controller, queue));
    }

    /// Follows the definitions until `stop`.
    pub(crate) async fn follow(mut self, definitions: Store<Value>, stop: CancellationToken) {
        let mut changes = definitions.subscribe();
        if stop.run_until_cancelled(definitions.wait_until_ready()).await.is_none() {
            return;
        }
        loop {
            self.adjust(&definitions, &stop);
            // Ended watches are collected meanwhile.
            while self.tasks.try_join_next().is_some() {}
            match stop.run_until_cancelled(changes.recv()).await {
                Some(Ok(_) | Err(RecvError::Lagged(_))) => {}
                Some(Err(RecvError::Closed)) | None => break,
            }
        }
        while self.tasks.join_next().await.is_some() {}
    }

    /// Starts and ends watches, so that there is one for each resource.
    fn adjust(&mut self, definitions: &Store<Value>, stop: &CancellationToken) {
        let all = definitions.all();
        let all: Vec<CustomResourceDefinition> = all.iter().filter_map(|one| api::decode_from(one).ok()).collect();
        let kinds = Kinds::builtin().with_definitions(&all);
        let wanted: BTreeMap<String, &Kind> = kinds
            .resources()
            .filter(|kind| kind.facts().custom.is_some())
            .map(|kind| (kind.resource(), kind))
            .collect();
        self.running.retain(|resource, (version, running)| {
            let stays = wanted.get(resource).is_some_and(|kind| kind.api_version() == *version);
            if !stays {
                running.cancel();
            }
            stays
        });
        for (resource, kind) in wanted {
            if !self.running.contains_key(&resource) {
                let running = stop.child_token();
                self.start(kind, &running);
                self.running.insert(resource, (kind.api_version(), running));
            }
        }
    }

    fn start(&mut self, kind: &Kind, stop: &CancellationToken) {
        let store = Store::dynamic();
        for (controller, queue) in &self.controllers {
            let Some(watch) = controller.watches_custom(kind) else { continue };
            let (store, queue, name) = (store.clone(), queue.clone(), controller.name());
            let stop = stop.clone();
            self.tasks.spawn(async move {
                stop.run_until_cancelled(forward(store, move |change| (watch.keys)(change), &queue, name)).await;
            });
        }
        let api = DynamicApi::new(self.client.clone(), kind, None);
        self.tasks.spawn(reflect(api, ListParams::default(), store, stop.clone()));
    }
}
