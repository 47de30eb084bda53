//! What a job may be, and how it may change.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, JobStatus, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule, SuccessPolicyRule,
};

use crate::{
    FieldError, Path,
    kinds::{
        pod,
        workload::{REPLICAS_MAX, count_errors, pod_selector_errors},
    },
    meta::is_qualified_name,
    names::label,
};

/// Most completions of an indexed job: its status lists them.
pub const INDEXED_MAX: i32 = 100_000;
/// Most rules of a policy.
const RULES_MAX: usize = 20;
/// Most exit codes of a rule.
const CODES_MAX: usize = 255;
/// Longest name of a controller that is not ours.
const MANAGER_MAX: usize = 63;

/// What is wrong with the spec at this path.
pub(super) fn spec_errors(spec: &JobSpec, path: &str) -> Vec<FieldError> {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = number_errors(spec, path);
    errors.extend(template_errors(spec, path));
    errors.extend(index_errors(spec, path));
    match spec.completion_mode.as_deref() {
        None | Some("NonIndexed" | "Indexed") => {}
        Some(_) => errors.push(FieldError::not_supported(at("completionMode"), "must be NonIndexed or Indexed")),
    }
    let replacements: &[&str] =
        if spec.pod_failure_policy.is_some() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    if spec.pod_replacement_policy.as_deref().is_some_and(|policy| !replacements.contains(&policy)) {
        let message = format!("must be {}", replacements.join(" or "));
        errors.push(FieldError::not_supported(at("podReplacementPolicy"), message));
    }
    if let Some(manager) = &spec.managed_by {
        if !manager.contains('/') || !is_qualified_name(manager) {
            errors.push(FieldError::invalid(
                at("managedBy"),
                "must be a path with a domain, such as example.com/controller",
            ));
        }
        if manager.len() > MANAGER_MAX {
            errors.push(FieldError::too_long(at("managedBy"), format!("must be at most {MANAGER_MAX} characters")));
        }
    }
    errors.extend(failure_policy_errors(spec, path));
    errors.extend(success_policy_errors(spec, path));
    errors
}

fn number_errors(spec: &JobSpec, path: &str) -> Vec<FieldError> {
    let numbers = [
        ("parallelism", spec.parallelism.map(i64::from), i64::from(REPLICAS_MAX)),
        ("completions", spec.completions.map(i64::from), i64::from(i32::MAX)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds, i64::MAX),
        ("backoffLimit", spec.backoff_limit.map(i64::from), i64::from(i32::MAX)),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished.map(i64::from), i64::from(i32::MAX)),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index.map(i64::from), i64::from(i32::MAX)),
        ("maxFailedIndexes", spec.max_failed_indexes.map(i64::from), i64::from(INDEXED_MAX)),
    ];
    let error = |(field, number, limit): (&str, Option<i64>, i64)| match number {
        Some(number) if number < 0 => Some(FieldError::invalid(format!("{path}.{field}"), "must not be negative")),
        Some(number) if number > limit => {
            Some(FieldError::invalid(format!("{path}.{field}"), format!("must be at most {limit}")))
        }
        _ => None,
    };
    numbers.into_iter().filter_map(error).collect()
}

fn template_errors(spec: &JobSpec, path: &str) -> Vec<FieldError> {
    let root = Path::ROOT.field(path);
    let mut errors = pod::check_template(&spec.template, &[], &root.field("template"));
    let restart = spec.template.spec.as_ref().and_then(|pod| pod.restart_policy.as_deref());
    let field = format!("{path}.template.spec.restartPolicy");
    match restart {
        Some("OnFailure") if spec.pod_failure_policy.is_some() => {
            errors.push(FieldError::invalid(field, "only \"Never\" is supported when podFailurePolicy is specified"));
        }
        Some("OnFailure") if spec.backoff_limit_per_index.is_some() => {
            errors
                .push(FieldError::invalid(field, "only \"Never\" is supported when backoffLimitPerIndex is specified"));
        }
        Some("Always") | None if spec.template.spec.is_some() => {
            errors.push(FieldError::not_supported(field, "must be OnFailure or Never: the pods of a job end"));
        }
        _ => {}
    }
    errors
}

