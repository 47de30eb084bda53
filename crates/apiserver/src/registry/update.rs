//! Changing objects: replacement and patches, of the object or of its status.

use api::{FieldError, Kind, Reason, cause};
use keyspace::{Compare, Op, Put, Txn};
use serde_json::Value;

use super::{
    admit::{Target, Written, admit, place},
    metadata::{keeps_deletion, keeps_uid, readable},
    store::{Registry, Stored, key},
};
use crate::{
    api_error::{ApiError, Result},
    limits,
    managed::{self, Change, Conflict, Entries, Fields, Merged, Place, Writer},
    object,
    patch::Patch,
    query::options::WriteOptions,
    strategies,
};

/// Manager of what the server writes on its own behalf.
const SELF: &str = "apiserver";

/// How a request changes an object.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// By a whole new object.
    Replace(Value),
    /// By a patch of the current one.
    Patch(Patch),
    /// By the fields that a manager applies.
    Apply(ApplyConfig),
}

/// What a manager applies.
#[derive(Clone, Debug)]
pub(crate) struct ApplyConfig {
    /// The fields it wants, with their values.
    pub(crate) document: Value,
    /// Whether fields are taken from other managers.
    pub(crate) force: bool,
    /// Whether the caller may make the object.
    pub(crate) may_create: bool,
}

/// The whole object as it is wanted, and which managers are to own its fields.
struct DesiredObject {
    document: Value,
    owners: Entries,
    /// The fields that the config names, when one was applied.
    fields: Option<Fields>,
}

impl Edit {
    fn apply(&self, kind: &Kind, current: &Stored, target: Target, writer: &Writer) -> Result<DesiredObject> {
        let known = Entries::of(&current.object)?.unwrap_or_default();
        let document = match self {
            Self::Replace(document) => document.clone(),
            Self::Patch(patch) => patch.apply(kind, current.clone().published())?,
            Self::Apply(config) => {
                let Merged { object, fields } =
                    managed::merge(Place::root(kind), &current.clone().published(), &config.document, &known, writer);
                return Ok(DesiredObject { document: object, owners: known, fields: Some(fields) });
            }
        };
        // A writer of the object itself may change managedFields (kubectl does, on the way from
        // client-side to server-side apply).
        let spoken = if target == Target::Object { Entries::of(&document)? } else { None };
        Ok(DesiredObject { document, owners: spoken.unwrap_or(known), fields: None })
    }

    fn change<'a>(&self, fields: Option<&'a Fields>) -> Change<'a> {
        match (self, fields) {
            (Self::Apply(config), Some(fields)) => Change::Applied { fields, force: config.force },
            _ => Change::Updated,
        }
    }

    /// The revision the client insists on.
    fn precondition(&self, kind: &Kind, document: &Value, current: &Stored) -> Result<Option<u64>> {
        let text = object::text(document, "/metadata/resourceVersion");
        // A patch that leaves the version alone carries the current one, which is not a condition.
        let spoken = match self {
            Self::Replace(_) => !text.is_empty(),
            Self::Patch(_) | Self::Apply(_) => !text.is_empty() && text != current.revision.to_string(),
        };
        let wrong = || {
            let errors =
                [FieldError::invalid("metadata.resourceVersion", format!("{text:?} is not one this server gave"))];
            ApiError::invalid(kind, object::name(&current.object), &errors)
        };
        spoken.then(|| text.parse().map_err(|_| wrong())).transpose()
    }
}

