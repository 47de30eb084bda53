//! What creating and changing have in common: where an object belongs, and admission.

use api::{FieldError, Kind};
use serde_json::Value;

use super::store::Stored;
use crate::{
    api_error::{ApiError, Result},
    object,
    query::options::{FieldValidation, WriteOptions},
};

/// An object after a write, with warnings for the client.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) stored: Stored,
    /// Texts of warnings: fields that were dropped, and fields without effect.
    pub(crate) warnings: Vec<String>,
    /// Whether it was not there before.
    pub(crate) created: bool,
}

/// Which part of the object a request may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Everything but the status, when the kind has one of its own writers.
    Object,
    /// The status alone.
    Status,
    /// The finalizers in a namespace's spec, and nothing else.
    Finalize,
}

impl Target {
    /// The subresource by which the target is written; empty for the object itself.
    pub(super) fn subresource(self) -> &'static str {
        match self {
            Self::Object => "",
            Self::Status => "status",
            Self::Finalize => "finalize",
        }
    }
}

/// Checks that a document belongs to the namespace of the request, and sets its namespace.
pub(super) fn place(kind: &Kind, namespace: Option<&str>, document: &mut Value) -> Result<()> {
    if object::meta_mut(document).is_none() {
        return Err(ApiError::bad_request("the body must be a JSON object, and its metadata too"));
    }
    let said = object::namespace(document);
    match namespace {
        Some(namespace) if !said.is_empty() && said != namespace => Err(ApiError::bad_request(format!(
            "the namespace of the provided object does not match the namespace sent on the request: {said:?} is not {namespace:?}"
        ))),
        Some(namespace) => {
            object::set_meta(document, "namespace", Some(namespace.into()));
            Ok(())
        }
        None if kind.is_namespaced() => {
            Err(ApiError::bad_request("a namespace is needed: use /namespaces/{namespace}/ in the path"))
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
) -> Result<(Value, Vec<String>)> {
    let name = object::name(&document).to_owned();
    let admitted = kind.admit(document, old).map_err(|errors| ApiError::invalid(kind, &name, &errors))?;
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

/// The failure of `fieldValidation=Strict` for unknown and duplicate fields.
fn strictly(kind: &Kind, name: &str, faults: &str, patched: bool) -> ApiError {
    let remedy = "remove these fields, or use fieldValidation=Warn";
    if patched {
        let errors = [FieldError::invalid("patch", format!("strict decoding error: {faults}"))];
        return ApiError::invalid(kind, name, &errors).remedy(remedy);
    }
    let (name, version) = (kind.kind(), kind.version());
    let message =
        format!("{name} in version {version:?} cannot be handled as a {name}: strict decoding error: {faults}");
    ApiError::bad_request(message).remedy(remedy)
}
