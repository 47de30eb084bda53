//! Fields of stateful sets.

use super::{
    PERSISTENT_VOLUME_CLAIM, Shape, done, of, pod::POD_SPEC, reference::LABEL_SELECTOR, reported, shared, warned,
};

pub(crate) static STATEFUL_SET: Shape =
    Shape(&[shared("metadata"), of("spec", &STATEFUL_SET_SPEC), reported("status")]);

pub(crate) static CONTROLLER_REVISION: Shape = Shape(&[done("data"), shared("metadata"), done("revision")]);

static STATEFUL_SET_SPEC: Shape = Shape(&[
    done("minReadySeconds"),
    of("ordinals", &ORDINALS),
    of("persistentVolumeClaimRetentionPolicy", &CLAIM_RETENTION),
    done("podManagementPolicy"),
    done("replicas"),
    done("revisionHistoryLimit"),
    of("selector", &LABEL_SELECTOR),
    done("serviceName"),
    of("template", &POD_TEMPLATE),
    of("updateStrategy", &UPDATE_STRATEGY),
    of("volumeClaimTemplates", &PERSISTENT_VOLUME_CLAIM),
]);

static ORDINALS: Shape = Shape(&[done("start")]);

static CLAIM_RETENTION: Shape = Shape(&[done("whenDeleted"), done("whenScaled")]);

pub(super) static POD_TEMPLATE: Shape = Shape(&[shared("metadata"), of("spec", &POD_SPEC)]);

static UPDATE_STRATEGY: Shape = Shape(&[of("rollingUpdate", &ROLLING_UPDATE), done("type")]);

static ROLLING_UPDATE: Shape =
    Shape(&[warned("maxUnavailable", &["1"], "pods are replaced one after the other"), done("partition")]);
