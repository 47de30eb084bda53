//! Binding commands: one after the other, each once, and again after a pause when it fails.

use std::{collections::BTreeMap, time::Duration};

use api::{
    ObjectMeta,
    kinds::{
        Binding, Bundle, Secret,
        binding::{
            BindingParameter, BindingPhase, BindingSpec, BindingTarget, BindingUndo, SecretKey, TIMEOUT_SECONDS,
        },
        bundle::BindingRecord,
    },
    names::{annotation::RERUN_BINDINGS, finalizer::BINDING_REVOCATION},
};
use dockyard::{BindingPlan, Value};
use jiff::Timestamp;

use super::{backoff::backoff, conditions::Open, names, revoke};
use crate::{controller::Next, digest, step::Step};

/// Characters of a token before its attempt.
const TOKEN_LEN: usize = 32;

/// What is known about the bindings of a bundle.
pub(crate) struct Observed<'a> {
    pub(crate) bundle: &'a Bundle,
    pub(crate) plans: &'a [BindingPlan],
    /// Selected bundles by name.
    pub(crate) targets: &'a BTreeMap<String, Bundle>,
    /// All Binding objects of the bundle.
    pub(crate) bindings: &'a [Binding],
    pub(crate) profile_secret: Option<&'a Secret>,
    pub(crate) now: Timestamp,
}

/// What to do, what is recorded, and whether bindings are open still.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) steps: Vec<Step>,
    pub(crate) records: Vec<BindingRecord>,
    pub(crate) open: Option<Open>,
    pub(crate) next: Next,
}

/// Decides about all bindings, in order. The first open one holds up those after it.
pub(crate) fn plan(observed: &Observed<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let wanted: Vec<_> = observed.plans.iter().map(|plan| object_name(observed.bundle, plan)).collect();
    let stale = |binding: &&Binding| !wanted.iter().any(|name| binding.metadata.name.as_ref() == Some(name));
    let live = observed.bindings.iter().filter(|binding| binding.metadata.deletion_timestamp.is_none());
    outcome.steps = live.filter(stale).map(Step::delete).collect();
    for plan in observed.plans {
        if outcome.open.is_some() {
            break;
        }
        one(observed, plan, &mut outcome);
    }
    outcome
}

fn one(observed: &Observed<'_>, plan: &BindingPlan, outcome: &mut Outcome) {
    let base = token(observed, plan);
    let name = object_name(observed.bundle, plan);
    let found = observed.bindings.iter().find(|binding| binding.metadata.name.as_deref() == Some(&name));
    let profile = observed.bundle.status.as_ref().and_then(|status| status.profile.as_ref());
    let recorded = profile.into_iter().flat_map(|profile| &profile.bindings);
    let done = recorded.clone().find(|record| record.completed_at.is_some() && is_run_of(&record.token, &base));
    if let Some(record) = done {
        outcome.records.push(record.clone());
        return;
    }
    if let Some(binding) = found.filter(|binding| is_run_of(&binding.spec.token, &base)) {
        return follow(observed, plan, binding, &base, outcome);
    }
    if found.is_some_and(revoke::is_open) {
        outcome.open = Some(Open::Pending(format!("{} waits until an earlier one is taken back", plan.id)));
        return;
    }
    // A new run needs its target up.
    if let Some(wait) = target_wait(observed, plan) {
        outcome.open = Some(Open::Pending(wait));
        return;
    }
    let spec = spec(observed.bundle, plan, observed.targets, format!("{base}-1"));
    outcome.steps.push(match found {
        Some(binding) => Step::replace(&Binding { spec, ..binding.clone() }),
        None => {
            let finalizers = spec.undo.is_some().then(|| vec![BINDING_REVOCATION.name().to_owned()]);
            let metadata = ObjectMeta { finalizers, ..names::owned(observed.bundle, name) };
            Step::create(&Binding { metadata, spec, status: None })
        }
    });
    outcome.open = Some(Open::Pending(format!("{} is to run in bundle {}", plan.id, plan.target)));
}