fn index_errors(spec: &JobSpec, path: &str) -> Vec<FieldError> {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = Vec::new();
    if spec.completion_mode.as_deref() == Some("Indexed") {
        match spec.completions {
            None => errors
                .push(FieldError::required(at("completions"), "must be specified when completion mode is Indexed")),
            Some(completions) if completions > INDEXED_MAX => {
                let message = format!("must be at most {INDEXED_MAX} when completion mode is Indexed");
                errors.push(FieldError::invalid(at("completions"), message));
            }
            Some(completions) if spec.max_failed_indexes.is_some_and(|most| most > completions) => {
                errors.push(FieldError::invalid(at("maxFailedIndexes"), "must be at most completions"));
            }
            Some(_) => {}
        }
        if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
            let message = "must be specified when maxFailedIndexes is";
            errors.push(FieldError::required(at("backoffLimitPerIndex"), message));
        }
        return errors;
    }
    for (field, is_set) in [
        ("backoffLimitPerIndex", spec.backoff_limit_per_index.is_some()),
        ("maxFailedIndexes", spec.max_failed_indexes.is_some()),
        ("successPolicy", spec.success_policy.is_some()),
    ] {
        if is_set {
            errors.push(FieldError::invalid(at(field), "requires indexed completion mode"));
        }
    }
    errors
}

fn failure_policy_errors(spec: &JobSpec, path: &str) -> Vec<FieldError> {
    let Some(policy) = &spec.pod_failure_policy else { return Vec::new() };
    let at = format!("{path}.podFailurePolicy.rules");
    let mut errors = Vec::new();
    if policy.rules.len() > RULES_MAX {
        errors.push(FieldError::too_many(at.clone(), policy.rules.len(), RULES_MAX));
    }
    for (index, rule) in policy.rules.iter().enumerate() {
        errors.extend(failure_rule_errors(spec, rule, &format!("{at}[{index}]")));
    }
    errors
}

fn failure_rule_errors(spec: &JobSpec, rule: &PodFailurePolicyRule, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match rule.action.as_str() {
        "FailJob" | "Ignore" | "Count" => {}
        "FailIndex" if spec.backoff_limit_per_index.is_some() => {}
        "FailIndex" => {
            errors.push(FieldError::invalid(format!("{at}.action"), "requires the backoffLimitPerIndex to be set"));
        }
        "" => errors.push(FieldError::required(format!("{at}.action"), "one of FailJob, FailIndex, Ignore, Count")),
        _ => {
            let message = "must be FailJob, FailIndex, Ignore or Count";
            errors.push(FieldError::not_supported(format!("{at}.action"), message));
        }
    }
    let conditions = rule.on_pod_conditions.as_deref().unwrap_or_default();
    match (&rule.on_exit_codes, conditions.is_empty()) {
        (Some(codes), true) => errors.extend(exit_code_errors(spec, codes, &format!("{at}.onExitCodes"))),
        (None, false) => {}
        _ => errors.push(FieldError::invalid(at, "specify one of onExitCodes and onPodConditions")),
    }
    if conditions.len() > RULES_MAX {
        errors.push(FieldError::too_many(format!("{at}.onPodConditions"), conditions.len(), RULES_MAX));
    }
    for (index, pattern) in conditions.iter().enumerate() {
        let at = format!("{at}.onPodConditions[{index}]");
        if !is_qualified_name(&pattern.type_) {
            errors.push(FieldError::invalid(
                format!("{at}.type"),
                "must be [prefix/]name of letters, digits, '-', '_' or '.'",
            ));
        }
        if !matches!(pattern.status.as_deref(), None | Some("True" | "False" | "Unknown")) {
            errors.push(FieldError::not_supported(format!("{at}.status"), "must be True, False or Unknown"));
        }
    }
    errors
}

