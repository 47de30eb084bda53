//! Fields of the kinds that keep pods running.

use super::{Shape, done, of, reference::LABEL_SELECTOR, reported, shared, stateful_set::POD_TEMPLATE};

pub(crate) static REPLICA_SET: Shape = Shape(&[shared("metadata"), of("spec", &REPLICA_SET_SPEC), reported("status")]);

static REPLICA_SET_SPEC: Shape =
    Shape(&[done("minReadySeconds"), done("replicas"), of("selector", &LABEL_SELECTOR), of("template", &POD_TEMPLATE)]);

pub(crate) static REPLICATION_CONTROLLER: Shape =
    Shape(&[shared("metadata"), of("spec", &REPLICATION_CONTROLLER_SPEC), reported("status")]);

static REPLICATION_CONTROLLER_SPEC: Shape =
    Shape(&[done("minReadySeconds"), done("replicas"), done("selector"), of("template", &POD_TEMPLATE)]);

pub(crate) static DEPLOYMENT: Shape = Shape(&[shared("metadata"), of("spec", &DEPLOYMENT_SPEC), reported("status")]);

static DEPLOYMENT_SPEC: Shape = Shape(&[
    done("minReadySeconds"),
    done("paused"),
    done("progressDeadlineSeconds"),
    done("replicas"),
    done("revisionHistoryLimit"),
    of("selector", &LABEL_SELECTOR),
    of("strategy", &UPDATE_STRATEGY),
    of("template", &POD_TEMPLATE),
]);

static UPDATE_STRATEGY: Shape = Shape(&[of("rollingUpdate", &ROLLING_UPDATE), done("type")]);

static ROLLING_UPDATE: Shape = Shape(&[done("maxSurge"), done("maxUnavailable")]);

pub(crate) static DAEMON_SET: Shape = Shape(&[shared("metadata"), of("spec", &DAEMON_SET_SPEC), reported("status")]);

static DAEMON_SET_SPEC: Shape = Shape(&[
    done("minReadySeconds"),
    done("revisionHistoryLimit"),
    of("selector", &LABEL_SELECTOR),
    of("template", &POD_TEMPLATE),
    of("updateStrategy", &UPDATE_STRATEGY),
]);

pub(crate) static POD_TEMPLATE_OBJECT: Shape = Shape(&[shared("metadata"), of("template", &POD_TEMPLATE)]);