/// Follows a run: records a success, tries again after a failure.
fn follow(observed: &Observed<'_>, plan: &BindingPlan, binding: &Binding, base: &str, outcome: &mut Outcome) {
    let attempt = binding.attempt();
    let status = binding.status.clone().unwrap_or_default();
    let mut record = BindingRecord {
        id: plan.id.clone(),
        target: plan.target.clone(),
        token: binding.spec.token.clone(),
        attempts: attempt,
        exit_code: status.exit_code,
        completed_at: None,
    };
    let how = match binding.phase() {
        BindingPhase::Completed => {
            record.completed_at = Some(status.finished_at.unwrap_or(api::Time(observed.now)));
            outcome.records.push(record);
            return;
        }
        BindingPhase::Pending | BindingPhase::Running => {
            outcome.records.push(record);
            let wait = target_wait(observed, plan);
            let message = wait.unwrap_or_else(|| format!("{} runs in bundle {}", plan.id, plan.target));
            outcome.open = Some(Open::Pending(message));
            return;
        }
        BindingPhase::Failed => match status.exit_code {
            Some(code) => format!("failed with exit code {code}"),
            None => "failed".to_owned(),
        },
        // The node may allow less time than the binding: its message says how much it was.
        BindingPhase::TimedOut => "took too long".to_owned(),
    };
    outcome.records.push(record);
    let pause = backoff(attempt);
    let ended = status.finished_at.map_or(observed.now, |time| time.0);
    let waited = Duration::try_from(observed.now.duration_since(ended)).unwrap_or_default();
    let output = if status.message.is_empty() { String::new() } else { format!(": {}", status.message) };
    outcome.open = Some(Open::Failed(format!(
        "{} in bundle {} {how} at attempt {attempt}{output}; it is tried again, see `nanocloud logs {}`",
        plan.id, plan.target, plan.target
    )));
    if waited < pause {
        outcome.next = Next::After(pause - waited);
    } else if target_wait(observed, plan).is_none() {
        let spec = spec(observed.bundle, plan, observed.targets, format!("{base}-{}", attempt.saturating_add(1)));
        outcome.steps.push(Step::replace(&Binding { spec, ..binding.clone() }));
    }
}

/// Why the target cannot run a command now.
fn target_wait(observed: &Observed<'_>, plan: &BindingPlan) -> Option<String> {
    let target = &plan.target;
    match observed.targets.get(target) {
        None => Some(format!("{} needs bundle {target}: run `nanocloud install {target}` first", plan.id)),
        Some(bundle) if !bundle.spec.start => {
            Some(format!("{} needs bundle {target}, which is stopped: run `nanocloud start {target}`", plan.id))
        }
        Some(bundle) if !bundle.is("Ready") => Some(format!("{} waits for bundle {target} to be Ready", plan.id)),
        Some(_) => None,
    }
}

fn object_name(bundle: &Bundle, plan: &BindingPlan) -> String {
    format!("{}-{}", names::name(bundle), plan.name)
}

/// Fingerprint of everything that makes a run necessary: who asks whom for what with which values.
/// The uids make a reinstalled bundle a new one; of secrets the Secret that holds them stands for all.
fn token(observed: &Observed<'_>, plan: &BindingPlan) -> String {
    let uid = |meta: &api::ObjectMeta| meta.uid.clone().unwrap_or_default();
    let target = observed.targets.get(&plan.target).map(|bundle| uid(&bundle.metadata)).unwrap_or_default();
    let annotations = observed.bundle.metadata.annotations.as_ref();
    let rerun = annotations.and_then(|all| all.get(RERUN_BINDINGS)).cloned().unwrap_or_default();
    let secret = observed.profile_secret.map(|secret| uid(&secret.metadata)).unwrap_or_default();
    let mut parts =
        vec![uid(&observed.bundle.metadata), target, secret, rerun, plan.name.clone(), plan.command.clone()];
    for (name, value) in &plan.parameters {
        let (how, text) = match value {
            Value::Literal(text) => ("=", text),
            Value::SecretRef(name) => ("@", name),
        };
        parts.extend([name.clone(), how.to_owned(), text.clone()]);
    }
    digest::hex_of(parts.iter().map(String::as_bytes))[..TOKEN_LEN].to_owned()
}

fn is_run_of(token: &str, base: &str) -> bool {
    token.rsplit_once('-').is_some_and(|(found, _)| found == base)
}

fn spec(bundle: &Bundle, plan: &BindingPlan, targets: &BTreeMap<String, Bundle>, token: String) -> BindingSpec {
    let undo = plan.undo.as_ref().map(|undo| BindingUndo {
        binding_id: undo.id.clone(),
        command: vec![undo.command.clone()],
        parameters: parameters(bundle, &undo.parameters),
    });
    BindingSpec {
        bundle: names::name(bundle).to_owned(),
        binding_id: plan.id.clone(),
        target: BindingTarget {
            bundle: plan.target.clone(),
            service: targets.get(&plan.target).map(|target| target.spec.service.clone()).unwrap_or_default(),
        },
        command: vec![plan.command.clone()],
        parameters: parameters(bundle, &plan.parameters),
        undo,
        timeout_seconds: TIMEOUT_SECONDS,
        token,
    }
}

fn parameters<'v>(
    bundle: &Bundle,
    values: impl IntoIterator<Item = (&'v String, &'v Value)>,
) -> BTreeMap<String, BindingParameter> {
    let parameter = |value: &Value| match value {
        Value::Literal(text) => BindingParameter { value: Some(text.clone()), secret_key_ref: None },
        Value::SecretRef(key) => {
            let name = names::profile_secret(names::name(bundle));
            BindingParameter { value: None, secret_key_ref: Some(SecretKey { name, key: key.clone() }) }
        }
    };
    values.into_iter().map(|(name, value)| (name.clone(), parameter(value))).collect()
}

#[cfg(test)]
mod tests;
