//! Which pods to create and which to delete, now.

use api::{kinds::Pod, names::label::POD_TEMPLATE_HASH};

use super::{
    kind::Replicated,
    view::{Observed, is_active},
};
use crate::{
    controller::Next,
    step::Step,
    workloads::{
        health, order, ownership,
        template::{self, PodNames},
    },
};

/// Most pods that are created or deleted in one pass; the changes bring the next one.
pub(super) const BURST: usize = 500;

/// What to do.
pub(super) struct Plan {
    /// Writes of pods, in order. When one fails, those behind it are not tried: pods that the server refuses are refused
    /// once a pass.
    pub(super) steps: Vec<Step>,
    /// The pods of the set, of which its status tells; none when adoption comes first, or the set is being deleted.
    pub(super) owned: Option<Vec<Pod>>,
    pub(super) next: Next,
}

/// The next steps, and when to look again.
pub(super) fn plan<S: Replicated>(observed: &Observed<S>) -> Plan {
    let set = &observed.set;
    if set.meta().deletion_timestamp.is_some() {
        return Plan { steps: Vec::new(), owned: None, next: Next::OnChange };
    }
    // A pod that has ended is nobody's to adopt.
    let owned = ownership::sort(set, set.selector().as_ref(), &observed.pods, |pod| {
        !health::has_ended(pod) || ownership::is_owned(set.meta(), &pod.metadata)
    });
    if !owned.steps.is_empty() {
        return Plan { steps: owned.steps, owned: None, next: Next::OnChange };
    }
    let active: Vec<&Pod> = owned.objects.iter().filter(|pod| is_active(pod)).collect();
    let wanted = usize::try_from(set.replicas()).unwrap_or(0);
    let steps = if active.len() < wanted {
        create(observed, (wanted - active.len()).min(BURST))
    } else {
        delete(observed, &active, (active.len() - wanted).min(BURST))
    };
    let min_ready = health::seconds(set.min_ready_seconds());
    let waits = active.iter().filter_map(|pod| health::until_available(pod, min_ready, observed.now));
    let next = waits.filter(|wait| !wait.is_zero()).map(Next::After).fold(Next::OnChange, Next::sooner);
    Plan { steps, owned: Some(owned.objects), next }
}

fn create<S: Replicated>(observed: &Observed<S>, count: usize) -> Vec<Step> {
    let set = &observed.set;
    let Some(template) = set.template() else { return Vec::new() };
    let base = format!("{}-", set.meta().name.as_deref().unwrap_or_default());
    let mut names = PodNames::new(set, &observed.pods);
    let mut steps = Vec::new();
    for _ in 0..count {
        let pod = template::pod(set, template, &base, names.next(&base));
        let news = format!("Created pod: {}", pod.metadata.name.as_deref().unwrap_or_default());
        steps.extend([Step::create(&pod), Step::normal(set, "SuccessfulCreate", news)]);
    }
    steps
}

fn delete<S: Replicated>(observed: &Observed<S>, active: &[&Pod], count: usize) -> Vec<Step> {
    let set = &observed.set;
    if count == 0 {
        return Vec::new();
    }
    let related: Vec<&Pod> = observed.pods.iter().filter(|pod| is_active(pod) && is_related(set, pod)).collect();
    let mut steps = Vec::new();
    for pod in order::by_loss(active.iter().copied(), &related).into_iter().take(count) {
        let news = format!("Deleted pod: {}", pod.metadata.name.as_deref().unwrap_or_default());
        steps.extend([Step::delete(pod), Step::normal(set, "SuccessfulDelete", news)]);
    }
    steps
}

/// Whether a pod is like those of the set: of the same deployment, though perhaps of another template of it.
fn is_related<S: Replicated>(set: &S, pod: &Pod) -> bool {
    let labels = set.template().and_then(|template| template.metadata.as_ref()?.labels.as_ref());
    let has = |(key, value): (&String, &String)| {
        key == POD_TEMPLATE_HASH || pod.metadata.labels.as_ref().and_then(|all| all.get(key)) == Some(value)
    };
    labels.into_iter().flatten().all(has)
}

#[cfg(test)]
mod tests;
