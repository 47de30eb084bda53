//! What a daemon set says about itself.

use api::kinds::Pod;
use k8s_openapi::api::apps::v1::DaemonSetStatus;

use super::{nodes::Fit, view::View};
use crate::workloads::{health, history};

/// The status over the nodes, each with its oldest pod.
pub(super) fn status(view: &View<'_>) -> DaemonSetStatus {
    let before = view.set.status.clone().unwrap_or_default();
    let mut status = DaemonSetStatus {
        observed_generation: view.set.metadata.generation,
        collision_count: view.current.collisions,
        conditions: before.conditions,
        ..DaemonSetStatus::default()
    };
    let (mut updated, mut available) = (0, 0);
    for place in &view.places {
        let first: Option<&&Pod> = place.pods.first();
        if place.fit != Fit::Run {
            status.number_misscheduled += i32::from(first.is_some());
            continue;
        }
        status.desired_number_scheduled += 1;
        let Some(pod) = first else { continue };
        status.current_number_scheduled += 1;
        status.number_ready += i32::from(health::is_ready(pod));
        available += i32::from(health::is_available(pod, view.min_ready, view.now));
        updated += i32::from(history::hash_of_pod(pod) == Some(view.current.hash.as_str()));
    }
    status.updated_number_scheduled = Some(updated);
    status.number_available = Some(available);
    status.number_unavailable = Some(status.desired_number_scheduled - available);
    status
}
