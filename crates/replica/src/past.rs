//! History for watchers that are behind.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use keyspace::read::{self, Changes};
use keyspace::{Engine, EngineError, Error as KeyspaceError, History, KeyRange, Revision};

use crate::parts::blocking;
use crate::store::StateEngine;

/// History for watchers, read on another thread.
pub(crate) struct Past(Arc<StateEngine>);

impl Past {
    pub(crate) fn new(engine: Arc<StateEngine>) -> Self {
        Past(engine)
    }
}

impl History for Past {
    fn changes(&self, from: Revision, range: KeyRange, prev: bool) -> BoxFuture<'_, Result<Changes, KeyspaceError>> {
        async move {
            loop {
                let (engine, range) = (self.0.clone(), range.clone());
                let found = blocking(engine, move |engine| read::changes(&engine.view(), from, &range, prev)).await;
                match found {
                    // Its history is that of the state that comes.
                    Err(KeyspaceError::Storage(EngineError::Replacing)) => self.0.store().replaced().await,
                    found => return found,
                }
            }
        }
        .boxed()
    }
}
