//! What containers request and are limited to.

use std::cmp::Ordering;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};

use super::rules::{Errors, one_of, unless};
use crate::{FieldError, Path, meta::is_qualified_name, quantity};

/// Prefix of memory in large pages.
const HUGE_PAGES: &str = "hugepages-";
/// Prefix of names that Kubernetes keeps for itself.
const NATIVE_PREFIX: &str = "kubernetes.io/";

/// Checks requests and limits.
pub(super) fn check(resources: &ResourceRequirements, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    for (list, quantities) in [("limits", &resources.limits), ("requests", &resources.requests)] {
        let path = path.field(list);
        for (name, amount) in quantities.iter().flatten() {
            errors.extend(one(name, amount, path.key(name)));
        }
    }
    for (name, request) in resources.requests.iter().flatten() {
        errors.extend(match resources.limits.as_ref().and_then(|limits| limits.get(name)) {
            Some(limit) => fits(name, request, limit, path.field("requests")),
            None => unless(may_exceed(name), || {
                let message = format!("{name} is given whole: set its limit to what is requested");
                FieldError::required(path.field("limits"), message)
            }),
        });
    }
    let names = || resources.limits.iter().chain(&resources.requests).flat_map(|list| list.keys());
    let huge = names().any(|name| name.starts_with(HUGE_PAGES));
    errors.extend(unless(!huge || names().any(|name| name == "cpu" || name == "memory"), || {
        FieldError::forbidden(path, "hugepages need cpu or memory beside them")
    }));
    errors
}

fn one(name: &str, amount: &Quantity, path: Path<'_>) -> Errors {
    let standard = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with(HUGE_PAGES);
    if !is_qualified_name(name) || !(standard || is_extended(name)) {
        let message = format!("{name:?} must be cpu, memory, ephemeral-storage, hugepages-<size> or <domain>/<name>");
        return vec![FieldError::invalid(path, message)];
    }
    // The kernel is told thousandths of CPUs.
    let counted = if name == "cpu" { quantity::milli(&amount.0) } else { quantity::units(&amount.0) };
    match counted {
        Err(error) => vec![FieldError::invalid(path, error.to_string())],
        Ok(units) => unless(standard || is_whole(amount, units), || {
            FieldError::invalid(path, format!("{} must be a whole number: {name} cannot be divided", amount.0))
        }),
    }
}

fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.starts_with(NATIVE_PREFIX) && !name.starts_with("requests.")
}

/// Whether more may be promised than there is; what is not is requested and limited alike.
fn may_exceed(name: &str) -> bool {
    !name.starts_with(HUGE_PAGES) && !is_extended(name)
}

fn is_whole(amount: &Quantity, units: u64) -> bool {
    quantity::milli(&amount.0).is_ok_and(|milli| Some(milli) == units.checked_mul(1000))
}

fn fits(name: &str, request: &Quantity, limit: &Quantity, path: Path<'_>) -> Errors {
    let order = compare(request, limit);
    let good = if may_exceed(name) { order != Some(Ordering::Greater) } else { order == Some(Ordering::Equal) };
    unless(good, || {
        let relation = if may_exceed(name) { "at most" } else { "equal to" };
        FieldError::invalid(path, format!("{name} {} must be {relation} its limit, {}", request.0, limit.0))
    })
}

/// Which of two amounts is more; nothing if one is no quantity, which is said elsewhere.
fn compare(one: &Quantity, other: &Quantity) -> Option<Ordering> {
    match (quantity::milli(&one.0), quantity::milli(&other.0)) {
        (Ok(one), Ok(other)) => Some(one.cmp(&other)),
        _ => Some(quantity::units(&one.0).ok()?.cmp(&quantity::units(&other.0).ok()?)),
    }
}

/// Checks the policy of changing resources while a container runs.
pub(super) fn check_resize(container: &k8s_openapi::api::core::v1::Container, path: &Path<'_>) -> Errors {
    let list = path.field("resizePolicy");
    let policies = container.resize_policy.iter().flatten().enumerate();
    let checked = policies.flat_map(|(index, policy)| {
        let path = list.index(index);
        let name = one_of(&Some(policy.resource_name.clone()), &["cpu", "memory"], path.field("resourceName"));
        let restart = Some(policy.restart_policy.clone());
        let allowed = ["NotRequired", "RestartContainer"];
        name.into_iter().chain(one_of(&restart, &allowed, path.field("restartPolicy"))).collect::<Vec<_>>()
    });
    checked.collect()
}
