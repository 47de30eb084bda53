//! What is wrong with one field of an object.

use serde::Serialize;

/// One reason why an object was refused, addressed by its field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Path of the field, such as `spec.options.database`.
    pub field: String,
    /// Stable machine-readable reason, a Kubernetes cause such as `FieldValueInvalid`,
    /// `FieldValueRequired`, `FieldValueNotSupported` or `FieldValueUnknown`.
    pub reason: &'static str,
    /// What is wrong and what would be right, for a person.
    pub message: String,
}

impl FieldError {
    /// A value that is not acceptable.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), reason: "FieldValueInvalid", message: message.into() }
    }

    /// A field that must be given and was not.
    pub fn required(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), reason: "FieldValueRequired", message: message.into() }
    }

    /// A value outside the set of allowed ones.
    pub fn not_supported(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), reason: "FieldValueNotSupported", message: message.into() }
    }

    /// A field the kind does not have.
    pub fn unknown(field: impl Into<String>) -> Self {
        Self { field: field.into(), reason: "FieldValueUnknown", message: "unknown field".into() }
    }

    /// A field that may not be set as it is, whatever its value.
    pub fn forbidden(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), reason: "FieldValueForbidden", message: message.into() }
    }

    /// A value that is there already where it may be once only.
    pub fn duplicate(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), reason: "FieldValueDuplicate", message: message.into() }
    }

    /// More characters, bytes or items than are allowed.
    pub fn too_long(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), reason: "FieldValueTooLong", message: message.into() }
    }

    /// A reference to something that is not there.
    pub fn not_found(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), reason: "FieldValueNotFound", message: message.into() }
    }

    /// A list or map with more items than allowed.
    pub fn too_many(field: impl Into<String>, items: usize, limit: usize) -> Self {
        let message = format!("{items} items, at most {limit} are allowed");
        Self { field: field.into(), reason: "FieldValueTooMany", message }
    }

    /// A field that may not change once the object exists.
    pub fn immutable(field: impl Into<String>) -> Self {
        Self { field: field.into(), reason: "FieldValueForbidden", message: "field is immutable".into() }
    }
}
