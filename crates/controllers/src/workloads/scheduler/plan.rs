//! Which pod goes to which node.

use std::collections::BTreeMap;

use api::{
    ObjectKey, Time,
    kinds::{Node, PersistentVolumeClaim, Pod},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodCondition;

use super::{
    fit::{Candidate, candidates, needs},
    volumes::{Claims, Place},
};
use crate::{step::Step, workloads::health};

/// Name of the scheduler that pods ask for by default.
const SCHEDULER: &str = "default-scheduler";
/// Condition of a pod about its placement.
const POD_SCHEDULED: &str = "PodScheduled";
/// Reason of a pod that found no place.
const UNSCHEDULABLE: &str = "Unschedulable";

/// What the scheduler decides on.
pub(crate) struct Observed {
    pub(crate) pods: Vec<Pod>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) claims: Vec<PersistentVolumeClaim>,
    pub(crate) now: Timestamp,
}

/// What to do about one pod.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) pod: ObjectKey,
    pub(crate) steps: Vec<Step>,
}

/// The decisions, and whether a pod found no place.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) decisions: Vec<Decision>,
    pub(crate) unplaced: bool,
}

/// Whether the pod waits for a node from this scheduler.
pub(crate) fn is_waiting(pod: &Pod) -> bool {
    let asks = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref()).is_none_or(|name| name == SCHEDULER);
    health::node(pod).is_none() && asks && !health::is_terminating(pod) && !health::has_ended(pod)
}

/// Whether somebody keeps the pod from being placed for now.
fn is_gated(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty())
}

/// Places waiting pods one after the other, oldest first, each on the fitting node with the fewest pods.
pub(crate) fn plan(observed: &Observed) -> Plan {
    let Observed { pods, nodes, now, .. } = observed;
    let mut candidates = candidates(nodes, pods);
    let mut claims = Claims::new(&observed.claims, pods);
    let mut waiting: Vec<&Pod> = pods.iter().filter(|pod| is_waiting(pod)).collect();
    waiting.sort_by_key(|pod| (created(pod), pod.metadata.namespace.clone(), pod.metadata.name.clone()));
    let mut plan = Plan { decisions: Vec::new(), unplaced: false };
    for pod in waiting {
        let steps = if is_gated(pod) {
            gated(pod, *now)
        } else {
            match choose(pod, &mut candidates, &mut claims) {
                Ok((node, claims)) => bind(pod, &node, &claims),
                Err(message) => {
                    plan.unplaced = true;
                    refuse(pod, &message, *now)
                }
            }
        };
        if !steps.is_empty() {
            plan.decisions.push(Decision { pod: ObjectKey::of(pod), steps });
        }
    }
    plan
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// The node for a pod, and the pod's claims that are to say so. An error is why there is none.
fn choose(
    pod: &Pod,
    candidates: &mut [Candidate<'_>],
    claims: &mut Claims<'_>,
) -> Result<(String, Vec<PersistentVolumeClaim>), String> {
    if candidates.is_empty() {
        return Err("no nodes available to schedule pods: start one with `nanocloud server`".to_owned());
    }
    let total = candidates.len();
    let only = if let [only] = candidates { Some(only.name) } else { None };
    let place = claims.place(pod, only).map_err(|reason| format!("0/{total} nodes are available: {reason}"))?;
    let spec = pod.spec.clone().unwrap_or_default();
    let needs = needs(&spec);
    let (mut fitting, mut reasons) = (Vec::new(), BTreeMap::<String, usize>::new());
    for (index, candidate) in candidates.iter().enumerate() {
        match candidate.obstacle(&spec, &needs, &place) {
            None => fitting.push(index),
            Some(reason) => *reasons.entry(reason).or_default() += 1,
        }
    }
    let best = fitting.into_iter().min_by_key(|index| (candidates[*index].pods, candidates[*index].name));
    let Some(best) = best else { return Err(unplaced(total, &reasons, &place)) };
    candidates[best].take(&needs);
    let node = candidates[best].name.to_owned();
    let placed = claims.placed(pod, &node);
    claims.take(pod, &node);
    Ok((node, placed))
}

fn unplaced(total: usize, reasons: &BTreeMap<String, usize>, place: &Place) -> String {
    let listed: Vec<_> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    format!("0/{total} nodes are available: {}{}", listed.join(", "), place.told())
}

/// First the claims learn where they lie, then the pod is bound: whoever is killed in between has
/// said too much about claims without a volume, never too little about one with data.
fn bind(pod: &Pod, node: &str, claims: &[PersistentVolumeClaim]) -> Vec<Step> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let news = format!("assigned {}/{name} to {node}", pod.metadata.namespace.as_deref().unwrap_or_default());
    let mut steps: Vec<Step> = claims.iter().map(Step::replace).collect();
    steps.push(Step::bind(pod, node));
    steps.push(Step::normal(pod, "Scheduled", news));
    steps
}

/// Says why there is no place, unless it is said already.
fn refuse(pod: &Pod, message: &str, now: Timestamp) -> Vec<Step> {
    let told = not_scheduled(pod, UNSCHEDULABLE, message, now);
    told.into_iter()
        .chain([Step::warning(pod, "FailedScheduling", message)])
        .filter(|_| !says(pod, UNSCHEDULABLE, message))
        .collect()
}

/// Says that the pod's gates are closed, unless it is said already.
fn gated(pod: &Pod, now: Timestamp) -> Vec<Step> {
    not_scheduled(pod, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates", now)
        .into_iter()
        .collect()
}

fn condition(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().find(|condition| condition.type_ == POD_SCHEDULED)
}

fn says(pod: &Pod, reason: &str, message: &str) -> bool {
    condition(pod).is_some_and(|condition| {
        condition.status == "False"
            && condition.reason.as_deref() == Some(reason)
            && condition.message.as_deref() == Some(message)
    })
}

/// The step that makes the pod's condition say so.
fn not_scheduled(pod: &Pod, reason: &str, message: &str, now: Timestamp) -> Option<Step> {
    if says(pod, reason, message) {
        return None;
    }
    let before = condition(pod).filter(|condition| condition.status == "False");
    let since = before.and_then(|condition| condition.last_transition_time.clone()).unwrap_or(Time(now));
    let mut refused = pod.clone();
    let conditions = refused.status.get_or_insert_default().conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != POD_SCHEDULED);
    conditions.push(PodCondition {
        type_: POD_SCHEDULED.into(),
        status: "False".into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_transition_time: Some(since),
        ..PodCondition::default()
    });
    Some(Step::replace_status(&refused))
}

#[cfg(test)]
mod tests;
