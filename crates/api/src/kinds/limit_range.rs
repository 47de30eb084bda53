//! `v1 LimitRange`: what containers, pods and claims of a namespace may ask for, and what they get that ask for nothing.

mod enforce;
mod limit_type;
mod validate;

use k8s_openapi::api::core::v1::LimitRangeItem;

pub use k8s_openapi::api::core::v1::LimitRange;

pub use self::enforce::{claim_faults, fill_containers, pod_faults};
use crate::FieldError;
use limit_type::CONTAINER;

kubernetes_kind!(LimitRange, plural: "limitranges", singular: "limitrange", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::LIMIT_RANGE;
    const SHORT_NAMES: &'static [&'static str] = &["limits"];

    fn apply_defaults(&mut self) {
        let limits = self.spec.iter_mut().flat_map(|spec| &mut spec.limits);
        limits.filter(|limit| limit.type_ == CONTAINER).for_each(fill);
    }

    fn validate(&self, _old: Option<&Self>) -> Vec<FieldError> {
        let limits = self.spec.as_ref().map(|spec| spec.limits.as_slice());
        validate::errors(limits.unwrap_or_default())
    }
});

/// A default limit that is not given is the greatest; a default request is the default limit, or else the least.
fn fill(limit: &mut LimitRangeItem) {
    let default = limit.default.get_or_insert_default();
    for (name, amount) in limit.max.iter().flatten() {
        default.entry(name.clone()).or_insert_with(|| amount.clone());
    }
    let request = limit.default_request.get_or_insert_default();
    for (name, amount) in default.iter().chain(limit.min.iter().flatten()) {
        request.entry(name.clone()).or_insert_with(|| amount.clone());
    }
    limit.default = limit.default.take().filter(|list| !list.is_empty());
    limit.default_request = limit.default_request.take().filter(|list| !list.is_empty());
}
