//! Making objects.

use api::{FieldError, Kind, meta::is_dns_subdomain};
use keyspace::{Compare, Op, Put, Txn};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    store::{Registry, Stored, key},
    update::Part,
};
use crate::{
    failure::{Failure, Outcome},
    limits,
    managed::{Change, Entries},
    object,
    options::{FieldValidation, WriteOptions},
};

/// An object after a write, and what the client should be warned of.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) stored: Stored,
    /// Texts of warnings: fields that were dropped, and fields without effect.
    pub(crate) warnings: Vec<String>,
    /// Whether it was not there before.
    pub(crate) created: bool,
}

/// Metadata that only the server writes.
const SERVER_OWNED: [&str; 8] = [
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "resourceVersion",
    "managedFields",
];

impl Registry {
    /// Makes an object. The name may come from `generateName`.
    pub(crate) async fn create(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        document: Value,
        options: &WriteOptions,
    ) -> Outcome<Written> {
        let generated =
            object::name(&document).is_empty() && !object::text(&document, "/metadata/generateName").is_empty();
        let attempts = if generated { limits::MAX_NAME_ATTEMPTS } else { 1 };
        let mut last = None;
        for _ in 0..attempts {
            match self.create_named(kind, namespace, document.clone(), options, Change::Updated).await {
                Err(failure) if failure.status.reason == "AlreadyExists" => last = Some(failure),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| Failure::bad_request("no name could be made")))
    }

    /// Makes an object of this very name; `change` says who owns it then.
    pub(super) async fn create_named(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        mut document: Value,
        options: &WriteOptions,
        change: Change<'_>,
    ) -> Outcome<Written> {
        prepare(kind, namespace, &mut document)?;
        self.take_service_account(kind, namespace, &mut document).await?;
        object::set_meta(&mut document, "uid", Some(Uuid::new_v4().to_string().into()));
        object::set_meta(&mut document, "creationTimestamp", Some(object::time(self.now())));
        let (mut object, warnings) = admit(kind, document, None, options)?;
        if object.get("spec").is_some() {
            object::set_meta(&mut object, "generation", Some(1.into()));
        }
        if kind.kind == "Namespace" {
            let name = object::name(&object).to_owned();
            label_namespace(&mut object, &name);
        }
        self.sign(
            kind,
            &Value::Null,
            &mut object,
            Entries::default(),
            &self.writer(kind, Part::Main, options),
            change,
        )?;
        let key = key(kind, namespace, object::name(&object));
        for _ in 0..limits::MAX_WRITE_ATTEMPTS {
            let mut candidate = object.clone();
            let mut compares = vec![Compare::absent(key.clone())];
            let mut ops = Vec::new();
            if let Some(namespace) = namespace {
                compares.extend(self.namespace_open(namespace).await?);
            }
            let claim = self.claim_address(kind, &mut candidate).await?;
            compares.extend(claim.compares);
            ops.extend(claim.ops);
            let lease = if kind.kind == "Event" && !options.dry_run { self.event_lease(self.now()).await? } else { 0 };
            let value = self.value(kind, &key, &candidate)?.into();
            ops.push(Op::Put(Put { key: key.clone().into(), value, lease, ..Put::default() }));
            if self.find(kind, namespace, object::name(&object)).await?.is_some() {
                return Err(exists(kind, object::name(&object)));
            }
            if options.dry_run {
                let stored = Stored { object: candidate, revision: self.newest().await?, lease };
                return Ok(Written { stored, warnings, created: true });
            }
            let answer = match self.keyspace.txn(Txn::when(compares).then(ops)).await {
                Err(keyspace::Error::Refused(keyspace::Refusal::LeaseNotFound { .. })) => {
                    self.forget_event_lease();
                    continue;
                }
                other => other?,
            };
            if answer.succeeded {
                let stored = Stored { object: candidate, revision: answer.revision, lease };
                return Ok(Written { stored, warnings, created: true });
            }
        }
        Err(Failure::conflict(kind, object::name(&object), "its namespace or address kept changing"))
    }
}

fn exists(kind: &Kind, name: &str) -> Failure {
    api::Status::already_exists(&kind.resource(), name).into()
}

/// Labels a namespace with its own name, so that selectors can name it.
fn label_namespace(object: &mut Value, name: &str) {
    if let Some(meta) = object::meta_mut(object) {
        let labels = meta.entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert("kubernetes.io/metadata.name".into(), name.into());
        }
    }
}

