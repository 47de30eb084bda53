//! Which names a definition gets, and what is said of it.
//!
//! Source: `pkg/controller/status` and `pkg/controller/finalizer` of `k8s.io/apiextensions-apiserver`.

use std::collections::BTreeSet;

use api::{
    Kind, ObjectKey, Time,
    custom::{ESTABLISHED, NAMES_ACCEPTED, TERMINATING, has_condition},
    k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceDefinitionCondition, CustomResourceDefinitionNames, CustomResourceDefinitionStatus,
    },
    kinds::{self, CustomResourceDefinition},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    controller::{name_of, namespace_of},
    step::{Deletion, Step},
};

/// Names of a group that others have: those in URLs and of people, and those of kinds.
#[derive(Default)]
struct Taken {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

impl Taken {
    fn of(definition: &CustomResourceDefinition, all: &[CustomResourceDefinition]) -> Self {
        let mut taken = Self::default();
        let group = &definition.spec.group;
        let others = all.iter().filter(|other| other.metadata.name != definition.metadata.name);
        let accepted = others.filter(|other| other.spec.group == *group).filter_map(|other| other.status.as_ref());
        for names in accepted.filter_map(|status| status.accepted_names.as_ref()) {
            taken.resources.insert(names.plural.clone());
            taken.resources.extend(names.singular.clone());
            taken.resources.extend(names.short_names.iter().flatten().cloned());
            taken.kinds.insert(names.kind.clone());
            taken.kinds.extend(names.list_kind.clone());
        }
        for kind in kinds::all().iter().filter(|kind| kind.group() == group) {
            taken.resources.extend([kind.plural().to_owned(), kind.singular().to_owned()]);
            taken.resources.extend(kind.short_names().iter().map(|name| name.clone().into_owned()));
            taken.kinds.extend([kind.kind().to_owned(), kind.list_kind().to_owned()]);
        }
        taken
    }
}

/// The definition with the names that are free, and with conditions that say so.
pub(super) fn accept(
    definition: &CustomResourceDefinition,
    all: &[CustomResourceDefinition],
    now: Timestamp,
) -> CustomResourceDefinition {
    let taken = Taken::of(definition, all);
    let mut next = definition.clone();
    let status = next.status.get_or_insert_default();
    let accepted = status.accepted_names.get_or_insert_default();
    let conflicts = take_over(accepted, &definition.spec.names, &taken);
    let (word, message) = match conflicts.last() {
        Some((reason, message)) => (*reason, message.clone()),
        None => ("NoConflicts", "no conflicts found".to_owned()),
    };
    say(status, NAMES_ACCEPTED, conflicts.is_empty(), word, message, now);
    // Once established, always: objects may be there.
    if conflicts.is_empty() {
        if !has_condition(definition, ESTABLISHED) {
            let message = "the initial names have been accepted".to_owned();
            say(status, ESTABLISHED, true, "InitialNamesAccepted", message, now);
        }
    } else if !has_condition(definition, ESTABLISHED) {
        say(status, ESTABLISHED, false, "NotAccepted", "not all names are accepted".into(), now);
    }
    next
}

/// Takes over every name that is free; answers reasons and messages of those that are not.
fn take_over(
    accepted: &mut CustomResourceDefinitionNames,
    wanted: &CustomResourceDefinitionNames,
    taken: &Taken,
) -> Vec<(&'static str, String)> {
    let mut conflicts = Vec::new();
    let mut free = |names: &BTreeSet<String>, name: &str, reason| {
        let is_free = !names.contains(name);
        if !is_free {
            conflicts.push((reason, format!("{name:?} is already in use")));
        }
        is_free
    };
    if free(&taken.resources, &wanted.plural, "PluralConflict") {
        accepted.plural.clone_from(&wanted.plural);
    }
    if free(&taken.resources, wanted.singular.as_deref().unwrap_or_default(), "SingularConflict") {
        accepted.singular.clone_from(&wanted.singular);
    }
    let short = wanted.short_names.iter().flatten();
    if short.filter(|name| !free(&taken.resources, name, "ShortNamesConflict")).count() == 0 {
        accepted.short_names.clone_from(&wanted.short_names);
    }
    if free(&taken.kinds, &wanted.kind, "KindConflict") {
        accepted.kind.clone_from(&wanted.kind);
    }
    if free(&taken.kinds, wanted.list_kind.as_deref().unwrap_or_default(), "ListKindConflict") {
        accepted.list_kind.clone_from(&wanted.list_kind);
    }
    accepted.categories.clone_from(&wanted.categories);
    conflicts
}

/// The definition with the condition that so many of its objects are left.
pub(super) fn ending(definition: &CustomResourceDefinition, left: usize, now: Timestamp) -> CustomResourceDefinition {
    let mut next = definition.clone();
    let message = format!("CustomResource deletion is in progress: {left} left");
    say(next.status.get_or_insert_default(), TERMINATING, true, "InstanceDeletionInProgress", message, now);
    next
}

/// The steps that delete every object that is not being deleted yet.
pub(super) fn deletions(kind: &Kind, objects: &[Value]) -> Vec<Step> {
    let live = objects.iter().filter(|object| object.pointer("/metadata/deletionTimestamp").is_none_or(Value::is_null));
    let step = |object: &Value| {
        let uid = object.pointer("/metadata/uid").and_then(Value::as_str)?.to_owned();
        let key = ObjectKey { namespace: namespace_of(object), name: name_of(object)? };
        Some(Step::Delete { kind: kind.clone(), key, deletion: Deletion { uid, ..Deletion::default() } })
    };
    live.filter_map(step).collect()
}

fn say(
    status: &mut CustomResourceDefinitionStatus,
    name: &str,
    holds: bool,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    let word = if holds { "True" } else { "False" };
    let all = status.conditions.get_or_insert_default();
    let place = all.iter().position(|condition| condition.type_ == name);
    let same = place.map(|at| &all[at]).filter(|before| before.status == word);
    let condition = CustomResourceDefinitionCondition {
        type_: name.to_owned(),
        status: word.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: same.and_then(|before| before.last_transition_time.clone()).or(Some(Time(now))),
        ..CustomResourceDefinitionCondition::default()
    };
    match place {
        Some(at) => all[at] = condition,
        None => all.push(condition),
    }
}