fn exit_code_errors(spec: &JobSpec, codes: &PodFailurePolicyOnExitCodesRequirement, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if !matches!(codes.operator.as_str(), "In" | "NotIn") {
        errors.push(FieldError::not_supported(format!("{at}.operator"), "must be In or NotIn"));
    }
    let pod = spec.template.spec.as_ref();
    let containers = pod.into_iter().flat_map(|pod| pod.containers.iter().chain(pod.init_containers.iter().flatten()));
    let known: BTreeSet<_> = containers.map(|container| container.name.as_str()).collect();
    if codes.container_name.as_deref().is_some_and(|name| !known.contains(name)) {
        let message = "must be one of the container or initContainer names in the pod template";
        errors.push(FieldError::invalid(format!("{at}.containerName"), message));
    }
    let values = format!("{at}.values");
    if codes.values.is_empty() {
        errors.push(FieldError::invalid(values.clone(), "at least one value is required"));
    } else if codes.values.len() > CODES_MAX {
        errors.push(FieldError::too_many(values.clone(), codes.values.len(), CODES_MAX));
    }
    if codes.operator == "In" && codes.values.contains(&0) {
        errors.push(FieldError::invalid(values.clone(), "must not be 0 for the In operator"));
    }
    if codes.values.windows(2).any(|pair| pair[0] >= pair[1]) {
        errors.push(FieldError::invalid(values, "must be ordered, and each there once"));
    }
    errors
}

fn success_policy_errors(spec: &JobSpec, path: &str) -> Vec<FieldError> {
    let Some(policy) = &spec.success_policy else { return Vec::new() };
    let at = format!("{path}.successPolicy.rules");
    let mut errors = Vec::new();
    if policy.rules.is_empty() {
        errors.push(FieldError::required(at.clone(), "at least one rule must be specified"));
    } else if policy.rules.len() > RULES_MAX {
        errors.push(FieldError::too_many(at.clone(), policy.rules.len(), RULES_MAX));
    }
    for (index, rule) in policy.rules.iter().enumerate() {
        errors.extend(success_rule_error(spec, rule, &format!("{at}[{index}]")));
    }
    errors
}

fn success_rule_error(spec: &JobSpec, rule: &SuccessPolicyRule, at: &str) -> Option<FieldError> {
    let completions = spec.completions.unwrap_or(INDEXED_MAX);
    let listed = match &rule.succeeded_indexes {
        None if rule.succeeded_count.is_none() => {
            return Some(FieldError::required(
                at,
                "at least one of succeededCount or succeededIndexes must be specified",
            ));
        }
        None => None,
        Some(text) => match indexes(text, completions) {
            Some(all) => Some(all),
            None => {
                let message = "must be indexes below completions in ascending order, such as 0,2-4";
                return Some(FieldError::invalid(format!("{at}.succeededIndexes"), message));
            }
        },
    };
    let most = listed.map_or(completions, |all| i32::try_from(all.len()).unwrap_or(i32::MAX));
    let count = rule.succeeded_count?;
    (count < 1 || count > most)
        .then(|| FieldError::invalid(format!("{at}.succeededCount"), format!("must be from 1 to {most}")))
}

