//! Making objects.

use api::{FieldError, Kind, Reason, meta::is_dns_subdomain};
use keyspace::{Compare, Op, Put, Txn};
use serde_json::Value;
use uuid::Uuid;

use super::{
    admit::{Target, Written, admit, place},
    metadata::{SERVER_OWNED, readable},
    store::{Registry, Stored, key},
};
use crate::{
    api_error::{ApiError, Result},
    limits,
    managed::{Change, Entries},
    object,
    query::options::WriteOptions,
    strategies,
};

impl Registry {
    /// Makes an object. The name may come from `generateName`.
    pub(crate) async fn create(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        document: Value,
        options: &WriteOptions,
    ) -> Result<Written> {
        let generated =
            object::name(&document).is_empty() && !object::text(&document, "/metadata/generateName").is_empty();
        let attempts = if generated { limits::MAX_NAME_ATTEMPTS } else { 1 };
        let mut last = None;
        for _ in 0..attempts {
            match self.create_named(kind, namespace, document.clone(), options, Change::Updated).await {
                Err(failure) if failure.status.reason == Reason::AlreadyExists => last = Some(failure),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| ApiError::bad_request("no name could be made")))
    }

    /// Makes an object of this name; `change` says which manager owns its fields.
    pub(super) async fn create_named(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        mut document: Value,
        options: &WriteOptions,
        change: Change<'_>,
    ) -> Result<Written> {
        prepare(kind, namespace, &mut document)?;
        let strategy = strategies::of(kind);
        let sent = document.clone();
        strategy.fill(self, namespace, &mut document).await?;
        // What is filled in from other objects belongs to no manager: who applies the object again does not remove it.
        let owned = if sent == document { None } else { Some(admit(kind, sent, None, options)?.0) };
        object::set_meta(&mut document, "uid", Some(Uuid::new_v4().to_string().into()));
        object::set_meta(&mut document, "creationTimestamp", Some(object::time(self.now())));
        let (mut object, warnings) = admit(kind, document, None, options)?;
        if let Some(author) = &options.author {
            strategy.permit(self, kind, author, &object, None).await?;
        }
        if object.get("spec").is_some() {
            object::set_meta(&mut object, "generation", Some(1.into()));
        }
        strategy.complete(&mut object);
        let writer = self.writer(kind, Target::Object, options);
        let record =
            |next: &mut Value| self.record_managers(kind, &Value::Null, next, Entries::default(), &writer, change);
        match owned {
            None => record(&mut object)?,
            Some(mut owned) => {
                record(&mut owned)?;
                let managers = owned.pointer("/metadata/managedFields").cloned();
                object::set_meta(&mut object, "managedFields", managers);
            }
        }
        let key = key(kind, namespace, object::name(&object));
        for _ in 0..limits::MAX_WRITE_ATTEMPTS {
            let mut candidate = object.clone();
            let mut compares = vec![Compare::absent(key.clone())];
            let mut ops = Vec::new();
            if let Some(namespace) = namespace {
                compares.push(self.namespace_open(namespace).await?);
            }
            let claim = strategy.claim(self, kind, &mut candidate).await?;
            compares.extend(claim.compares);
            ops.extend(claim.ops);
            let lease = match kind.facts().ttl_seconds {
                Some(ttl) if !options.dry_run => self.leases.lease(&*self.keyspace, ttl, self.now()).await?,
                _ => 0,
            };
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
                    self.leases.forget();
                    continue;
                }
                other => other?,
            };
            if answer.succeeded {
                let stored = Stored { object: candidate, revision: answer.revision, lease };
                return Ok(Written { stored, warnings, created: true });
            }
        }
        Err(ApiError::conflict(kind, object::name(&object), "its namespace or address kept changing"))
    }
}

fn exists(kind: &Kind, name: &str) -> ApiError {
    api::Status::already_exists(&kind.resource(), name).into()
}

/// Prepares a client's document for admission: sets namespace and name, and removes what only the server writes.
fn prepare(kind: &Kind, namespace: Option<&str>, document: &mut Value) -> Result<()> {
    place(kind, namespace, document)?;
    if !object::text(document, "/metadata/resourceVersion").is_empty() {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    if document.pointer("/metadata/generation").and_then(Value::as_i64).is_some_and(i64::is_negative) {
        let errors = [FieldError::invalid("metadata.generation", "must not be negative")];
        return Err(ApiError::invalid(kind, object::name(document), &errors));
    }
    readable(kind, document, None)?;
    for field in SERVER_OWNED {
        object::set_meta(document, field, None);
    }
    if kind.facts().has_status {
        object::set(document, "status", None);
    }
    let base = object::text(document, "/metadata/generateName").to_owned();
    if object::name(document).is_empty() && !base.is_empty() {
        let name = object::generated_name(&base);
        if !is_dns_subdomain(&name) {
            let message = format!("{base:?} followed by random characters is no name (RFC 1123 subdomain)");
            let errors = [FieldError::invalid("metadata.generateName", message)];
            return Err(ApiError::invalid(kind, &base, &errors));
        }
        object::set_meta(document, "name", Some(name.into()));
    }
    Ok(())
}
