//! Rules that kinds with a pod template share.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::PodTemplateSpec,
    apimachinery::pkg::{apis::meta::v1::LabelSelector as SelectorSpec, util::intstr::IntOrString},
};

use super::pod;
use crate::{
    Column, FieldError, Path,
    selector::{LabelSelector, selector_errors},
};

/// Most pods of one workload: its controller looks at each of them whenever one changes.
pub const REPLICAS_MAX: i32 = 10_000;
/// Most earlier revisions that a workload may keep.
pub const REVISIONS_MAX: i32 = 1_000;

const NEGATIVE: &str = "must not be negative";

/// Numbers, each with its field and the largest it may be.
pub(super) fn number_errors(numbers: &[(&str, Option<i32>, i32)]) -> Vec<FieldError> {
    let error = |(field, number, limit): &(&str, Option<i32>, i32)| match number {
        Some(number) if *number < 0 => Some(FieldError::invalid(*field, NEGATIVE)),
        Some(number) if number > limit => Some(FieldError::invalid(*field, format!("must be at most {limit}"))),
        _ => None,
    };
    numbers.iter().filter_map(error).collect()
}

/// Counts of a status, each with its field and the number of those that it counts among.
pub(super) fn count_errors(counts: &[(&str, Option<i32>, i32)]) -> Vec<FieldError> {
    let error = |(field, count, limit): &(&str, Option<i32>, i32)| match count {
        Some(count) if *count < 0 => Some(FieldError::invalid(*field, NEGATIVE)),
        Some(count) if count > limit => {
            Some(FieldError::invalid(*field, "must not be more than the pods it counts among"))
        }
        _ => None,
    };
    counts.iter().filter_map(error).collect()
}

/// The generation that a status was observed at.
pub(super) fn observed_error(generation: Option<i64>) -> Option<FieldError> {
    generation.filter(|generation| *generation < 0)?;
    Some(FieldError::invalid("status.observedGeneration", NEGATIVE))
}

/// A selector of pods, which the labels of the template must satisfy.
pub(super) fn pod_selector_errors(spec: &SelectorSpec, template: Option<&PodTemplateSpec>) -> Vec<FieldError> {
    let mut errors = selector_errors(spec, "spec.selector");
    if !errors.is_empty() {
        return errors;
    }
    match LabelSelector::of(spec) {
        Err(error) => errors.push(FieldError::invalid("spec.selector", error.to_string())),
        Ok(selector) if selector.is_empty() => {
            errors.push(FieldError::required("spec.selector", "say which pods belong to it"));
        }
        Ok(selector) if !selector.matches(labels(template)) => {
            errors.push(FieldError::invalid("spec.template.metadata.labels", "must satisfy spec.selector"));
        }
        Ok(_) => {}
    }
    errors
}

/// Labels of a template.
pub(super) fn labels(template: Option<&PodTemplateSpec>) -> Option<&BTreeMap<String, String>> {
    template?.metadata.as_ref()?.labels.as_ref()
}

/// The template of pods that run until they are deleted. `claims` are volumes that each pod gets beside the template's.
pub(super) fn lasting_template_errors(template: &PodTemplateSpec, claims: &[&str]) -> Vec<FieldError> {
    let mut errors = pod::check_template(template, claims, &Path::ROOT.field("spec.template"));
    let Some(pod) = &template.spec else { return errors };
    if matches!(pod.restart_policy.as_deref(), Some("OnFailure" | "Never")) {
        let message = "must be Always: a pod that ends is created again";
        errors.push(FieldError::not_supported("spec.template.spec.restartPolicy", message));
    }
    if pod.active_deadline_seconds.is_some() {
        let message = "must not be set: a pod that ends is created again";
        errors.push(FieldError::forbidden("spec.template.spec.activeDeadlineSeconds", message));
    }
    errors
}

/// Warnings about a new or changed template.
pub(super) fn template_warnings(new: Option<&PodTemplateSpec>, old: Option<&PodTemplateSpec>) -> Vec<String> {
    let spec = |template: Option<&PodTemplateSpec>| template.and_then(|template| template.spec.clone());
    match spec(new) {
        Some(new) if spec(old).as_ref() != Some(&new) => {
            pod::spec_warnings(&new, &Path::ROOT.field("spec.template.spec"))
        }
        _ => Vec::new(),
    }
}

