//! Fields of the kinds whose pods end.

use super::{Shape, done, of, reference::LABEL_SELECTOR, reported, shared, stateful_set::POD_TEMPLATE};

pub(crate) static JOB: Shape = Shape(&[shared("metadata"), of("spec", &JOB_SPEC), reported("status")]);

static JOB_SPEC: Shape = Shape(&[
    done("activeDeadlineSeconds"),
    done("backoffLimit"),
    done("backoffLimitPerIndex"),
    done("completionMode"),
    done("completions"),
    done("managedBy"),
    done("manualSelector"),
    done("maxFailedIndexes"),
    done("parallelism"),
    of("podFailurePolicy", &POD_FAILURE_POLICY),
    done("podReplacementPolicy"),
    of("selector", &LABEL_SELECTOR),
    of("successPolicy", &SUCCESS_POLICY),
    done("suspend"),
    of("template", &POD_TEMPLATE),
    done("ttlSecondsAfterFinished"),
]);

static POD_FAILURE_POLICY: Shape = Shape(&[of("rules", &POD_FAILURE_RULE)]);

static POD_FAILURE_RULE: Shape =
    Shape(&[done("action"), of("onExitCodes", &EXIT_CODES), of("onPodConditions", &POD_CONDITION)]);

static EXIT_CODES: Shape = Shape(&[done("containerName"), done("operator"), done("values")]);

static POD_CONDITION: Shape = Shape(&[done("status"), done("type")]);

static SUCCESS_POLICY: Shape = Shape(&[of("rules", &SUCCESS_RULE)]);

static SUCCESS_RULE: Shape = Shape(&[done("succeededCount"), done("succeededIndexes")]);

pub(crate) static CRON_JOB: Shape = Shape(&[shared("metadata"), of("spec", &CRON_JOB_SPEC), reported("status")]);

static CRON_JOB_SPEC: Shape = Shape(&[
    done("concurrencyPolicy"),
    done("failedJobsHistoryLimit"),
    of("jobTemplate", &JOB_TEMPLATE),
    done("schedule"),
    done("startingDeadlineSeconds"),
    done("successfulJobsHistoryLimit"),
    done("suspend"),
    done("timeZone"),
]);

static JOB_TEMPLATE: Shape = Shape(&[shared("metadata"), of("spec", &JOB_SPEC)]);
