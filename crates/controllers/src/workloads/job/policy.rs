//! What the failure of a pod means, by the rules of its job.

use api::kinds::{Job, Pod};
use k8s_openapi::api::{
    batch::v1::{PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern},
    core::v1::ContainerStatus,
};

/// What the failure of a pod means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts towards the limit.
    Count,
    /// It does not count.
    Ignore,
    /// The index of the pod has failed.
    FailIndex,
    /// The job has failed; why.
    FailJob(String),
}

/// What the first rule that matches says; without one the failure counts.
pub(super) fn verdict(job: &Job, pod: &Pod) -> Verdict {
    let policy = job.spec.as_ref().and_then(|spec| spec.pod_failure_policy.as_ref());
    let rules = policy.map(|policy| policy.rules.as_slice()).unwrap_or_default();
    for (index, rule) in rules.iter().enumerate() {
        let codes = rule.on_exit_codes.as_ref().and_then(|codes| by_exit_code(codes, pod));
        let conditions = rule.on_pod_conditions.iter().flatten();
        let Some(why) = codes.or_else(|| conditions.filter_map(|pattern| by_condition(pattern, pod)).next()) else {
            continue;
        };
        return match rule.action.as_str() {
            "FailJob" => Verdict::FailJob(format!("{why} matching FailJob rule at index {index}")),
            "FailIndex" => Verdict::FailIndex,
            "Ignore" => Verdict::Ignore,
            _ => Verdict::Count,
        };
    }
    Verdict::Count
}

fn by_exit_code(rule: &PodFailurePolicyOnExitCodesRequirement, pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let failed = all.filter_map(|status| Some((status, exit_code(status)?)));
    let named = |status: &ContainerStatus| rule.container_name.as_ref().is_none_or(|name| *name == status.name);
    let mut matching =
        failed.filter(|(status, code)| named(status) && (rule.operator == "In") == rule.values.contains(code));
    let (status, code) = matching.next()?;
    Some(format!("Container {} for pod {} failed with exit code {code}", status.name, key(pod)))
}

/// The exit code of a container that failed.
fn exit_code(status: &ContainerStatus) -> Option<i32> {
    Some(status.state.as_ref()?.terminated.as_ref()?.exit_code).filter(|code| *code != 0)
}

fn by_condition(pattern: &PodFailurePolicyOnPodConditionsPattern, pod: &Pod) -> Option<String> {
    let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let status = pattern.status.as_deref().unwrap_or("True");
    conditions.find(|found| found.type_ == pattern.type_ && found.status == status)?;
    Some(format!("Pod {} has condition {}", key(pod), pattern.type_))
}

fn key(pod: &Pod) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", part(&pod.metadata.namespace), part(&pod.metadata.name))
}
