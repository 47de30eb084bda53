//! Whether a pod fits a node: what is in the way, in the words of Kubernetes.

use std::collections::BTreeMap;

use api::{
    kinds::{Node, Pod},
    names::taint::UNSCHEDULABLE,
    quantity,
};
use k8s_openapi::{
    api::core::v1::{Container, PodSpec, Taint, Toleration},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{affinity, ports, ports::HostPort, volumes::Place};
use crate::workloads::health;

/// Resource that every pod uses one of.
const PODS: &str = "pods";

/// Amounts by resource name, in thousandths.
pub(crate) type Amounts = BTreeMap<String, u64>;

/// A node and what is free on it.
pub(crate) struct Candidate<'a> {
    node: &'a Node,
    pub(crate) name: &'a str,
    pub(crate) pods: usize,
    free: Amounts,
    ports: Vec<HostPort>,
}

/// What a pod asks of a node.
pub(crate) struct Needs {
    amounts: Amounts,
    ports: Vec<HostPort>,
}

/// The nodes, with what the pods that are bound to them leave free.
pub(crate) fn candidates<'a>(nodes: &'a [Node], pods: &[Pod]) -> Vec<Candidate<'a>> {
    let fresh = nodes.iter().filter_map(|node| {
        let status = node.status.as_ref();
        let amount = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        let free = amounts(amount.into_iter().flatten());
        Some(Candidate { node, name: node.metadata.name.as_deref()?, pods: 0, free, ports: Vec::new() })
    });
    let mut all: Vec<_> = fresh.collect();
    let places: BTreeMap<_, _> = all.iter().enumerate().map(|(index, candidate)| (candidate.name, index)).collect();
    for pod in pods.iter().filter(|pod| !health::has_ended(pod)) {
        let place = health::node(pod).and_then(|name| places.get(name));
        if let (Some(place), Some(spec)) = (place, &pod.spec) {
            all[*place].take(&needs(spec));
        }
    }
    all
}

/// What the pod asks for: the sum over its containers, at least the largest of its init containers.
pub(crate) fn needs(spec: &PodSpec) -> Needs {
    let of = |container: &Container| {
        amounts(container.resources.iter().flat_map(|resources| resources.requests.iter().flatten()))
    };
    let mut total = Amounts::new();
    for (resource, amount) in spec.containers.iter().flat_map(&of) {
        let sum = total.entry(resource).or_default();
        *sum = sum.saturating_add(amount);
    }
    for (resource, amount) in spec.init_containers.iter().flatten().flat_map(&of) {
        let sum = total.entry(resource).or_default();
        *sum = (*sum).max(amount);
    }
    total.insert(PODS.into(), 1_000);
    Needs { amounts: total, ports: ports::wanted(spec) }
}

impl Candidate<'_> {
    /// Takes what the pod needs.
    pub(crate) fn take(&mut self, needs: &Needs) {
        self.pods += 1;
        self.ports.extend(needs.ports.iter().cloned());
        for (resource, amount) in &needs.amounts {
            if let Some(free) = self.free.get_mut(resource) {
                *free = free.saturating_sub(*amount);
            }
        }
    }

    /// Why the pod cannot go to this node; `None` if it can.
    pub(crate) fn obstacle(&self, spec: &PodSpec, needs: &Needs, place: &Place) -> Option<String> {
        let says = |text: &str| Some(text.to_owned());
        if readiness(self.node) != Some(true) {
            return says("node(s) were not ready");
        }
        if self.node.metadata.deletion_timestamp.is_some() || is_cordoned(spec, self.node) {
            return says("node(s) were unschedulable");
        }
        if !affinity::matches(spec, self.node) {
            return says("node(s) didn't match Pod's node affinity/selector");
        }
        if let Some(taint) = untolerated(spec, self.node).next() {
            return Some(format!("node(s) had untolerated taint {{{}}}", taint.key));
        }
        if !place.allows(self.name) {
            return says("node(s) had volume node affinity conflict");
        }
        if !ports::free(&needs.ports, &self.ports) {
            return says("node(s) didn't have free ports for the requested pod ports");
        }
        // A node that does not know a resource limits only what it must provide itself.
        needs.amounts.iter().find_map(|(resource, needed)| match self.free.get(resource) {
            Some(free) if needed <= free => None,
            Some(_) if resource == PODS => says("Too many pods"),
            Some(_) => Some(format!("Insufficient {resource}")),
            None if resource == PODS || *needed == 0 => None,
            None => Some(format!("Insufficient {resource}")),
        })
    }
}

/// Whether a node is ready; nothing if it has not said.
pub(crate) fn readiness(node: &Node) -> Option<bool> {
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.find(|condition| condition.type_ == "Ready").map(|condition| condition.status == "True")
}

/// Taints that keep a pod from a node.
pub(crate) fn untolerated<'a>(spec: &'a PodSpec, node: &'a Node) -> impl Iterator<Item = &'a Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect != "PreferNoSchedule" && !is_tolerated(spec, taint))
}

/// Whether the node is closed to the pod. It stands for a taint, which a pod may tolerate.
fn is_cordoned(spec: &PodSpec, node: &Node) -> bool {
    let taint = Taint { key: UNSCHEDULABLE.into(), effect: "NoSchedule".into(), ..Taint::default() };
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) && !is_tolerated(spec, &taint)
}

fn is_tolerated(spec: &PodSpec, taint: &Taint) -> bool {
    spec.tolerations.iter().flatten().any(|toleration| tolerates(toleration, taint))
}

fn amounts<'a>(quantities: impl Iterator<Item = (&'a String, &'a Quantity)>) -> Amounts {
    quantities
        // Byte counts beyond the range of thousandths count as without limit.
        .map(|(name, value)| (name.clone(), quantity::milli(&value.0).unwrap_or(u64::MAX)))
        .collect()
}

/// Whether a toleration covers a taint (core/v1 Toleration).
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let blank = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
    let operator = toleration.operator.as_deref().filter(|operator| !operator.is_empty()).unwrap_or("Equal");
    let exists = operator == "Exists";
    let key = if blank(&toleration.key) { exists } else { toleration.key.as_deref() == Some(taint.key.as_str()) };
    let effect = blank(&toleration.effect) || toleration.effect.as_deref() == Some(taint.effect.as_str());
    let same = || toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default();
    key && effect && (exists || operator == "Equal" && same())
}
