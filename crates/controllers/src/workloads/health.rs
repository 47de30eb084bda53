//! How a pod is.

use std::time::Duration;

use api::kinds::Pod;
use jiff::Timestamp;

/// Whether the pod runs, is ready to serve, and is not about to end.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    !is_terminating(pod) && phase(pod) == "Running" && is_serving(pod)
}

/// Whether the pod's containers are ready, even if it is being deleted.
pub(crate) fn is_serving(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether the pod is being deleted.
pub(crate) fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether the pod has ended and will not run again.
pub(crate) fn has_ended(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// The pod's phase; empty when it has none yet.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// The node the pod is bound to.
pub(crate) fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// How long a pod must still be ready before it counts as available; `None` if it is not ready.
pub(crate) fn until_available(pod: &Pod, min_ready: Duration, now: Timestamp) -> Option<Duration> {
    if !is_ready(pod) {
        return None;
    }
    let waited =
        ready_since(pod).map_or(min_ready, |since| Duration::try_from(now.duration_since(since)).unwrap_or_default());
    Some(min_ready.saturating_sub(waited))
}

/// When the pod's readiness last changed.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.find(|condition| condition.type_ == "Ready")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// Whether the pod has been ready long enough.
pub(crate) fn is_available(pod: &Pod, min_ready: Duration, now: Timestamp) -> bool {
    until_available(pod, min_ready, now) == Some(Duration::ZERO)
}

/// Seconds of a spec as a duration; less than nothing is nothing.
pub(crate) fn seconds(number: Option<i32>) -> Duration {
    Duration::from_secs(u64::try_from(number.unwrap_or(0)).unwrap_or(0))
}