impl Registry {
    /// Changes an object; without a precondition a concurrent change leads to another try.
    pub(crate) async fn update(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        edit: &Edit,
        target: Target,
        options: &WriteOptions,
    ) -> Result<Written> {
        let writer = self.writer(kind, target, options);
        for _ in 0..limits::MAX_WRITE_ATTEMPTS {
            let current = match (self.find(kind, namespace, name).await?, edit) {
                (Some(current), _) => current,
                (None, Edit::Apply(config)) if target == Target::Object => {
                    match self.create_applied(kind, namespace, name, config, options).await {
                        Err(failure) if failure.status.reason == Reason::AlreadyExists => continue,
                        other => return other,
                    }
                }
                (None, _) => return Err(ApiError::not_found(kind, name)),
            };
            let DesiredObject { document, owners, fields } = edit.apply(kind, &current, target, &writer)?;
            let insists = edit.precondition(kind, &document, &current)?;
            if insists.is_some_and(|revision| revision != current.revision) {
                return Err(ApiError::conflict(
                    kind,
                    name,
                    "the object has been modified; please apply your changes to the latest version and try again",
                ));
            }
            if object::name(&document).is_empty() {
                return Err(ApiError::bad_request("name must be provided")
                    .remedy("send the whole object, or a patch that leaves metadata.name alone"));
            }
            let (mut next, warnings) = plan(kind, namespace, document, &current.object, target, options)?;
            if let Some(author) = &options.author {
                strategies::of(kind).permit(self, kind, author, &next, Some(&current.object)).await?;
            }
            self.record_managers(kind, &current.object, &mut next, owners, &writer, edit.change(fields.as_ref()))?;
            if next == current.object || options.dry_run {
                return Ok(Written { stored: Stored { object: next, ..current }, warnings, created: false });
            }
            if let Some(stored) = self.replace(kind, namespace, name, &current, next).await? {
                return Ok(Written { stored, warnings, created: false });
            }
            if insists.is_some() {
                return Err(ApiError::conflict(kind, name, "the object was changed at the same time"));
            }
        }
        Err(ApiError::conflict(kind, name, "others kept changing it"))
    }

    /// Makes the object that a manager applies.
    async fn create_applied(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        config: &ApplyConfig,
        options: &WriteOptions,
    ) -> Result<Written> {
        if !config.may_create {
            return Err(ApiError::forbidden(format!(
                "{} {name:?} is not there, and you may not create it",
                kind.plural()
            ))
            .remedy("ask an administrator for a role or a token that covers it"));
        }
        let mut document = config.document.clone();
        let said = object::name(&document);
        if !said.is_empty() && said != name {
            return Err(other_name(said, name));
        }
        if !object::uid(&document).is_empty() {
            return Err(ApiError::conflict(kind, name, "the applied config names a uid, and no such object exists"));
        }
        object::set_meta(&mut document, "name", Some(name.into()));
        let fields = managed::fields_of(Place::root(kind), &config.document);
        let change = Change::Applied { fields: &fields, force: config.force };
        self.create_named(kind, namespace, document, options, change).await
    }

    /// The writer of a part of an object of this kind, at this time.
    pub(super) fn writer(&self, kind: &Kind, target: Target, options: &WriteOptions) -> Writer {
        let manager = if options.manager.is_empty() { SELF } else { &options.manager };
        Writer {
            manager: manager.to_owned(),
            api_version: kind.api_version(),
            subresource: target.subresource(),
            time: object::time(self.now()).as_str().unwrap_or_default().to_owned(),
        }
    }

    /// Records in the next version of an object which managers own its fields. Refuses to change what others own.
    pub(super) fn record_managers(
        &self,
        kind: &Kind,
        before: &Value,
        next: &mut Value,
        owners: Entries,
        writer: &Writer,
        change: Change<'_>,
    ) -> Result<()> {
        let owners = managed::record(Place::root(kind), before, next, owners, writer, change)
            .map_err(|conflicts| not_owned(kind, object::name(before), &conflicts))?;
        object::set_meta(next, "managedFields", owners.to_value());
        Ok(())
    }

    /// Writes the next version over exactly this one, or removes the object when nothing keeps it any more.
    /// Answers nothing when another writer was faster.
    pub(super) async fn replace(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        current: &Stored,
        next: Value,
    ) -> Result<Option<Stored>> {
        let key = key(kind, namespace, name);
        if is_finished(kind, &next) {
            let gone = self.remove(kind, &key, current).await?;
            return Ok(gone.map(|revision| Stored { object: next, revision, lease: 0 }));
        }
        let value = self.value(kind, &key, &next)?.into();
        let put = Op::Put(Put { key: key.clone().into(), value, lease: current.lease, ..Put::default() });
        let answer = self.keyspace.txn(Txn::when([Compare::unchanged(key, current.revision)]).then([put])).await?;
        Ok(answer.succeeded.then(|| Stored { object: next, revision: answer.revision, lease: current.lease }))
    }
}

