//! Fields that say where a pod runs.

use super::{Shape, detail, done, of, only, refused, warned};

pub(super) static AFFINITY: Shape = Shape(&[
    of("nodeAffinity", &NODE_AFFINITY),
    of("podAffinity", &POD_AFFINITY),
    of("podAntiAffinity", &POD_ANTI_AFFINITY),
]);

/// What becomes of preferences.
const NO_PREFERENCE: &str = "the node with the fewest pods is taken, whatever is preferred";

static NODE_AFFINITY: Shape = Shape(&[
    warned("preferredDuringSchedulingIgnoredDuringExecution", &[], NO_PREFERENCE),
    of("requiredDuringSchedulingIgnoredDuringExecution", &NODE_SELECTOR),
]);

static NODE_SELECTOR: Shape = Shape(&[of("nodeSelectorTerms", &NODE_SELECTOR_TERM)]);

static NODE_SELECTOR_TERM: Shape =
    Shape(&[of("matchExpressions", &NODE_SELECTOR_REQUIREMENT), of("matchFields", &NODE_SELECTOR_REQUIREMENT)]);

static NODE_SELECTOR_REQUIREMENT: Shape = Shape(&[done("key"), done("operator"), done("values")]);

/// A gate that keeps a pod from being given a node.
pub(super) static SCHEDULING_GATE: Shape = Shape(&[done("name")]);

static POD_AFFINITY: Shape = Shape(&[
    warned("preferredDuringSchedulingIgnoredDuringExecution", &[], NO_PREFERENCE),
    refused(
        "requiredDuringSchedulingIgnoredDuringExecution",
        &[],
        "pods cannot be bound to nodes of other pods; use preferred affinity, or nodeSelector to choose the node",
    ),
]);

static POD_ANTI_AFFINITY: Shape = Shape(&[
    warned("preferredDuringSchedulingIgnoredDuringExecution", &[], NO_PREFERENCE),
    refused(
        "requiredDuringSchedulingIgnoredDuringExecution",
        &[],
        "pods cannot be kept from nodes of other pods; use preferred anti-affinity, hostPort, or nodeSelector to choose the node",
    ),
]);

pub(super) static TOLERATION: Shape = Shape(&[
    done("effect"),
    done("key"),
    done("operator"),
    warned("tolerationSeconds", &[], "pods are not evicted from nodes by taints, neither at once nor later"),
    done("value"),
]);

pub(super) static TOPOLOGY_SPREAD_CONSTRAINT: Shape = Shape(&[
    detail("labelSelector"),
    detail("matchLabelKeys"),
    detail("maxSkew"),
    detail("minDomains"),
    detail("nodeAffinityPolicy"),
    detail("nodeTaintsPolicy"),
    warned("topologyKey", &[], "pods are spread over nodes by their number alone"),
    only("whenUnsatisfiable", &["ScheduleAnyway"], "pods are not kept from nodes to spread them; use ScheduleAnyway"),
]);
