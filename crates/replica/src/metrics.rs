//! What the keyspace tells about itself (KS-07). Names get the prefix `nanocloud_keyspace_`.

use std::sync::Arc;
use std::time::Duration;

use keyspace::Hub;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Prefix of all names.
pub(crate) const PREFIX: &str = "nanocloud_keyspace";

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
        let registry = registry.sub_registry_with_prefix(PREFIX);
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
            ("watch_lag_revisions", "Revisions that the slowest watcher has yet to be told of", stats.lag),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use keyspace::{KeyRange, Keyspace, KeyspaceExt, WatchRequest};
    use prometheus_client::registry::Registry;

    use crate::{Config, Replica};

    /// The value of a series.
    fn value(text: &str, name: &str) -> Option<f64> {
        let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        rest.and_then(|value| value.parse().ok())
    }

    fn encoded(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).expect("writes to memory");
        text
    }

    /// The series tell what happened, and Prometheus' own linter has nothing to say.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn metrics_are_true_and_well_formed() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let mut registry = Registry::default();
        let replica = Replica::open(Config::new(dir.path().join("keyspace")), &mut registry).await.expect("opens");
        let watch = replica.watch(WatchRequest::new(KeyRange::all(), 0)).await.expect("watches");
        replica.lease_grant(0, 100).await.expect("grants");
        for n in 0..20 {
            replica.put("k", format!("{n}")).await.expect("puts");
        }
        replica.compact(5).await.expect("compacts");
        let text = encoded(&registry);
        for (name, wanted) in [
            ("raft_is_leader", 1.0),
            ("raft_leader", 1.0),
            ("raft_voters", 1.0),
            ("leases", 1.0),
            ("compact_revision", 5.0),
            ("watchers", 1.0),
            ("watch_waiting_revisions", 20.0),
            ("watch_lag_revisions", 20.0),
            ("queue_depth", 0.0),
            ("queue_wait_seconds_count", 22.0),
            ("alarms{kind=\"NoSpace\"}", 0.0),
        ] {
            assert_eq!(value(&text, &format!("nanocloud_keyspace_{name}")), Some(wanted), "{name}\n{text}");
        }
        for name in ["raft_term", "raft_log_applied_index", "log_fsync_seconds_count", "apply_seconds_count"] {
            assert!(value(&text, &format!("nanocloud_keyspace_{name}")) >= Some(1.0), "{name}\n{text}");
        }
        drop(watch);
        // Prometheus' own text format knows neither of these lines.
        let lines = text.lines().filter(|line| !line.starts_with("# UNIT") && !line.starts_with("# EOF"));
        let text: String = lines.flat_map(|line| [line, "\n"]).collect();
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool is installed (scripts/install-deps test)");
        promtool.stdin.take().expect("is piped").write_all(text.as_bytes()).expect("takes it");
        let told = promtool.wait_with_output().expect("ends");
        let complaints = String::from_utf8_lossy(&told.stderr);
        assert!(told.status.success() && complaints.is_empty(), "{complaints}");
        let closed = replica.closed();
        replica.shutdown().await.expect("ends");
        drop(replica);
        closed.await;
        assert_eq!(value(&encoded(&registry), "nanocloud_keyspace_raft_term"), None, "what is closed is not read");
    }
}
