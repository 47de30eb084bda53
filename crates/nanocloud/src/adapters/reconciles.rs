//! Counts reconciles for `/metrics`.

use std::time::Duration;

use client::{Observer, Outcome};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    controller: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    controller: &'static str,
}

/// Bounds of reconcile durations in seconds.
const BOUNDS: [f64; 8] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Reconciles by controller and result, and how long they took.
#[derive(Debug)]
pub struct Reconciles {
    ended: Family<Ended, Counter>,
    seconds: Family<Of, Histogram, fn() -> Histogram>,
}

impl Reconciles {
    /// Registers the metrics.
    pub fn new(registry: &mut Registry) -> Self {
        let make: fn() -> Histogram = || Histogram::new(BOUNDS);
        let this = Self { ended: Family::default(), seconds: Family::new_with_constructor(make) };
        registry.register("nanocloud_reconciles", "Reconciles by controller and result", this.ended.clone());
        registry.register("nanocloud_reconcile_seconds", "Duration of reconciles", this.seconds.clone());
        this
    }
}

impl Observer for Reconciles {
    fn observe(&self, controller: &'static str, outcome: Outcome, took: Duration) {
        let result = match outcome {
            Outcome::Done => "success",
            Outcome::Failed => "failure",
            Outcome::Panicked => "panic",
        };
        self.ended.get_or_create(&Ended { controller, result }).inc();
        self.seconds.get_or_create(&Of { controller }).observe(took.as_secs_f64());
    }
}
