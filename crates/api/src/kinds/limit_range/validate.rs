//! What a range of limits may say, with the messages of Kubernetes.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{api::core::v1::LimitRangeItem, apimachinery::pkg::api::resource::Quantity};

use super::limit_type::{CLAIM, CONTAINER, POD};
use crate::{FieldError, Path, meta::is_qualified_name, quantity::Amount};

/// Resources that have no domain in their name.
const STANDARD: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "storage"];
/// Prefix of memory in large pages.
const HUGE_PAGES: &str = "hugepages-";

/// The lists of amounts of an item.
struct Lists {
    min: BTreeMap<String, Amount>,
    max: BTreeMap<String, Amount>,
    default: BTreeMap<String, Amount>,
    request: BTreeMap<String, Amount>,
    ratio: BTreeMap<String, Amount>,
}

/// What is wrong with the limits of a range.
pub(super) fn errors(limits: &[LimitRangeItem]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut types = BTreeSet::new();
    let (spec, list) = (Path::ROOT.field("spec"), "limits");
    for (index, limit) in limits.iter().enumerate() {
        let list = spec.field(list);
        let path = list.index(index);
        errors.extend(type_error(&limit.type_, path.field("type")));
        if !types.insert(limit.type_.as_str()) {
            errors
                .push(FieldError::duplicate(path.field("type"), format!("there are limits of {} above", limit.type_)));
        }
        let mut read = |name: &str, amounts: &Option<BTreeMap<String, Quantity>>| {
            let path = path.field(name);
            amounts
                .iter()
                .flatten()
                .filter_map(|(name, amount)| {
                    let path = path.key(name);
                    errors.extend(name_error(name, path));
                    match Amount::read(&amount.0) {
                        Ok(amount) => Some((name.clone(), amount)),
                        Err(error) => {
                            errors.push(FieldError::invalid(path, error.to_string()));
                            None
                        }
                    }
                })
                .collect::<BTreeMap<_, _>>()
        };
        let lists = Lists {
            min: read("min", &limit.min),
            max: read("max", &limit.max),
            default: read("default", &limit.default),
            request: read("defaultRequest", &limit.default_request),
            ratio: read("maxLimitRequestRatio", &limit.max_limit_request_ratio),
        };
        errors.extend(item_errors(&limit.type_, &lists, &path));
    }
    errors
}

fn type_error(name: &str, path: Path<'_>) -> Option<FieldError> {
    if !is_qualified_name(name) {
        return Some(FieldError::invalid(path, format!("{name:?} is not a type: use {CONTAINER}, {POD} or {CLAIM}")));
    }
    let known = name.contains('/') || [CONTAINER, POD, CLAIM].contains(&name);
    (!known).then(|| FieldError::invalid(path, "must be a standard limit type or fully qualified"))
}

fn name_error(name: &str, path: Path<'_>) -> Option<FieldError> {
    let known = name.contains('/') || STANDARD.contains(&name) || name.starts_with(HUGE_PAGES);
    let message = "must be a standard resource for containers or claims, or fully qualified";
    (!known || !is_qualified_name(name)).then(|| FieldError::invalid(path, message))
}

fn item_errors(kind: &str, lists: &Lists, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if kind == POD {
        for (field, list) in [("default", &lists.default), ("defaultRequest", &lists.request)] {
            if !list.is_empty() {
                errors.push(FieldError::forbidden(path.field(field), "may not be specified when `type` is 'Pod'"));
            }
        }
    }
    if kind == CLAIM && !lists.min.contains_key("storage") && !lists.max.contains_key("storage") {
        let message = "either minimum or maximum storage value is required, but neither was provided";
        errors.push(FieldError::required(path.field("limits"), message));
    }
    let all = [&lists.min, &lists.max, &lists.default, &lists.request, &lists.ratio];
    let names: BTreeSet<&String> = all.into_iter().flat_map(BTreeMap::keys).collect();
    for name in names {
        errors.extend(order_errors(kind, lists, name, path));
        errors.extend(ratio_errors(lists, name, path));
    }
    errors
}

/// The least is at most the default request, that is at most the default limit, and that is at most the greatest.
fn order_errors(kind: &str, lists: &Lists, name: &str, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut check = |field: &str, least: (&str, Option<&Amount>), most: (&str, Option<&Amount>)| {
        let ((least_name, Some(least)), (most_name, Some(most))) = (least, most) else { return };
        if least <= most {
            return;
        }
        let list = path.field(field);
        let message = format!("{least_name} value {least} is greater than {most_name} value {most}");
        errors.push(FieldError::invalid(list.key(name), message));
    };
    let (min, max) = (("min", lists.min.get(name)), ("max", lists.max.get(name)));
    check("min", min, max);
    if kind == POD {
        return errors;
    }
    let request = ("default request", lists.request.get(name));
    let default = lists.default.get(name);
    check("defaultRequest", min, request);
    check("defaultRequest", request, max);
    check("defaultRequest", request, ("default limit", default));
    check("default", min, ("default", default));
    check("default", ("default", default), max);
    if name.starts_with(HUGE_PAGES) && default.zip(request.1).is_some_and(|(limit, request)| limit != request) {
        let message = format!("default value must equal to defaultRequest value in {name}");
        errors.push(FieldError::invalid(path.field("default").key(name), message));
    }
    errors
}

fn ratio_errors(lists: &Lists, name: &str, path: &Path<'_>) -> Vec<FieldError> {
    let Some(ratio) = lists.ratio.get(name) else { return Vec::new() };
    let list = path.field("maxLimitRequestRatio");
    let mut errors = Vec::new();
    if *ratio < Amount::whole(1) {
        errors.push(FieldError::invalid(list.key(name), format!("ratio {ratio} is less than 1")));
    }
    if let Some((min, max)) = lists.min.get(name).zip(lists.max.get(name))
        && !min.is_zero()
        && ratio.ratio(Amount::whole(1)) > max.ratio(*min)
    {
        let message = format!("ratio {ratio} is greater than max/min = {:.6}", max.ratio(*min));
        errors.push(FieldError::invalid(list.key(name), message));
    }
    errors
}
