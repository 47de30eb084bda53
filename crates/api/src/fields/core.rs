//! Fields of small kinds of Kubernetes' core.

use super::{
    Shape, done, of,
    reference::{LOCAL_REFERENCE, OBJECT_REFERENCE},
    refused, reported, shared, warned,
};

pub(crate) static CONFIG_MAP: Shape = Shape(&[done("binaryData"), done("data"), done("immutable"), shared("metadata")]);

pub(crate) static SECRET: Shape =
    Shape(&[done("data"), done("immutable"), shared("metadata"), done("stringData"), done("type")]);

pub(crate) static NAMESPACE: Shape = Shape(&[shared("metadata"), of("spec", &NAMESPACE_SPEC), reported("status")]);

static NAMESPACE_SPEC: Shape = Shape(&[done("finalizers")]);

pub(crate) static NODE: Shape = Shape(&[shared("metadata"), of("spec", &NODE_SPEC), reported("status")]);

static NODE_SPEC: Shape = Shape(&[
    refused("configSource", &[], "nodes are set by the settings of their server"),
    refused("externalID", &[], "it is deprecated; leave it out"),
    warned("podCIDR", &[], "the node's server chooses the addresses of its pods by its own settings"),
    warned("podCIDRs", &[], "the node's server chooses the addresses of its pods by its own settings"),
    done("providerID"),
    of("taints", &TAINT),
    done("unschedulable"),
]);

static TAINT: Shape = Shape(&[done("effect"), done("key"), done("timeAdded"), done("value")]);

pub(crate) static SERVICE_ACCOUNT: Shape = Shape(&[
    done("automountServiceAccountToken"),
    of("imagePullSecrets", &LOCAL_REFERENCE),
    shared("metadata"),
    of("secrets", &OBJECT_REFERENCE),
]);

pub(crate) static EVENT: Shape = Shape(&[
    done("action"),
    done("count"),
    done("eventTime"),
    done("firstTimestamp"),
    of("involvedObject", &OBJECT_REFERENCE),
    done("lastTimestamp"),
    done("message"),
    shared("metadata"),
    done("reason"),
    of("related", &OBJECT_REFERENCE),
    done("reportingComponent"),
    done("reportingInstance"),
    of("series", &EVENT_SERIES),
    of("source", &EVENT_SOURCE),
    done("type"),
]);

static EVENT_SERIES: Shape = Shape(&[done("count"), done("lastObservedTime")]);

static EVENT_SOURCE: Shape = Shape(&[done("component"), done("host")]);

pub(crate) static LEASE: Shape = Shape(&[shared("metadata"), of("spec", &LEASE_SPEC)]);

static LEASE_SPEC: Shape = Shape(&[
    done("acquireTime"),
    done("holderIdentity"),
    done("leaseDurationSeconds"),
    done("leaseTransitions"),
    done("preferredHolder"),
    done("renewTime"),
    done("strategy"),
]);

pub(crate) static LIMIT_RANGE: Shape = Shape(&[shared("metadata"), of("spec", &LIMIT_RANGE_SPEC)]);

static LIMIT_RANGE_SPEC: Shape = Shape(&[of("limits", &LIMIT_RANGE_ITEM)]);

static LIMIT_RANGE_ITEM: Shape = Shape(&[
    done("default"),
    done("defaultRequest"),
    done("max"),
    done("maxLimitRequestRatio"),
    done("min"),
    done("type"),
]);