/// Fills the template of pods.
pub(super) fn fill_template(template: &mut PodTemplateSpec) {
    if let Some(spec) = &mut template.spec {
        pod::fill_template(spec);
    }
}

/// A selector that may not change.
pub(super) fn selector_change<S: PartialEq>(before: &S, after: &S) -> Option<FieldError> {
    (before != after).then(|| FieldError::invalid("spec.selector", "field is immutable"))
}

/// A number of pods, or a share of them in percent.
pub(super) fn share_errors(value: Option<&IntOrString>, most_percent: Option<u32>, field: &str) -> Option<FieldError> {
    match value? {
        IntOrString::Int(number) => (*number < 0).then(|| FieldError::invalid(field, NEGATIVE)),
        IntOrString::String(text) => match (percent(text), most_percent) {
            (None, _) => Some(FieldError::invalid(field, "must be a number of pods or a percentage such as 25%")),
            (Some(percent), Some(most)) if percent > most => {
                Some(FieldError::invalid(field, format!("must not be more than {most}%")))
            }
            _ => None,
        },
    }
}

/// The number in `25%`.
fn percent(text: &str) -> Option<u32> {
    let digits = text.strip_suffix('%')?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// How many pods a number or a percentage of `total` means. Text that is no percentage means none.
pub fn share(value: &IntOrString, total: i32, round_up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let parts = i64::from(percent(text).unwrap_or(0)) * i64::from(total);
            let whole = if round_up { (parts + 99) / 100 } else { parts / 100 };
            i32::try_from(whole).unwrap_or(i32::MAX)
        }
    }
}

/// Whether a share is of no pods, whatever their number.
pub(super) fn is_none(value: Option<&IntOrString>) -> bool {
    match value {
        None => true,
        Some(IntOrString::Int(number)) => *number == 0,
        Some(IntOrString::String(text)) => percent(text) == Some(0),
    }
}

/// The columns that show containers, images and selector, as kubectl prints them.
pub(super) fn wide_columns<R>(
    containers: fn(&R, jiff::Timestamp) -> serde_json::Value,
    images: fn(&R, jiff::Timestamp) -> serde_json::Value,
    selector: fn(&R, jiff::Timestamp) -> serde_json::Value,
) -> [Column<R>; 3] {
    [
        Column::text("Containers", "Names of the containers", containers).wide(),
        Column::text("Images", "Images of the containers", images).wide(),
        Column::text("Selector", "Which pods belong to it", selector).wide(),
    ]
}

/// Names of the containers of a template.
pub(super) fn containers(template: Option<&PodTemplateSpec>) -> serde_json::Value {
    let all = template.and_then(|template| template.spec.as_ref()).map(|spec| spec.containers.as_slice());
    let names: Vec<_> = all.unwrap_or_default().iter().map(|container| container.name.as_str()).collect();
    names.join(",").into()
}

/// Images of the containers of a template.
pub(super) fn images(template: Option<&PodTemplateSpec>) -> serde_json::Value {
    let all = template.and_then(|template| template.spec.as_ref()).map(|spec| spec.containers.as_slice());
    let images: Vec<_> = all.unwrap_or_default().iter().filter_map(|container| container.image.as_deref()).collect();
    images.join(",").into()
}

/// A selector as text.
pub(super) fn selector_text(selector: Option<&SelectorSpec>) -> serde_json::Value {
    let selector = selector.and_then(|selector| LabelSelector::of(selector).ok());
    selector.map_or_else(|| "<none>".to_owned(), |selector| selector.to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_as_asked() {
        let text = |text: &str| IntOrString::String(text.into());
        for (value, total, up, wanted) in [
            (IntOrString::Int(3), 10, true, 3),
            (text("25%"), 10, true, 3),
            (text("25%"), 10, false, 2),
            (text("0%"), 10, true, 0),
            (text("100%"), i32::MAX, false, i32::MAX),
            (text("nonsense"), 10, true, 0),
        ] {
            assert_eq!(share(&value, total, up), wanted, "{value:?} of {total}");
        }
    }
}
