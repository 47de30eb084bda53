//! Deleting objects: at once, or after finalizers and, for pods, a period of grace.

use api::{
    Kind, Reason,
    kinds::pod::SECONDS_MAX,
    names::finalizer::{FOREGROUND, ORPHAN},
};
use jiff::{SignedDuration, Timestamp};
use keyspace::{Compare, KeyValue, KeyspaceExt, Op, Txn};
use serde::Deserialize;
use serde_json::{Value, json};

use super::store::{Registry, Stored, key};
use crate::{
    api_error::{ApiError, Result},
    limits, object,
    query::{
        options::{ListOptions, Selection, is_dry_run},
        params::Query,
    },
    strategies,
};

/// Options of a delete request (`meta/v1 DeleteOptions`), from body and query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeleteOptions {
    pub(crate) grace_period_seconds: Option<i64>,
    pub(crate) preconditions: Preconditions,
    pub(crate) propagation_policy: Option<String>,
    pub(crate) dry_run: Vec<String>,
    pub(crate) orphan_dependents: Option<bool>,
}

/// Conditions of the delete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Preconditions {
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

impl DeleteOptions {
    /// Reads the body's document, if there is one, and the query, which counts where the body says nothing. Asked for
    /// in either way a dry run is one.
    pub(crate) fn parse(document: Option<Value>, query: &Query) -> Result<Self> {
        let mut options: Self = match document {
            None | Some(Value::Null) => Self::default(),
            Some(document) => serde_json::from_value(document)
                .map_err(|error| ApiError::bad_request(format!("the body is no DeleteOptions: {error}")))?,
        };
        let seconds = query.get("gracePeriodSeconds").map(|text| {
            let wrong = || ApiError::bad_request(format!("gracePeriodSeconds={text:?} must be a whole number"));
            text.parse::<i64>().map_err(|_| wrong())
        });
        let seconds = seconds.transpose()?;
        // As in Kubernetes a negative period is one of a second.
        options.grace_period_seconds =
            options.grace_period_seconds.or(seconds).map(|seconds| if seconds < 0 { 1 } else { seconds });
        if options.propagation_policy.is_none() && options.orphan_dependents.is_none() {
            options.propagation_policy = query.get("propagationPolicy").map(str::to_owned);
        }
        if let Some(seconds) = options.grace_period_seconds.filter(|seconds| *seconds > SECONDS_MAX) {
            let message = format!("gracePeriodSeconds={seconds} must be at most {SECONDS_MAX}");
            return Err(ApiError::bad_request(message));
        }
        options.dry_run.extend(query.all("dryRun"));
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<()> {
        if let Some(odd) = self.dry_run.iter().find(|value| !is_dry_run(value)) {
            return Err(ApiError::bad_request(format!("dryRun={odd:?} must be All")));
        }
        match self.propagation_policy.as_deref() {
            None | Some("Background" | "Foreground" | "Orphan") => Ok(()),
            Some(other) => Err(ApiError::bad_request(format!(
                "propagationPolicy={other:?} must be Background, Foreground or Orphan"
            ))),
        }
    }

    fn is_dry(&self) -> bool {
        !self.dry_run.is_empty()
    }

    /// The finalizer by which the garbage collector carries the policy out.
    fn finalizer(&self) -> Option<&'static str> {
        match (self.propagation_policy.as_deref(), self.orphan_dependents) {
            (Some("Foreground"), _) => Some(FOREGROUND.name()),
            (Some("Orphan"), _) | (None, Some(true)) => Some(ORPHAN.name()),
            _ => None,
        }
    }
}

/// The result of a delete.
#[derive(Clone, Debug)]
pub(crate) enum Deleted {
    /// It is gone; this was its last version.
    Gone(Stored),
    /// It goes when its finalizers, or its kubelet, are done.
    Pending(Stored),
}

/// The next step of a deletion.
#[derive(Debug, PartialEq)]
enum Step {
    Remove,
    Mark(Value),
    Nothing,
}