/// Makes a client's document ready for admission: namespace and name from the request, nothing of the server's.
fn prepare(kind: &Kind, namespace: Option<&str>, document: &mut Value) -> Outcome<()> {
    place(kind, namespace, document)?;
    if !object::text(document, "/metadata/resourceVersion").is_empty() {
        return Err(Failure::bad_request("resourceVersion should not be set on objects to be created"));
    }
    if document.pointer("/metadata/generation").and_then(Value::as_i64).is_some_and(i64::is_negative) {
        let errors = [FieldError::invalid("metadata.generation", "must not be negative")];
        return Err(Failure::invalid(kind, object::name(document), &errors));
    }
    for field in SERVER_OWNED {
        object::set_meta(document, field, None);
    }
    if kind.has_status {
        object::set(document, "status", None);
    }
    let base = object::text(document, "/metadata/generateName").to_owned();
    if object::name(document).is_empty() && !base.is_empty() {
        let name = generated_name(&base);
        if !is_dns_subdomain(&name) {
            let message = format!("{base:?} followed by random characters is no name (RFC 1123 subdomain)");
            let errors = [FieldError::invalid("metadata.generateName", message)];
            return Err(Failure::invalid(kind, &base, &errors));
        }
        object::set_meta(document, "name", Some(name.into()));
    }
    Ok(())
}

/// Checks that a document is an object for this place, and names the place in it.
pub(super) fn place(kind: &Kind, namespace: Option<&str>, document: &mut Value) -> Outcome<()> {
    if object::meta_mut(document).is_none() {
        return Err(Failure::bad_request("the body must be a JSON object, and its metadata too"));
    }
    let said = object::namespace(document);
    match namespace {
        Some(namespace) if !said.is_empty() && said != namespace => Err(Failure::bad_request(format!(
            "the namespace of the provided object does not match the namespace sent on the request: {said:?} is not {namespace:?}"
        ))),
        Some(namespace) => {
            object::set_meta(document, "namespace", Some(namespace.into()));
            Ok(())
        }
        None if kind.is_namespaced() => {
            Err(Failure::bad_request("a namespace is needed: use /namespaces/{namespace}/ in the path"))
        }
        None => Ok(()),
    }
}

/// Admission: defaults, validation, and what to do with fields that are unknown or given twice. Answers the object and
/// texts of warnings.
pub(super) fn admit(
    kind: &Kind,
    document: Value,
    old: Option<&Value>,
    options: &WriteOptions,
) -> Outcome<(Value, Vec<String>)> {
    let name = object::name(&document).to_owned();
    let admitted = kind.admit(document, old).map_err(|errors| Failure::invalid(kind, &name, &errors))?;
    if options.validation == FieldValidation::Ignore {
        return Ok((admitted.object, admitted.warnings));
    }
    let duplicates = options.duplicates.iter().map(|path| format!("duplicate field \"{path}\""));
    let unknown = admitted.unknown.iter().map(|path| format!("unknown field \"{path}\""));
    let mut faults: Vec<String> = duplicates.chain(unknown).collect();
    if options.validation == FieldValidation::Strict && !faults.is_empty() {
        return Err(strictly(kind, &name, &faults.join(", "), options.patched));
    }
    faults.extend(admitted.warnings);
    Ok((admitted.object, faults))
}

/// What `fieldValidation=Strict` says of fields that would have had no effect.
fn strictly(kind: &Kind, name: &str, faults: &str, patched: bool) -> Failure {
    let remedy = "remove these fields, or use fieldValidation=Warn";
    if patched {
        let errors = [FieldError::invalid("patch", format!("strict decoding error: {faults}"))];
        return Failure::invalid(kind, name, &errors).remedy(remedy);
    }
    let (name, version) = (kind.kind, kind.version);
    let message =
        format!("{name} in version {version:?} cannot be handled as a {name}: strict decoding error: {faults}");
    Failure::bad_request(message).remedy(remedy)
}

/// A base and some characters that no word is made of, as Kubernetes draws them.
fn generated_name(base: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let room = api::meta::LABEL_MAX - limits::GENERATED_SUFFIX;
    let random = Uuid::new_v4();
    let suffix = random.as_bytes().iter().take(limits::GENERATED_SUFFIX);
    let base: String = base.chars().take(room).collect();
    base + &suffix.map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect::<String>()
}
