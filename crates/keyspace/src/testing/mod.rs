//! The contract every [`Keyspace`] keeps, as functions to be called by the tests of each implementation: random
//! histories against a model ([`against_model`]), and one function for each promise ([`contract`]).
//!
//! No feature hides it: a feature that only tests turn on would give the tests another build of every crate above than
//! the binary has. What is not called is not linked.

pub mod contract;
mod model;
mod random;
mod recorded;
mod walk;

pub use model::Model;
pub use random::Random;
pub use recorded::{assert_recorded, record};
pub use walk::{against_model, against_model_sparing_deletes, against_model_sparing_reserved};

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

use crate::{Keyspace, WatchBatch, WatchEvent, WatchStream};

/// A keyspace under test. It must be empty when a function of this module gets it.
pub type Subject = Arc<dyn Keyspace>;

/// Longest a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The next batch, progress marks included.
pub async fn next(stream: &mut WatchStream) -> Result<WatchBatch, crate::Error> {
    let waited = tokio::time::timeout(PATIENCE, stream.next()).await;
    waited.expect("the watch delivers in time").expect("the watch goes on")
}

/// Events until `revision` has been delivered.
pub async fn events_until(stream: &mut WatchStream, revision: u64) -> Vec<WatchEvent> {
    let mut events = Vec::new();
    loop {
        let batch = next(stream).await.expect("the watch does not fail");
        events.extend(batch.events);
        if batch.revision >= revision {
            return events;
        }
    }
}