impl Registry {
    /// Deletes an object, or begins to.
    pub(crate) async fn delete(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted> {
        strategies::of(kind).check_delete(name)?;
        for _ in 0..limits::MAX_WRITE_ATTEMPTS {
            let place = key(kind, namespace, name);
            let Some(kv) = self.keyspace.get(place.clone()).await? else {
                return Err(ApiError::not_found(kind, name));
            };
            let Some(current) = self.readable(kind, &kv) else {
                if let Some(gone) = self.remove_unreadable(kind, namespace, name, &kv, options).await? {
                    return Ok(Deleted::Gone(gone));
                }
                continue;
            };
            check_preconditions(kind, name, &current, &options.preconditions)?;
            match plan(kind, &current.object, options, self.now()) {
                Step::Remove if options.is_dry() => return Ok(Deleted::Gone(last(kind, current, self.now()))),
                Step::Remove => {
                    if let Some(revision) = self.remove(kind, &place, &current).await? {
                        return Ok(Deleted::Gone(Stored { revision, ..last(kind, current, self.now()) }));
                    }
                }
                Step::Mark(object) if options.is_dry() => return Ok(Deleted::Pending(Stored { object, ..current })),
                Step::Mark(object) => {
                    if let Some(stored) = self.replace(kind, namespace, name, &current, object).await? {
                        return Ok(Deleted::Pending(stored));
                    }
                }
                Step::Nothing => return Ok(Deleted::Pending(current)),
            }
        }
        Err(ApiError::conflict(kind, name, "others kept changing it"))
    }

    /// Deletes every selected object of a collection; answers what they were.
    pub(crate) async fn delete_collection(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        selection: &Selection,
        options: &DeleteOptions,
    ) -> Result<(Vec<Stored>, u64)> {
        let listed = self.list(kind, namespace, &ListOptions::everything(selection)).await?;
        let (found, revision) = (listed.items, listed.revision);
        let mut deleted = Vec::with_capacity(found.len());
        // Unreadable records match no selector, and are deleted only with everything.
        for key in listed.unreadable.iter().filter(|_| selection.is_everything()) {
            let (place, name) = match (namespace, key.split_once('/')) {
                (None, Some((place, name))) if kind.is_namespaced() => (Some(place), name),
                _ => (namespace, key.as_str()),
            };
            match self.delete(kind, place, name, options).await {
                Ok(Deleted::Gone(stored) | Deleted::Pending(stored)) => deleted.push(stored),
                Err(failure) if failure.status.reason == Reason::NotFound => {}
                Err(failure) => return Err(failure),
            }
        }
        for stored in found {
            let (name, place) = (object::name(&stored.object), object::namespace(&stored.object));
            match self.delete(kind, Some(place).filter(|place| !place.is_empty()), name, options).await {
                Ok(Deleted::Gone(stored) | Deleted::Pending(stored)) => deleted.push(stored),
                Err(failure) if failure.status.reason == Reason::NotFound => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok((deleted, revision))
    }

    /// Removes a record that cannot be read, of which no more is known than its place. Answers nothing when another
    /// writer was faster.
    async fn remove_unreadable(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        kv: &KeyValue,
        options: &DeleteOptions,
    ) -> Result<Option<Stored>> {
        let mut object = json!({"apiVersion": kind.api_version(), "kind": kind.kind(), "metadata": {"name": name}});
        if let Some(namespace) = namespace {
            object::set_meta(&mut object, "namespace", Some(namespace.into()));
        }
        let current = Stored { object, revision: kv.mod_revision, lease: 0 };
        // A request with a uid means another object, as far as can be known.
        check_preconditions(kind, name, &current, &options.preconditions)?;
        if options.is_dry() {
            return Ok(Some(current));
        }
        let mut ops = vec![Op::delete(kv.key.clone())];
        ops.extend(strategies::of(kind).release_lost(self, namespace, name).await?);
        let unchanged = Compare::unchanged(kv.key.clone(), kv.mod_revision);
        let answer = self.keyspace.txn(Txn::when([unchanged]).then(ops)).await?;
        tracing::warn!(kind = kind.kind(), namespace, name, "an object that cannot be read was deleted");
        Ok(answer.succeeded.then_some(Stored { revision: answer.revision, ..current }))
    }

    /// Removes exactly this version. Answers nothing when another writer was faster.
    pub(super) async fn remove(&self, kind: &Kind, key: &str, current: &Stored) -> Result<Option<u64>> {
        let mut ops = vec![Op::delete(key.to_owned())];
        ops.extend(strategies::of(kind).release(&current.object));
        let unchanged = Compare::unchanged(key.to_owned(), current.revision);
        let answer = self.keyspace.txn(Txn::when([unchanged]).then(ops)).await?;
        Ok(answer.succeeded.then_some(answer.revision))
    }
}

/// The last state of what was removed.
fn last(kind: &Kind, mut gone: Stored, now: Timestamp) -> Stored {
    strategies::of(kind).last_state(&mut gone.object, now);
    gone
}

fn check_preconditions(kind: &Kind, name: &str, current: &Stored, wanted: &Preconditions) -> Result<()> {
    let found = (object::uid(&current.object), current.revision.to_string());
    if let Some(uid) = wanted.uid.as_deref().filter(|uid| *uid != found.0) {
        let message = format!("the UID in the precondition ({uid}) does not match the UID in record ({})", found.0);
        return Err(ApiError::conflict(kind, name, &message));
    }
    if let Some(version) = wanted.resource_version.as_deref().filter(|version| *version != found.1) {
        let message = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({})",
            found.1
        );
        return Err(ApiError::conflict(kind, name, &message));
    }
    Ok(())
}

/// What a delete request does to an object. Pure.
fn plan(kind: &Kind, current: &Value, options: &DeleteOptions, now: Timestamp) -> Step {
    let mut next = current.clone();
    let deleting = object::is_deleting(current);
    if let Some(finalizer) = options.finalizer().filter(|_| !deleting) {
        let mut all = object::finalizers(current);
        if !all.contains(&finalizer) {
            all.push(finalizer);
        }
        let all = json!(all);
        object::set_meta(&mut next, "finalizers", Some(all));
    }
    let strategy = strategies::of(kind);
    if !deleting {
        strategy.begin_deletion(&mut next);
    }
    let grace = strategy.grace_seconds(current, options.grace_period_seconds);
    let held = !strategy.all_finalizers(&next).is_empty();
    if grace == 0 && !held {
        return Step::Remove;
    }
    let before = current.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    if deleting && before.is_none_or(|before| grace >= before) {
        return Step::Nothing;
    }
    let end = now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(now);
    object::set_meta(&mut next, "deletionTimestamp", Some(object::time(end)));
    object::set_meta(&mut next, "deletionGracePeriodSeconds", Some(grace.into()));
    if let Some(generation) = next.pointer("/metadata/generation").and_then(Value::as_i64).filter(|_| !deleting) {
        object::set_meta(&mut next, "generation", Some((generation + 1).into()));
    }
    Step::Mark(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(kind: &str, object: &Value, options: &DeleteOptions) -> Step {
        plan(api::kinds::find(kind).unwrap(), object, options, Timestamp::from_second(1_600_000_000).unwrap())
    }

    fn marked(step: Step) -> Value {
        match step {
            Step::Mark(object) => object,
            other => panic!("{other:?}"),
        }
    }

    fn grace(seconds: i64) -> DeleteOptions {
        DeleteOptions { grace_period_seconds: Some(seconds), ..DeleteOptions::default() }
    }

    #[test]
    fn pods_end_in_grace_once_they_are_scheduled() {
        let unscheduled = json!({"metadata": {"name": "p"}, "spec": {}});
        assert_eq!(step("pods", &unscheduled, &DeleteOptions::default()), Step::Remove);
        let running = json!({"metadata": {"name": "p", "generation": 1}, "spec": {"nodeName": "n"}});
        let ending = marked(step("pods", &running, &DeleteOptions::default()));
        assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
        assert_eq!(ending["metadata"]["deletionTimestamp"], "2020-09-13T12:27:10Z");
        assert_eq!(step("pods", &ending, &DeleteOptions::default()), Step::Nothing);
        assert_eq!(marked(step("pods", &ending, &grace(5)))["metadata"]["deletionGracePeriodSeconds"], 5);
        assert_eq!(step("pods", &ending, &grace(0)), Step::Remove);
        let done = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n"}, "status": {"phase": "Succeeded"}});
        assert_eq!(step("pods", &done, &DeleteOptions::default()), Step::Remove);
    }

    #[test]
    fn no_period_is_longer_than_time_stamps_reach() {
        let asked = |seconds: i64| {
            let body = DeleteOptions::parse(Some(json!({"gracePeriodSeconds": seconds})), &Query::parse(None));
            let query = DeleteOptions::parse(None, &Query::parse(Some(&format!("gracePeriodSeconds={seconds}"))));
            [body, query].map(|options| options.ok().and_then(|options| options.grace_period_seconds))
        };
        assert_eq!(asked(-1), [Some(1); 2], "as in Kubernetes");
        assert_eq!(asked(SECONDS_MAX), [Some(SECONDS_MAX); 2]);
        for huge in [SECONDS_MAX + 1, i64::MAX] {
            assert_eq!(asked(huge), [None; 2]);
            // As an earlier version stored it.
            let pod =
                json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": huge}});
            let ending = marked(step("pods", &pod, &DeleteOptions::default()));
            assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], SECONDS_MAX);
            assert_eq!(ending["metadata"]["deletionTimestamp"], "2088-10-01T15:40:47Z");
        }
    }

    #[test]
    fn finalizers_hold_an_object_and_policies_add_theirs() {
        let held = json!({"metadata": {"name": "c", "finalizers": ["x/y"]}});
        let marked_once = marked(step("configmaps", &held, &DeleteOptions::default()));
        assert!(object::is_deleting(&marked_once));
        assert_eq!(step("configmaps", &marked_once, &DeleteOptions::default()), Step::Nothing);
        let orphan = DeleteOptions { propagation_policy: Some("Orphan".into()), ..DeleteOptions::default() };
        let free = json!({"metadata": {"name": "c"}});
        assert_eq!(marked(step("configmaps", &free, &orphan))["metadata"]["finalizers"], json!(["orphan"]));
        let namespace = json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}});
        assert_eq!(marked(step("namespaces", &namespace, &grace(0)))["status"]["phase"], "Terminating");
        for spec in [json!(null), json!({}), json!({"finalizers": []})] {
            let bare = json!({"metadata": {"name": "n"}, "spec": spec});
            let marked = marked(step("namespaces", &bare, &DeleteOptions::default()));
            assert_eq!(marked["spec"]["finalizers"], json!(["kubernetes"]), "the contents go first");
            assert_eq!(step("namespaces", &marked, &DeleteOptions::default()), Step::Nothing);
        }
    }
}
