//! What becomes of each field of each kind: one row a field, for everything the schema knows.
//!
//! A field that is accepted must have its effect; else the client is told. So a row says one of: it is *done*; it is
//! *refused*, because who sets it asks for safety or for another outcome; it is *warned* of, because it is a wish that
//! may go unheard. Admission walks an object along its table, and refuses and warns by what it finds: the table is not
//! about the behaviour, it is the behaviour. A test walks the schema of each kind along the same table and fails for a
//! field without a row, and for a row without a field.
//!
//! Types that several kinds share (containers, probes, selectors) have one table, which the others refer to.

pub(crate) mod batch;
mod claim;
mod container;
mod core;
mod discovery;
mod extensions;
mod lifecycle;
mod nanocloud;
mod pod;
mod rbac;
mod reference;
mod scheduling;
mod security;
mod service;
mod stateful_set;
mod volume;
pub(crate) mod workload;

use serde_json::Value;

pub(crate) use self::{
    claim::PERSISTENT_VOLUME_CLAIM,
    core::{CONFIG_MAP, EVENT, LEASE, LIMIT_RANGE, NAMESPACE, NODE, SECRET, SERVICE_ACCOUNT},
    discovery::{ENDPOINT_SLICE, ENDPOINTS},
    extensions::CUSTOM_RESOURCE_DEFINITION,
    nanocloud::{BINDING, BUNDLE, TOKEN},
    pod::POD,
    rbac::{CLUSTER_ROLE, ROLE, ROLE_BINDING},
    service::SERVICE,
    stateful_set::{CONTROLLER_REVISION, STATEFUL_SET},
};
use crate::{field_error::FieldError, path::Path};

/// The fields of a type, each with what becomes of it.
#[derive(Debug)]
pub struct Shape(&'static [Row]);

/// One field of a type.
#[derive(Debug)]
struct Row {
    field: &'static str,
    treatment: Treatment,
}

/// What becomes of a field.
#[derive(Debug)]
enum Treatment {
    /// It has its effect. Single values may still be refused by the kind's validation.
    Done,
    /// A type of its own, or a list of such items: each field as its table says.
    Of(&'static Shape),
    /// A map of such types.
    Each(&'static Shape),
    /// Metadata, which the server treats alike for all kinds.
    Shared,
    /// A type of which the kind's own validation looks at each field, such as a schema, which holds itself.
    Walked,
    /// What is observed; written by the kind's own controllers.
    Reported,
    /// A detail of another field of the same type, and treated with it.
    Detail,
    /// Refused with 422, unless it has one of these values, which ask for what is done anyway.
    Refused { reason: &'static str, but: &'static [&'static str], remedy: &'static str },
    /// Accepted, unless it has one of these values with a warning that says what does not happen.
    Warned { but: &'static [&'static str], effect: &'static str },
}

const fn row(field: &'static str, treatment: Treatment) -> Row {
    Row { field, treatment }
}

/// A field that has its effect.
const fn done(field: &'static str) -> Row {
    row(field, Treatment::Done)
}

/// A field, or list, of a type with fields of its own.
const fn of(field: &'static str, shape: &'static Shape) -> Row {
    row(field, Treatment::Of(shape))
}

/// A map whose values are of a type with fields of its own.
const fn each(field: &'static str, shape: &'static Shape) -> Row {
    row(field, Treatment::Each(shape))
}

/// The metadata of an object or a template.
const fn shared(field: &'static str) -> Row {
    row(field, Treatment::Shared)
}

/// A field of a type that the kind's validation walks.
const fn walked(field: &'static str) -> Row {
    row(field, Treatment::Walked)
}

/// The status of a kind.
const fn reported(field: &'static str) -> Row {
    row(field, Treatment::Reported)
}

/// A detail of a field that is refused or warned of.
const fn detail(field: &'static str) -> Row {
    row(field, Treatment::Detail)
}

/// A field that may not be set, but to one of the values in `but`: scalars as text, and `{}` for no fields at all.
const fn refused(field: &'static str, but: &'static [&'static str], remedy: &'static str) -> Row {
    row(field, Treatment::Refused { reason: "FieldValueForbidden", but, remedy })
}

/// A field of which only these values are served.
const fn only(field: &'static str, but: &'static [&'static str], remedy: &'static str) -> Row {
    row(field, Treatment::Refused { reason: "FieldValueNotSupported", but, remedy })
}

/// A field whose wish goes unheard, unless it is one of the values in `but`.
const fn warned(field: &'static str, but: &'static [&'static str], effect: &'static str) -> Row {
    row(field, Treatment::Warned { but, effect })
}

/// What a table finds in an object.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Fields that must not be set.
    pub refused: Vec<FieldError>,
    /// Texts of warnings about fields that go unheard.
    pub warnings: Vec<String>,
}

impl Shape {
    /// Walks an object. What `before` has already is let pass, so that objects of older versions can still be changed
    /// elsewhere.
    pub fn examine(&self, object: &Value, before: Option<&Value>) -> Findings {
        let mut findings = Findings::default();
        self.walk(object, before, &Path::ROOT, &mut findings);
        findings
    }

    fn row(&self, field: &str) -> Option<&Row> {
        self.0.iter().find(|row| row.field == field)
    }

    fn walk(&self, value: &Value, before: Option<&Value>, path: &Path<'_>, findings: &mut Findings) {
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let before = before.and_then(|list| list.get(index));
                    if before != Some(item) {
                        self.walk(item, before, &path.index(index), findings);
                    }
                }
            }
            Value::Object(fields) => {
                for (name, value) in fields {
                    let before = before.and_then(|object| object.get(name));
                    if before != Some(value)
                        && let Some(row) = self.row(name)
                    {
                        row.treatment.apply(value, before, &path.field(name), findings);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Treatment {
    fn apply(&self, value: &Value, before: Option<&Value>, path: &Path<'_>, findings: &mut Findings) {
        match self {
            Self::Of(shape) => shape.walk(value, before, path, findings),
            Self::Each(shape) => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    let before = before.and_then(|map| map.get(key));
                    if before != Some(value) {
                        shape.walk(value, before, &path.key(key), findings);
                    }
                }
            }
            Self::Refused { reason, but, remedy } if is_set(value, but) => {
                findings.refused.push(FieldError { field: path.into(), reason, message: (*remedy).to_owned() });
            }
            Self::Warned { but, effect } if is_set(value, but) => findings.warnings.push(format!("{path}: {effect}")),
            _ => {}
        }
    }
}

/// Whether a value asks for something: it is there, and not one of those that ask for what is done anyway.
fn is_set(value: &Value, but: &[&str]) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty() && !but.contains(&text.as_str()),
        Value::Bool(flag) => !but.contains(&if *flag { "true" } else { "false" }),
        Value::Number(number) => !but.contains(&number.to_string().as_str()),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !(fields.is_empty() && but.contains(&"{}")),
    }
}

#[cfg(test)]
mod tests;
