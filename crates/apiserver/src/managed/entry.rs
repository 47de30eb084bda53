//! The entries of `metadata.managedFields`.

use serde_json::{Value, json};

use super::fields::Fields;
use crate::api_error::{ApiError, Result};

/// How a manager changes an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    /// It says all that it wants.
    Apply,
    /// It changes something.
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// Who writes, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Writer {
    /// The manager's name.
    pub(crate) manager: String,
    /// API version it speaks.
    pub(crate) api_version: String,
    /// `status`, or nothing for the object itself.
    pub(crate) subresource: &'static str,
    /// When, as it is written down.
    pub(crate) time: String,
}

/// What one manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: String,
    pub(super) fields: Fields,
}

impl Entry {
    pub(super) fn is(&self, writer: &Writer, operation: Operation) -> bool {
        self.manager == writer.manager && self.operation == operation && self.subresource == writer.subresource
    }

    fn parse(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let operation = match text("operation").as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        let fields = value.get("fieldsV1").map_or_else(|| Some(Fields::default()), Fields::parse)?;
        let (manager, api_version) = (text("manager"), text("apiVersion"));
        Some(Self { manager, operation, api_version, subresource: text("subresource"), time: text("time"), fields })
    }

    fn to_value(&self) -> Value {
        let mut value = json!({
            "manager": self.manager,
            "operation": self.operation.name(),
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.to_value(),
        });
        if !self.subresource.is_empty() {
            value["subresource"] = self.subresource.clone().into();
        }
        value
    }
}

/// Who owns what of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entries(pub(super) Vec<Entry>);

impl Entries {
    /// Those of an object; nothing when it says nothing about them.
    pub(crate) fn of(object: &Value) -> Result<Option<Self>> {
        let Some(list) = object.pointer("/metadata/managedFields").filter(|list| !list.is_null()) else {
            return Ok(None);
        };
        let wrong = || ApiError::bad_request("metadata.managedFields: each entry needs an operation and FieldsV1");
        let list = list.as_array().ok_or_else(wrong)?;
        // An empty entry says: forget them all (Kubernetes).
        let spoken = list.iter().filter(|entry| entry.as_object().is_none_or(|fields| !fields.is_empty()));
        let entries = spoken.map(|entry| Entry::parse(entry).ok_or_else(wrong)).collect::<Result<_>>()?;
        Ok(Some(Self(entries)))
    }

    /// As they stand in the object; nothing when there are none.
    pub(crate) fn to_value(&self) -> Option<Value> {
        (!self.0.is_empty()).then(|| self.0.iter().map(Entry::to_value).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }

    pub(super) fn find(&self, writer: &Writer, operation: Operation) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.is(writer, operation))
    }
}
