//! Jobs select their own pods, by a label that the server makes.

use api::{decode, encode, kinds::job};
use serde_json::Value;

use super::strategy::Strategy;

pub(super) struct Jobs;

impl Strategy for Jobs {
    /// The selector needs the uid of the job.
    fn complete(&self, object: &mut Value) {
        if let Ok(mut job) = decode(object.clone()) {
            job::select_own_pods(&mut job);
            *object = encode(&job);
        }
    }
}
