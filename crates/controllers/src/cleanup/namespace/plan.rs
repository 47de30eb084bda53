//! The end of a namespace, in the words of Kubernetes.

use std::collections::BTreeMap;

use api::{Kind, ObjectKey, Time, kinds::Namespace, names::finalizer::NAMESPACE_CONTENTS};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::NamespaceCondition;
use serde_json::Value;

use crate::{
    controller::{name_of, namespace_of},
    step::{Deletion, Step},
};

/// Longest message of a condition, in bytes.
const MESSAGE_MAX: usize = 4096;

/// One object in a namespace.
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) object: Value,
}

/// What is in a namespace.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) items: Vec<Item>,
    /// Kinds that could not be listed, and why.
    pub(super) unread: Vec<String>,
    /// What could not be deleted, and why.
    pub(super) failed: Vec<String>,
}

impl Contents {
    /// Whether nothing is left, as far as anybody can tell.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.unread.is_empty()
    }
}

/// The steps that delete everything that is not being deleted yet: pods first, each in its own grace.
pub(super) fn deletions(contents: &Contents) -> Vec<Step> {
    let live = contents
        .items
        .iter()
        .filter(|item| item.object.pointer("/metadata/deletionTimestamp").is_none_or(Value::is_null));
    let (pods, others): (Vec<_>, Vec<_>) = live.partition(|item| item.kind.kind() == "Pod");
    pods.into_iter().chain(others).filter_map(|item| delete(item.kind.clone(), &item.object)).collect()
}

/// The step that deletes an untyped object, as it was read.
fn delete(kind: Kind, object: &Value) -> Option<Step> {
    let uid = object.pointer("/metadata/uid").and_then(Value::as_str)?;
    let key = ObjectKey { namespace: namespace_of(object), name: name_of(object)? };
    Some(Step::Delete { kind, key, deletion: Deletion { uid: uid.to_owned(), ..Deletion::default() } })
}

/// The namespace without the finalizer that kept it; nothing if it has none.
pub(super) fn release(namespace: &Namespace) -> Option<Namespace> {
    let mut free = namespace.clone();
    let finalizers = free.spec.get_or_insert_default().finalizers.get_or_insert_default();
    let before = finalizers.len();
    finalizers.retain(|name| !NAMESPACE_CONTENTS.is(name));
    (finalizers.len() != before).then_some(free)
}

/// The step that makes the conditions say how far it is; nothing if they do.
pub(super) fn conditions(namespace: &Namespace, contents: &Contents, now: Timestamp) -> Option<Step> {
    let mut told = namespace.clone();
    let conditions = told.status.get_or_insert_default().conditions.get_or_insert_default();
    for (name, bad, reason, message) in words(contents) {
        let status = if bad { "True" } else { "False" };
        let message =
            if message.len() > MESSAGE_MAX { message.chars().take(MESSAGE_MAX / 4).collect() } else { message };
        let before = conditions.iter().position(|condition| condition.type_ == name);
        let same = before.map(|index| &conditions[index]).filter(|before| before.status == status);
        let since = same.and_then(|before| before.last_transition_time.clone()).unwrap_or(Time(now));
        let condition = NamespaceCondition {
            type_: name.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(since),
        };
        match before {
            Some(index) => conditions[index] = condition,
            None => conditions.push(condition),
        }
    }
    (told.status != namespace.status).then(|| Step::replace_status(&told))
}

type Words = (&'static str, bool, &'static str, String);

