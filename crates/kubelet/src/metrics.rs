//! What the kubelet counts.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// How a binding's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum BindingResult {
    /// It was started.
    #[allow(non_camel_case_types, reason = "label values are lower case")]
    started,
    /// It exited 0.
    #[allow(non_camel_case_types, reason = "label values are lower case")]
    completed,
    /// It failed.
    #[allow(non_camel_case_types, reason = "label values are lower case")]
    failed,
    /// It was killed after its timeout.
    #[allow(non_camel_case_types, reason = "label values are lower case")]
    timeout,
}

/// Labels of a binding's run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct BindingLabels {
    /// Service whose container ran it.
    pub service: String,
    /// How it went.
    pub result: BindingResult,
}

/// Labels of a binding's duration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ServiceLabels {
    /// Service whose container ran it.
    pub service: String,
}

/// Counters of one kubelet; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Runs of bindings.
    pub bindings: Family<BindingLabels, Counter>,
    /// Seconds that runs of bindings took.
    pub binding_seconds: Family<ServiceLabels, Histogram>,
    /// Pods this node works on.
    pub pods: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.01, 2.0, 14));
        Self {
            bindings: Family::default(),
            binding_seconds: Family::new_with_constructor(histogram),
            pods: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Adds the metrics to a registry that is served on `/metrics`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "nanocloud_binding_executions",
            "Runs of bindings by service and result",
            self.bindings.clone(),
        );
        let help = "Seconds a run of a binding took";
        registry.register("nanocloud_binding_duration_seconds", help, self.binding_seconds.clone());
        registry.register("nanocloud_kubelet_pods", "Pods this node works on", self.pods.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_the_contracts() {
        let (metrics, mut registry) = (Metrics::default(), Registry::default());
        metrics.register(&mut registry);
        let labels = BindingLabels { service: "mariadb".into(), result: BindingResult::completed };
        metrics.bindings.get_or_create(&labels).inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(
            text.contains("nanocloud_binding_executions_total{service=\"mariadb\",result=\"completed\"} 1"),
            "{text}"
        );
    }
}
