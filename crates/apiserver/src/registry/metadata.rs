//! Metadata that only the server writes: what clients may say of it. Pure.
//!
//! Source: `rest.BeforeCreate` and `rest.BeforeUpdate` of `k8s.io/apiserver`, and `ValidateObjectMetaAccessorUpdate` of
//! `k8s.io/apimachinery`.

use api::{FieldError, Kind, ObjectMeta};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::{
    api_error::{ApiError, Result},
    object,
};

/// Fields that clients send and that are not theirs.
pub(super) const SERVER_OWNED: [&str; 8] = [
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "resourceVersion",
    "managedFields",
];

/// Refuses what cannot be read, even where it would not count: such a document is not what its sender believes it is.
pub(super) fn readable(kind: &Kind, document: &Value, current: Option<&Value>) -> Result<()> {
    let mut errors = Vec::new();
    for field in SERVER_OWNED {
        let of = |object: &Value| object.pointer(&format!("/metadata/{field}")).cloned();
        let Some(said) = of(document).filter(|said| current.and_then(of).as_ref() != Some(said)) else { continue };
        if let Err(error) = ObjectMeta::deserialize(json!({field: said})) {
            errors.push(FieldError::invalid(format!("metadata.{field}"), error.to_string()));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(kind, object::name(document), &errors)) }
}

/// Refuses to make an object one that is being deleted, or to change when it ends: a deletion is asked for by DELETE.
/// What was stored is kept without a word, as it is for all fields that are not named here.
pub(super) fn keeps_deletion(kind: &Kind, document: &Value, current: &Value) -> Result<()> {
    let said = |field: &str, object: &Value| {
        object.pointer(&format!("/metadata/{field}")).cloned().filter(|value| !value.is_null())
    };
    let deleting = object::is_deleting(current);
    let changed = ["deletionTimestamp", "deletionGracePeriodSeconds"].into_iter().filter(|field| {
        let silent = deleting && *field == "deletionTimestamp";
        said(field, document).is_some_and(|value| !silent && said(field, current).as_ref() != Some(&value))
    });
    immutable(kind, current, changed)
}

/// Refuses a patch that gives the object another uid.
pub(super) fn keeps_uid(kind: &Kind, document: &Value, current: &Value) -> Result<()> {
    let uid = object::uid(document);
    immutable(kind, current, (!uid.is_empty() && uid != object::uid(current)).then_some("uid").into_iter())
}

fn immutable<'a>(kind: &Kind, current: &Value, fields: impl Iterator<Item = &'a str>) -> Result<()> {
    let errors: Vec<_> =
        fields.map(|field| FieldError::invalid(format!("metadata.{field}"), "field is immutable")).collect();
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(kind, object::name(current), &errors)) }
}
