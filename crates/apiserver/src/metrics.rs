//! The server's own metrics, and the text formats.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::api_error::{ApiError, Result};

/// The process's metrics; every part registers its own in it.
pub type MetricsRegistry = Arc<Mutex<Registry>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: String,
    group: String,
    resource: String,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: String,
}

/// What the server counts.
pub(crate) struct Metrics {
    registry: MetricsRegistry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<VerbLabels, Histogram, fn() -> Histogram>,
    pub(crate) watches: Gauge,
    pub(crate) streams: Gauge,
    pub(crate) unreadable: Counter,
    revision: Gauge,
    size_bytes: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Bounds of request durations in seconds.
const BOUNDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

impl Metrics {
    /// Registers the server's metrics.
    pub(crate) fn new(registry: MetricsRegistry) -> Self {
        let seconds = Family::new_with_constructor((|| Histogram::new(BOUNDS)) as fn() -> Histogram);
        let metrics = Self {
            requests: Family::default(),
            seconds,
            watches: Gauge::default(),
            streams: Gauge::default(),
            unreadable: Counter::default(),
            revision: Gauge::default(),
            size_bytes: Gauge::default(),
            registry,
        };
        let mut registry = metrics.registry.lock();
        registry.register("nanocloud_api_requests", "Requests answered", metrics.requests.clone());
        registry.register(
            "nanocloud_api_request_seconds",
            "Time until requests were answered",
            metrics.seconds.clone(),
        );
        registry.register("nanocloud_api_watches", "Watches open now", metrics.watches.clone());
        registry.register("nanocloud_api_exec_sessions", "Exec and log streams open now", metrics.streams.clone());
        registry.register(
            "nanocloud_api_unreadable_objects",
            "Objects left out of lists and watches because their record cannot be read",
            metrics.unreadable.clone(),
        );
        registry.register("nanocloud_keyspace_revision", "Newest revision of the keyspace", metrics.revision.clone());
        registry.register("nanocloud_keyspace_size_bytes", "Bytes the keyspace takes", metrics.size_bytes.clone());
        drop(registry);
        metrics
    }

    /// Counts an answered request.
    pub(crate) fn answered(&self, verb: &str, group: &str, resource: &str, code: u16, took: Duration) {
        let labels = RequestLabels { verb: verb.into(), group: group.into(), resource: resource.into(), code };
        self.requests.get_or_create(&labels).inc();
        if verb != "watch" {
            self.seconds.get_or_create(&VerbLabels { verb: verb.into() }).observe(took.as_secs_f64());
        }
    }

    /// Notes the keyspace's state.
    pub(crate) fn keyspace(&self, status: &keyspace::Status) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.revision.set(number(status.revision));
        self.size_bytes.set(number(status.size_bytes));
    }

    /// Every metric of the process as OpenMetrics text.
    pub(crate) fn encode(&self) -> Result<String> {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock())
            .map_err(|error| ApiError::internal("the metrics cannot be written", error))?;
        Ok(text)
    }
}

/// OpenMetrics text as Prometheus' own text format 0.0.4: counters are named with their suffix, no end mark, no units.
pub(crate) fn prometheus_text(open_metrics: &str) -> String {
    let counters: Vec<&str> =
        open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut out = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let meta = ["# HELP ", "# TYPE "].into_iter().find_map(|head| Some((head, line.strip_prefix(head)?)));
        match meta {
            Some((head, rest)) => {
                let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                let suffix = if counters.contains(&name) { "_total" } else { "" };
                out.push_str(&format!("{head}{name}{suffix} {}\n", if rest == "unknown" { "untyped" } else { rest }));
            }
            None if line == "# EOF" || line.starts_with("# UNIT ") => {}
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn counters_carry_their_suffix_in_the_old_format() {
        let open =
            "# HELP a_b Things.\n# TYPE a_b counter\na_b_total{x=\"y\"} 1\n# HELP g G.\n# TYPE g gauge\ng 2\n# EOF\n";
        let wanted = "# HELP a_b_total Things.\n# TYPE a_b_total counter\na_b_total{x=\"y\"} 1\n# HELP g G.\n# TYPE g gauge\ng 2\n";
        assert_eq!(super::prometheus_text(open), wanted);
    }
}
