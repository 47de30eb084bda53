//! What the keyspace tells about itself (KS-07). Names get the prefix `nanocloud_keyspace_`.

use std::sync::Arc;
use std::time::Duration;

use keyspace::Hub;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Metrics of one replica.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Proposals waiting to become part of a log entry.
    pub(crate) queue_depth: Gauge,
    /// Proposals in log entries under way.
    pub(crate) active: Gauge,
    wait: Histogram,
    run: Histogram,
    fsync: Histogram,
    apply: Histogram,
    batch: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        // 50 us to 1.6 s, by twos.
        let seconds = || Histogram::new(exponential_buckets(50e-6, 2.0, 16));
        Metrics {
            queue_depth: Gauge::default(),
            active: Gauge::default(),
            wait: seconds(),
            run: seconds(),
            fsync: seconds(),
            apply: seconds(),
            batch: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
        }
    }
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry, hub: Arc<Hub>) {
        let registry = registry.sub_registry_with_prefix("nanocloud_keyspace");
        registry.register("queue_depth", "Proposals waiting to be written to the log", self.queue_depth.clone());
        registry.register("queue_active", "Proposals being written to the log and applied", self.active.clone());
        let mut seconds = |name: &str, help: &str, metric: &Histogram| {
            registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
        };
        seconds("queue_wait", "Time a proposal waited before it was written to the log", &self.wait);
        seconds("queue_run", "Time from writing a proposal to the log to its answer", &self.run);
        seconds("log_fsync", "Time to make log entries durable", &self.fsync);
        seconds("apply", "Time to apply committed log entries to the state", &self.apply);
        registry.register("batch_commands", "Commands in a log entry", self.batch.clone());
        registry.register_collector(Box::new(Watchers(hub)));
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.wait.observe(time.as_secs_f64());
    }

    pub(crate) fn ran(&self, time: Duration) {
        self.run.observe(time.as_secs_f64());
    }

    pub(crate) fn synced(&self, time: Duration) {
        self.fsync.observe(time.as_secs_f64());
    }

    pub(crate) fn applied(&self, time: Duration) {
        self.apply.observe(time.as_secs_f64());
    }

    pub(crate) fn batched(&self, commands: usize) {
        self.batch.observe(commands as f64);
    }
}

/// Watchers, counted when asked.
#[derive(Debug)]
struct Watchers(Arc<Hub>);

impl Collector for Watchers {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let stats = self.0.stats();
        for (name, help, value) in [
            ("watchers", "Watches there are", stats.watchers),
            ("watchers_behind", "Watches reading history", stats.behind),
            ("watch_waiting_revisions", "Revisions waiting to be read by watchers", stats.waiting),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