/// 409 with the fields and their managers, in the words that clients of Kubernetes know.
fn not_owned(kind: &Kind, name: &str, conflicts: &[Conflict]) -> ApiError {
    let s = if conflicts.len() == 1 { "" } else { "s" };
    let list: Vec<_> = conflicts.iter().map(|c| format!("- {:?} {}: {}", c.manager, c.using, c.field)).collect();
    let message = match conflicts {
        [one] => format!("conflict with {:?} {}: {}", one.manager, one.using, one.field),
        _ => format!("conflicts with\n{}", list.join("\n")),
    };
    let status =
        api::Status::failure(Reason::Conflict, format!("Apply failed with {} conflict{s}: {message}", conflicts.len()));
    let mut failure = ApiError::from(status.about(&kind.resource(), name))
        .remedy("leave these fields to their managers, apply the values they have, or apply with force");
    failure.status.details.get_or_insert_default().causes = conflicts
        .iter()
        .map(|conflict| api::StatusCause {
            reason: cause::FIELD_MANAGER_CONFLICT.into(),
            message: format!("conflict with {:?} {}", conflict.manager, conflict.using),
            field: conflict.field.clone(),
        })
        .collect();
    failure
}

/// Whether a deletion has nothing left to wait for.
fn is_finished(kind: &Kind, object: &Value) -> bool {
    let grace = object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    object::is_deleting(object) && strategies::of(kind).all_finalizers(object).is_empty() && grace == 0
}

/// The next version of an object: the client's values where it may change them, the stored ones elsewhere. Pure.
fn plan(
    kind: &Kind,
    namespace: Option<&str>,
    mut document: Value,
    current: &Value,
    target: Target,
    options: &WriteOptions,
) -> Result<(Value, Vec<String>)> {
    place(kind, namespace, &mut document)?;
    readable(kind, &document, Some(current))?;
    if options.patched {
        keeps_uid(kind, &document, current)?;
    }
    same_identity(kind, &document, current)?;
    keeps_deletion(kind, &document, current)?;
    let strategy = strategies::of(kind);
    let wanted = match target {
        Target::Status => {
            let mut next = current.clone();
            object::set(&mut next, "status", document.get("status").cloned());
            object::set_meta(&mut next, "managedFields", None);
            if !options.by_node {
                for field in strategy.metadata_with_status() {
                    object::set_meta(&mut next, field, document.pointer(&format!("/metadata/{field}")).cloned());
                }
            }
            next
        }
        Target::Finalize => {
            let mut next = current.clone();
            strategy.finalize(&mut next, &document);
            object::set_meta(&mut next, "managedFields", None);
            next
        }
        Target::Object => {
            keep_server_fields(kind, &mut document, current);
            document
        }
    };
    let (mut next, warnings) = admit(kind, wanted, Some(current), options)?;
    let generation = current.pointer("/metadata/generation").and_then(Value::as_i64);
    // Of a custom resource without a status of its own writers, `status` is a field as any other.
    let counts_status = kind.facts().custom.is_some() && !kind.facts().has_status;
    if let Some(generation) = generation
        && object::desired_differs(current, &next, counts_status)
    {
        object::set_meta(&mut next, "generation", Some((generation + 1).into()));
    }
    Ok((next, warnings))
}

fn same_identity(kind: &Kind, document: &Value, current: &Value) -> Result<()> {
    let name = object::name(current);
    let said = object::name(document);
    if !said.is_empty() && said != name {
        return Err(other_name(said, name));
    }
    let uid = object::uid(document);
    if !uid.is_empty() && uid != object::uid(current) {
        let message =
            format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", object::uid(current));
        return Err(ApiError::conflict(kind, name, &message));
    }
    if object::is_deleting(current) {
        let before = object::finalizers(current);
        let added: Vec<_> = object::finalizers(document).into_iter().filter(|name| !before.contains(name)).collect();
        if !added.is_empty() {
            let message =
                format!("no new finalizers can be added if the object is being deleted: {}", added.join(", "));
            let error = FieldError::forbidden("metadata.finalizers", message);
            return Err(ApiError::invalid(kind, name, &[error]));
        }
    }
    Ok(())
}

fn other_name(said: &str, name: &str) -> ApiError {
    ApiError::bad_request(format!("the name of the object ({said}) does not match the name on the URL ({name})"))
}

