//! Conditions of jobs, with Kubernetes' types and reasons.

use api::Time;
use k8s_openapi::api::batch::v1::{JobCondition, JobStatus};

/// It was decided that the job has failed; its pods are being ended.
pub(super) const FAILURE_TARGET: &str = "FailureTarget";
/// It was decided that the job has succeeded; pods that still run are being ended.
pub(super) const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
pub(super) const FAILED: &str = "Failed";
pub(super) const COMPLETE: &str = "Complete";
pub(super) const SUSPENDED: &str = "Suspended";

/// The condition of a type that holds.
pub(super) fn holding<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind && condition.status == "True")
}

/// Sets a condition; answers whether it was another one.
pub(super) fn set(status: &mut JobStatus, now: &Time, kind: &str, holds: bool, reason: &str, message: &str) -> bool {
    let word = if holds { "True" } else { "False" };
    let all = status.conditions.get_or_insert_default();
    if all.iter().any(|known| known.type_ == kind && known.status == word && known.reason.as_deref() == Some(reason)) {
        return false;
    }
    let condition = JobCondition {
        last_probe_time: Some(now.clone()),
        last_transition_time: Some(now.clone()),
        message: Some(message.to_owned()),
        reason: Some(reason.to_owned()),
        status: word.into(),
        type_: kind.into(),
    };
    match all.iter_mut().find(|known| known.type_ == kind) {
        Some(known) => *known = condition,
        None => all.push(condition),
    }
    true
}
