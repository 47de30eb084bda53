//! What ranges do to new pods and claims, with the messages of Kubernetes.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod},
    apimachinery::pkg::api::resource::Quantity,
};

use super::limit_type::{CLAIM, CONTAINER, POD};
use crate::{names::annotation::LIMIT_RANGER, quantity::Amount};

type List = BTreeMap<String, Quantity>;
type Amounts = BTreeMap<String, Amount>;

/// What is requested, and what it is limited to.
struct Asked {
    requests: Amounts,
    limits: Amounts,
}

/// Gives the defaults of a range to containers that say nothing, and says so in an annotation. Answers whether any got
/// something.
pub fn fill_containers(pod: &mut Pod, range: &LimitRange) -> bool {
    let (mut requests, mut limits) = (List::new(), List::new());
    for item in items(range, CONTAINER) {
        requests.extend(item.default_request.clone().unwrap_or_default());
        limits.extend(item.default.clone().unwrap_or_default());
    }
    let Some(spec) = &mut pod.spec else { return false };
    let mut said = Vec::new();
    let inits = spec.init_containers.iter_mut().flatten().map(|container| ("init container", container));
    for (what, container) in spec.containers.iter_mut().map(|container| ("container", container)).chain(inits) {
        let name = container.name.clone();
        let resources = container.resources.get_or_insert_default();
        for (word, list, defaults) in
            [("request", &mut resources.requests, &requests), ("limit", &mut resources.limits, &limits)]
        {
            let added = add(list, defaults);
            if !added.is_empty() {
                said.push(format!("{} {word} for {what} {name}", added.join(", ")));
            }
        }
    }
    if said.is_empty() {
        return false;
    }
    let text = format!("LimitRanger plugin set: {}", said.join("; "));
    pod.metadata.annotations.get_or_insert_default().insert(LIMIT_RANGER.into(), text);
    true
}

/// Adds what is missing, and answers its names.
fn add(list: &mut Option<List>, defaults: &List) -> Vec<String> {
    let missing = |name: &&String| !list.iter().any(|list| list.contains_key(*name));
    let names: Vec<String> = defaults.keys().filter(missing).cloned().collect();
    for name in &names {
        list.get_or_insert_default().insert(name.clone(), defaults[name].clone());
    }
    names
}

/// Why a range refuses a pod.
pub fn pod_faults(pod: &Pod, range: &LimitRange) -> Vec<String> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    let mut faults = Vec::new();
    for item in range.spec.iter().flat_map(|spec| &spec.limits) {
        if item.type_ == CONTAINER {
            for container in spec.containers.iter().chain(inits) {
                faults.extend(pod_item_faults(item, &Asked::of(container)));
            }
        } else if item.type_ == POD {
            faults.extend(pod_item_faults(item, &Asked::of_pod(&spec.containers, inits)));
        }
    }
    faults
}

/// Why a range refuses a claim.
pub fn claim_faults(claim: &PersistentVolumeClaim, range: &LimitRange) -> Vec<String> {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let requests = amounts(resources.and_then(|resources| resources.requests.as_ref()));
    let asked = Asked { requests, limits: Amounts::new() };
    let mut faults = Vec::new();
    for item in items(range, CLAIM) {
        faults.extend(amounts(item.min.as_ref()).iter().filter_map(|(name, least)| asked.below(CLAIM, name, *least)));
        faults.extend(amounts(item.max.as_ref()).iter().filter_map(|(name, most)| match asked.requests.get(name) {
            None => Some(format!("maximum {name} usage per {CLAIM} is {most}.  No request is specified")),
            Some(request) if request > most => {
                Some(format!("maximum {name} usage per {CLAIM} is {most}, but request is {request}"))
            }
            Some(_) => None,
        }));
    }
    faults
}

fn items<'a>(range: &'a LimitRange, kind: &'static str) -> impl Iterator<Item = &'a LimitRangeItem> {
    range.spec.iter().flat_map(|spec| &spec.limits).filter(move |item| item.type_ == kind)
}

fn pod_item_faults(item: &LimitRangeItem, asked: &Asked) -> Vec<String> {
    let kind = item.type_.as_str();
    let (min, max) = (amounts(item.min.as_ref()), amounts(item.max.as_ref()));
    let ratios = amounts(item.max_limit_request_ratio.as_ref());
    let mut faults: Vec<String> = min.iter().filter_map(|(name, least)| asked.below(kind, name, *least)).collect();
    faults.extend(max.iter().filter_map(|(name, most)| asked.above(kind, name, *most)));
    faults.extend(ratios.iter().filter_map(|(name, most)| asked.apart(kind, name, *most)));
    faults
}

/// Amounts that can be counted; what cannot is refused elsewhere.
fn amounts(list: Option<&List>) -> Amounts {
    let list = list.into_iter().flatten();
    list.filter_map(|(name, amount)| Some((name.clone(), Amount::read(&amount.0).ok()?))).collect()
}

impl Asked {
    fn of(container: &Container) -> Self {
        let resources = container.resources.as_ref();
        Self {
            requests: amounts(resources.and_then(|resources| resources.requests.as_ref())),
            limits: amounts(resources.and_then(|resources| resources.limits.as_ref())),
        }
    }

    /// Containers run together, and init containers one by one before them.
    fn of_pod(containers: &[Container], inits: &[Container]) -> Self {
        let mut all = Self { requests: Amounts::new(), limits: Amounts::new() };
        for container in containers.iter().map(Self::of) {
            for (total, list) in [(&mut all.requests, container.requests), (&mut all.limits, container.limits)] {
                for (name, amount) in list {
                    let sum = total.entry(name).or_default();
                    *sum = *sum + amount;
                }
            }
        }
        for container in inits.iter().map(Self::of) {
            for (total, list) in [(&mut all.requests, container.requests), (&mut all.limits, container.limits)] {
                for (name, amount) in list {
                    let most = total.entry(name).or_insert(amount);
                    *most = amount.max(*most);
                }
            }
        }
        all
    }

    fn below(&self, kind: &str, name: &str, least: Amount) -> Option<String> {
        let text = format!("minimum {name} usage per {kind} is {least}");
        match (self.requests.get(name), self.limits.get(name)) {
            (None, _) => Some(format!("{text}.  No request is specified")),
            (Some(request), _) if *request < least => Some(format!("{text}, but request is {request}")),
            (_, Some(limit)) if *limit < least => Some(format!("{text}, but limit is {limit}")),
            _ => None,
        }
    }

    fn above(&self, kind: &str, name: &str, most: Amount) -> Option<String> {
        let text = format!("maximum {name} usage per {kind} is {most}");
        match (self.limits.get(name), self.requests.get(name)) {
            (None, _) => Some(format!("{text}.  No limit is specified")),
            (Some(limit), _) if *limit > most => Some(format!("{text}, but limit is {limit}")),
            (_, Some(request)) if *request > most => Some(format!("{text}, but request is {request}")),
            _ => None,
        }
    }

    fn apart(&self, kind: &str, name: &str, most: Amount) -> Option<String> {
        let text = format!("{name} max limit to request ratio per {kind} is {most}");
        let Some(request) = self.requests.get(name).filter(|request| !request.is_zero()) else {
            return Some(format!("{text}, but no request is specified or request is 0"));
        };
        let Some(limit) = self.limits.get(name).filter(|limit| !limit.is_zero()) else {
            return Some(format!("{text}, but no limit is specified or limit is 0"));
        };
        limit.exceeds(most, *request).then(|| format!("{text}, but provided ratio is {:.6}", limit.ratio(*request)))
    }
}

#[cfg(test)]
mod tests;
