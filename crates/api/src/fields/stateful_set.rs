//! Fields of stateful sets.

use super::{
    PERSISTENT_VOLUME_CLAIM, Shape, done, of, pod::POD_SPEC, reference::LABEL_SELECTOR, reported, shared, warned,
};

pub(crate) static STATEFUL_SET: Shape =
    Shape(&[shared("metadata"), of("spec", &STATEFUL_SET_SPEC), reported("status")]);

static STATEFUL_SET_SPEC: Shape = Shape(&[
    warned("minReadySeconds", &["0"], "pods count as available as soon as they are ready"),
    of("ordinals", &ORDINALS),
    of("persistentVolumeClaimRetentionPolicy", &CLAIM_RETENTION),
    done("podManagementPolicy"),
    done("replicas"),
    warned("revisionHistoryLimit", &["10"], "no earlier revisions are kept"),
    of("selector", &LABEL_SELECTOR),
    done("serviceName"),
    of("template", &POD_TEMPLATE),
    of("updateStrategy", &UPDATE_STRATEGY),
    of("volumeClaimTemplates", &PERSISTENT_VOLUME_CLAIM),
]);

static ORDINALS: Shape = Shape(&[warned("start", &["0"], "the first pod has the number 0")]);

static CLAIM_RETENTION: Shape = Shape(&[
    warned("whenDeleted", &["Retain"], "claims are kept when the set is deleted"),
    warned("whenScaled", &["Retain"], "claims are kept when the set is scaled down"),
]);

pub(super) static POD_TEMPLATE: Shape = Shape(&[shared("metadata"), of("spec", &POD_SPEC)]);

static UPDATE_STRATEGY: Shape = Shape(&[of("rollingUpdate", &ROLLING_UPDATE), done("type")]);

static ROLLING_UPDATE: Shape =
    Shape(&[warned("maxUnavailable", &["1"], "pods are replaced one after the other"), done("partition")]);