/// The indexes in a text such as `0,2-4`, which are ascending and below a limit; none if it is no such text.
pub fn indexes(text: &str, below: i32) -> Option<BTreeSet<i32>> {
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i32>().ok())?;
    let mut all = BTreeSet::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last || last >= below || all.last().is_some_and(|known| *known >= first) {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

/// The selector of a new job: it selects its own pods, or is left to the server.
pub(super) fn selector_errors(spec: &JobSpec) -> Vec<FieldError> {
    if spec.manual_selector == Some(true) {
        return match &spec.selector {
            Some(selector) => pod_selector_errors(selector, Some(&spec.template)),
            None => vec![FieldError::required(
                "spec.selector",
                "say which pods belong to the job, or leave manualSelector out",
            )],
        };
    }
    let selector = spec.selector.clone().unwrap_or_default();
    let own = [label::CONTROLLER_UID];
    let is_own = selector.match_labels.iter().flatten().all(|(key, _)| own.contains(&key.as_str()))
        && selector.match_expressions.iter().flatten().next().is_none();
    if is_own {
        return Vec::new();
    }
    vec![FieldError::invalid("spec.selector", "`selector` not auto-generated: leave it out, or set manualSelector")]
}

/// What may not change about a job that exists.
pub(super) fn change_errors(old: &Job, before: &JobSpec, after: &JobSpec) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut fixed = |field: &str, differs: bool| {
        if differs {
            errors.push(FieldError::invalid(format!("spec.{field}"), "field is immutable"));
        }
    };
    // The completions of an indexed job follow its parallelism.
    let elastic = after.completion_mode.as_deref() == Some("Indexed") && after.completions == after.parallelism;
    fixed("completions", before.completions != after.completions && !elastic);
    fixed("selector", before.selector != after.selector);
    fixed("template", template_differs(old, before, after));
    fixed("completionMode", before.completion_mode != after.completion_mode);
    fixed("podFailurePolicy", before.pod_failure_policy != after.pod_failure_policy);
    fixed("backoffLimitPerIndex", before.backoff_limit_per_index != after.backoff_limit_per_index);
    fixed("managedBy", before.managed_by != after.managed_by);
    fixed("successPolicy", before.success_policy != after.success_policy);
    errors
}

/// Where pods may go can change until the first is made.
fn template_differs(old: &Job, before: &JobSpec, after: &JobSpec) -> bool {
    let mut kept = before.template.clone();
    let started = old.status.as_ref().is_some_and(|status| status.start_time.is_some());
    if before.suspend == Some(true) && !started {
        let (meta, new) = (kept.metadata.get_or_insert_default(), after.template.metadata.clone().unwrap_or_default());
        meta.labels = new.labels;
        meta.annotations = new.annotations;
        if let (Some(spec), Some(new)) = (&mut kept.spec, &after.template.spec) {
            spec.node_selector.clone_from(&new.node_selector);
            spec.tolerations.clone_from(&new.tolerations);
            spec.scheduling_gates.clone_from(&new.scheduling_gates);
            let node = new.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone());
            if node.is_some() || spec.affinity.is_some() {
                spec.affinity.get_or_insert_default().node_affinity = node;
            }
        }
    }
    let comparable = |template: &k8s_openapi::api::core::v1::PodTemplateSpec| {
        let mut template = template.clone();
        template.metadata.get_or_insert_default();
        template
    };
    comparable(&kept) != comparable(&after.template)
}

/// What a status cannot be.
pub(super) fn status_errors(status: &JobStatus) -> Vec<FieldError> {
    let mut errors = count_errors(&[
        ("status.active", status.active, i32::MAX),
        ("status.ready", status.ready, status.active.unwrap_or_default()),
        ("status.succeeded", status.succeeded, i32::MAX),
        ("status.failed", status.failed, i32::MAX),
        ("status.terminating", status.terminating, i32::MAX),
    ]);
    let holds = |kind: &str| {
        status.conditions.iter().flatten().any(|condition| condition.type_ == kind && condition.status == "True")
    };
    if holds("Complete") && holds("Failed") {
        errors.push(FieldError::invalid("status.conditions", "cannot set Complete=True and Failed=True conditions"));
    }
    if (holds("Complete") || holds("Failed")) && status.active.unwrap_or_default() > 0 {
        errors.push(FieldError::invalid("status.active", "active>0 is invalid for a finished job"));
    }
    if status.completion_time.is_some() && !holds("Complete") {
        errors.push(FieldError::invalid(
            "status.completionTime",
            "cannot be set when there is no Complete=True condition",
        ));
    }
    errors
}