/// Condition, whether it holds, reason, message.
fn words(contents: &Contents) -> [Words; 4] {
    let (mut kinds, mut finalizers) = (BTreeMap::<String, usize>::new(), BTreeMap::<&str, usize>::new());
    for item in &contents.items {
        *kinds.entry(format!("{}.{}", item.kind.plural(), item.kind.group())).or_default() += 1;
        let held = item.object.pointer("/metadata/finalizers").and_then(Value::as_array);
        held.into_iter().flatten().filter_map(Value::as_str).for_each(|name| *finalizers.entry(name).or_default() += 1);
    }
    let counted = |name: &str, verb: &str, count: &usize| format!("{name} {verb} {count} resource instances");
    let kinds: Vec<_> = kinds.iter().map(|(name, count)| counted(name, "has", count)).collect();
    let finalizers: Vec<_> = finalizers.iter().map(|(name, count)| counted(name, "in", count)).collect();
    let or = |all: &[String], some: String, none: &str| if all.is_empty() { none.to_owned() } else { some };
    [
        (
            "NamespaceDeletionDiscoveryFailure",
            !contents.unread.is_empty(),
            if contents.unread.is_empty() { "ResourcesDiscovered" } else { "DiscoveryFailed" },
            or(
                &contents.unread,
                format!("Discovery failed for some kinds: {}", contents.unread.join("; ")),
                "All resources successfully discovered",
            ),
        ),
        (
            "NamespaceDeletionContentFailure",
            !contents.failed.is_empty(),
            if contents.failed.is_empty() { "ContentDeleted" } else { "ContentDeletionFailed" },
            or(
                &contents.failed,
                format!(
                    "Failed to delete all resource types, {} remaining: {}",
                    contents.failed.len(),
                    contents.failed.join("; ")
                ),
                "All content successfully deleted, may be waiting on finalization",
            ),
        ),
        (
            "NamespaceContentRemaining",
            !kinds.is_empty(),
            if kinds.is_empty() { "ContentRemoved" } else { "SomeResourcesRemain" },
            or(
                &kinds,
                format!("Some resources are remaining: {}", kinds.join(", ")),
                "All content successfully removed",
            ),
        ),
        (
            "NamespaceFinalizersRemaining",
            !finalizers.is_empty(),
            if finalizers.is_empty() { "ContentHasNoFinalizers" } else { "SomeFinalizersRemain" },
            or(
                &finalizers,
                format!("Some content in the namespace has finalizers remaining: {}", finalizers.join(", ")),
                "All content-preserving finalizers finished",
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use api::{Resource, decode, kinds};
    use serde_json::json;

    use super::*;

    fn item(plural: &str, name: &str, finalizers: &[&str], ending: bool) -> Item {
        let mut object =
            json!({"metadata": {"name": name, "namespace": "shop", "uid": name, "finalizers": finalizers}});
        if ending {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        Item { kind: kinds::find(plural).unwrap().clone(), object }
    }

    fn namespace() -> Namespace {
        let mut namespace: Namespace =
            decode(json!({"metadata": {"name": "shop"}, "spec": {"finalizers": ["kubernetes"]}})).unwrap();
        namespace.apply_defaults();
        namespace
    }

    #[test]
    fn pods_are_told_first_and_nobody_is_told_twice() {
        let items = vec![
            item("configmaps", "a", &[], false),
            item("configmaps", "b", &[], true),
            item("pods", "p", &[], false),
        ];
        let steps = deletions(&Contents { items, ..Contents::default() });
        let names = steps.iter().map(|step| match step {
            Step::Delete { key, .. } => key.name.as_str(),
            other => panic!("{other:?}"),
        });
        assert_eq!(names.collect::<Vec<_>>(), ["p", "a"]);
    }

    #[test]
    fn the_namespace_goes_without_its_finalizer_only() {
        let free = release(&namespace()).unwrap();
        assert_eq!(free.spec.as_ref().unwrap().finalizers.as_deref(), Some(&[][..]));
        assert!(release(&free).is_none());
    }

    #[test]
    fn conditions_say_what_remains_and_since_when() {
        let (early, late) = ("2026-01-01T00:00:00Z".parse().unwrap(), "2026-01-01T00:01:00Z".parse().unwrap());
        let items = || {
            vec![
                item("pods", "p", &[], true),
                item("pods", "q", &["x/y"], true),
                item("statefulsets", "s", &["x/y", "x/z"], true),
            ]
        };
        let contents = Contents { items: items(), unread: vec!["secrets: sealed".into()], failed: Vec::new() };
        let Some(Step::ReplaceStatus { object, .. }) = conditions(&namespace(), &contents, early) else { panic!() };
        let told: Namespace = decode(object.clone()).unwrap();
        let message = |index: usize| object["status"]["conditions"][index]["message"].as_str().unwrap().to_owned();
        assert!(message(0).ends_with("secrets: sealed"));
        assert_eq!(
            message(2),
            "Some resources are remaining: pods. has 2 resource instances, statefulsets.apps has 1 resource instances"
        );
        assert_eq!(
            message(3),
            "Some content in the namespace has finalizers remaining: x/y in 2 resource instances, x/z in 1 resource instances"
        );
        assert!(conditions(&told, &contents, late).is_none(), "it is said once");
        let done = Contents::default();
        let Some(Step::ReplaceStatus { object, .. }) = conditions(&told, &done, late) else { panic!() };
        let after = &object["status"]["conditions"];
        assert!(after.as_array().unwrap().iter().all(|condition| condition["status"] == "False"));
        assert_eq!(after[2]["lastTransitionTime"], "2026-01-01T00:01:00Z");
        assert_eq!(after[1]["lastTransitionTime"], "2026-01-01T00:00:00Z", "it did not change");
    }
}