/// Puts back what clients cannot change by writing the main object.
fn keep_server_fields(kind: &Kind, document: &mut Value, current: &Value) {
    for field in [
        "name",
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generateName",
    ] {
        let kept = current.pointer(&format!("/metadata/{field}")).cloned();
        object::set_meta(document, field, kept);
    }
    for field in ["selfLink", "resourceVersion", "managedFields"] {
        object::set_meta(document, field, None);
    }
    if kind.facts().has_status {
        object::set(document, "status", current.get("status").cloned());
    }
    strategies::of(kind).keep(document, current);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn next(kind: &str, document: Value, current: Value, target: Target) -> Value {
        let kind = api::kinds::find(kind).unwrap();
        let (current, _) = admit(kind, current, None, &WriteOptions::default()).unwrap();
        plan(kind, Some("d"), document, &current, target, &WriteOptions::default()).unwrap().0
    }

    fn pod() -> Value {
        json!({
            "metadata": {"name": "p", "namespace": "d", "uid": "u", "generation": 1},
            "spec": {"containers": [{"name": "c", "image": "i:1"}]},
            "status": {"phase": "Running"},
        })
    }

    #[test]
    fn writers_of_the_object_cannot_change_the_status_and_back() {
        let mut wish = pod();
        wish["status"]["phase"] = "Failed".into();
        wish["metadata"]["labels"] = json!({"a": "b"});
        wish["metadata"]["generation"] = 9.into();
        let main = next("pods", wish.clone(), pod(), Target::Object);
        assert_eq!(main["status"]["phase"], "Running");
        assert_eq!(main["metadata"]["labels"]["a"], "b");
        assert_eq!(main["metadata"]["generation"], 1, "labels do not change the spec");
        let status = next("pods", wish.clone(), pod(), Target::Status);
        assert_eq!(status["status"]["phase"], "Failed");
        assert_eq!(status["metadata"]["labels"]["a"], "b", "operators mark pods with their status");
        assert_eq!(status["spec"], main["spec"]);
        let kind = api::kinds::find("pods").unwrap();
        let node = WriteOptions { by_node: true, ..WriteOptions::default() };
        let (by_node, _) = plan(kind, Some("d"), wish, &main, Target::Status, &node).unwrap();
        assert_eq!((&by_node["status"]["phase"], &by_node["metadata"]), (&json!("Failed"), &main["metadata"]));
    }

    #[test]
    fn a_changed_spec_is_a_new_generation() {
        let mut wish = pod();
        wish["spec"]["containers"][0]["image"] = "i:2".into();
        assert_eq!(next("pods", wish, pod(), Target::Object)["metadata"]["generation"], 2);
    }

    #[test]
    fn a_service_keeps_its_address_when_the_client_does_not_know_it() {
        let service = |address: &str| {
            let mut service = json!({"metadata": {"name": "s", "namespace": "d"}, "spec": {"ports": [{"port": 80}]}});
            if !address.is_empty() {
                service["spec"]["clusterIP"] = address.into();
            }
            service
        };
        let kept = next("services", service(""), service("10.96.0.9"), Target::Object);
        assert_eq!(kept["spec"]["clusterIP"], "10.96.0.9");
    }

    #[test]
    fn only_finalize_changes_what_a_namespace_waits_for() {
        let namespace = |finalizers: Value| json!({"metadata": {"name": "n", "uid": "u"}, "spec": {"finalizers": finalizers}, "status": {"phase": "Active"}});
        let kept = json!(["example.com/f", "kubernetes"]);
        let change = |document: Value, target: Target| {
            let kind = api::kinds::find("namespaces").unwrap();
            plan(kind, None, document, &namespace(kept.clone()), target, &WriteOptions::default()).unwrap().0
        };
        for spec in [json!(null), json!({}), json!({"finalizers": []}), json!({"finalizers": ["kubernetes"]})] {
            let mut document = namespace(json!([]));
            document["spec"] = spec;
            for target in [Target::Object, Target::Status] {
                assert_eq!(change(document.clone(), target)["spec"]["finalizers"], kept, "{document}");
            }
        }
        let mut released = namespace(json!(["kubernetes"]));
        released["metadata"]["labels"] = json!({"a": "b"});
        let next = change(released, Target::Finalize);
        assert_eq!(next["spec"]["finalizers"], json!(["kubernetes"]));
        assert_eq!(next["metadata"].get("labels"), None, "and it changes nothing else");
        let mut ending = namespace(kept.clone());
        ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let kind = api::kinds::find("namespaces").unwrap();
        let last =
            plan(kind, None, namespace(json!([])), &ending, Target::Finalize, &WriteOptions::default()).unwrap().0;
        assert!(is_finished(kind, &last), "nothing keeps it any more: {last}");
    }

    #[test]
    fn a_secret_keeps_its_type_when_the_client_does_not_say() {
        let secret = |kind: &str| json!({"metadata": {"name": "s", "namespace": "d"}, "type": kind});
        assert_eq!(next("secrets", secret(""), secret("example.com/own"), Target::Object)["type"], "example.com/own");
    }
}
