//! How a stateful set has its pods made and replaced.

use std::time::Duration;

use api::kinds::StatefulSet;

use crate::workloads::health;

/// How the set wants its pods made and replaced.
pub(super) struct Strategy {
    /// The first ordinal.
    pub(super) start: i64,
    pub(super) replicas: i64,
    pub(super) parallel: bool,
    /// Pods below this one, counted from the first, keep their revision; `None`: nothing is replaced (`OnDelete`).
    pub(super) partition: Option<i64>,
    /// How long a pod must be ready before it counts.
    pub(super) min_ready: Duration,
}

impl Strategy {
    /// As the set says.
    pub(super) fn of(set: &StatefulSet) -> Self {
        let spec = set.spec.clone().unwrap_or_default();
        let update = spec.update_strategy.unwrap_or_default();
        let partition = update.rolling_update.and_then(|rolling| rolling.partition).unwrap_or(0).max(0);
        Self {
            start: spec.ordinals.map_or(0, |ordinals| ordinals.start.unwrap_or(0)).max(0).into(),
            replicas: spec.replicas.unwrap_or(1).max(0).into(),
            parallel: spec.pod_management_policy.as_deref() == Some("Parallel"),
            partition: (update.type_.as_deref() != Some("OnDelete")).then_some(partition.into()),
            min_ready: health::seconds(spec.min_ready_seconds),
        }
    }

    /// Ordinals of the pods.
    pub(super) fn ordinals(&self) -> std::ops::Range<i64> {
        self.start..self.start.saturating_add(self.replicas)
    }

    /// The first ordinal that gets new templates; `None` if pods are not replaced.
    pub(super) fn first_new(&self) -> Option<i64> {
        self.partition.map(|partition| self.start.saturating_add(partition))
    }
}
