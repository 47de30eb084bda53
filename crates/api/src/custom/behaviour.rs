//! What a version of a CustomResourceDefinition does with its objects.

use std::{borrow::Cow, sync::OnceLock};

use jiff::Timestamp;
use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceColumnDefinition, CustomResourceDefinitionVersion, JSONSchemaProps,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use schemars::SchemaGenerator;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{fill, json_path::JsonPath, schema::Schema, validate::validate};
use crate::{
    codec::unknown_fields,
    field_error::FieldError,
    kind::{Admitted, Behaviour},
    meta::{NameRule, drop_repeated_owners},
    path::Path,
    resource::Scope,
    table::{ColumnDefinition, human_age},
};

/// The behaviour of one version. Its schema is made ready when it is used first.
pub(super) struct CustomResource {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) scope: Scope,
    pub(super) version: CustomResourceDefinitionVersion,
    pub(super) schema: OnceLock<Schema>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    metadata: ObjectMeta,
}

impl CustomResource {
    fn props(&self) -> Option<&JSONSchemaProps> {
        self.version.schema.as_ref()?.open_api_v3_schema.as_ref()
    }

    fn schema(&self) -> &Schema {
        self.schema.get_or_init(|| {
            let root = self.props().map(Schema::of).unwrap_or_default();
            Schema { embeds: true, ..root }
        })
    }

    fn expect(&self, document: &Value, field: &str, wanted: &str) -> Option<FieldError> {
        let found = document.get(field)?;
        let message = || format!("{field} is {found}, but this endpoint takes {wanted:?}");
        (found != wanted).then(|| FieldError::invalid(field, message()))
    }

    fn printed(&self) -> impl Iterator<Item = (&CustomResourceColumnDefinition, JsonPath)> {
        let columns = self.version.additional_printer_columns.iter().flatten();
        columns.filter_map(|column| Some((column, JsonPath::parse(&column.json_path).ok()?)))
    }

    /// Whether the version says itself which columns there are.
    fn has_columns(&self) -> bool {
        self.version.additional_printer_columns.as_ref().is_some_and(|columns| !columns.is_empty())
    }

    /// Errors of the metadata, and of what the schema says.
    fn check(&self, object: &Value, meta: &ObjectMeta) -> Vec<FieldError> {
        let mut errors = crate::meta::validate(meta, self.scope, NameRule::Subdomain);
        errors.extend(validate(object, self.schema(), &Path::ROOT));
        errors
    }

    fn ordered(&self, mut object: Value, meta: Value) -> Value {
        let mut out = Map::new();
        out.insert("apiVersion".into(), self.api_version.as_str().into());
        out.insert("kind".into(), self.kind.as_str().into());
        out.insert("metadata".into(), meta);
        if let Some(fields) = object.as_object_mut() {
            let rest = std::mem::take(fields).into_iter();
            out.extend(rest.filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata")));
        }
        Value::Object(out)
    }
}

fn metadata(object: &Value) -> Result<ObjectMeta, FieldError> {
    let found = serde_path_to_error::deserialize::<_, Named>(object);
    found.map(|named| named.metadata).map_err(|error| {
        FieldError::invalid(error.path().to_string().trim_start_matches('.'), error.inner().to_string())
    })
}

impl Behaviour for CustomResource {
    fn admit(&self, mut document: Value, old: Option<&Value>) -> Result<Admitted, Vec<FieldError>> {
        let wrong = [("apiVersion", &self.api_version), ("kind", &self.kind)];
        let wrong: Vec<_> = wrong.into_iter().filter_map(|(field, is)| self.expect(&document, field, is)).collect();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let mut meta = metadata(&document).map_err(|error| vec![error])?;
        let warnings = drop_repeated_owners(&mut meta);
        let known = json!(meta);
        let mut unknown: Vec<String> = unknown_fields(document.get("metadata").unwrap_or(&Value::Null), &known)
            .into_iter()
            .map(|field| format!("metadata.{field}"))
            .collect();
        unknown.extend(fill::prune(&mut document, self.schema()));
        let mut object = self.ordered(document, known);
        fill::default(&mut object, self.schema());
        let mut errors = self.check(&object, &meta);
        if let Some(old) = old.filter(|_| !errors.is_empty()) {
            // What was stored under another schema may stay; else nothing of the object could be changed any more.
            let known = self.check(old, &metadata(old).unwrap_or_default());
            errors.retain(|error| !known.contains(error));
        }
        if errors.is_empty() { Ok(Admitted { object, unknown, warnings }) } else { Err(errors) }
    }

    fn structure(&self) -> Option<&Schema> {
        Some(self.schema())
    }

    fn shown(&self, mut stored: Value) -> Value {
        fill::prune(&mut stored, self.schema());
        let meta = stored.get_mut("metadata").map(Value::take).unwrap_or_default();
        let mut object = self.ordered(stored, meta);
        fill::default(&mut object, self.schema());
        object
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut cells = vec![object.pointer("/metadata/name").cloned().unwrap_or_default()];
        if !self.has_columns() {
            let made = object.pointer("/metadata/creationTimestamp");
            cells.push(made.map_or_else(|| "".into(), |made| age(made, now)));
        }
        cells.extend(self.printed().map(|(column, path)| cell(&column.type_, path.first(object), now)));
        cells
    }

    fn columns(&self) -> Vec<ColumnDefinition> {
        let mut all = vec![ColumnDefinition::name()];
        if !self.has_columns() {
            all.push(ColumnDefinition::age());
        }
        all.extend(self.printed().map(|(column, _)| ColumnDefinition {
            name: column.name.clone().into(),
            r#type: column.type_.clone().into(),
            format: column.format.clone().unwrap_or_default().into(),
            description: column.description.clone().unwrap_or_default().into(),
            priority: column.priority.unwrap_or(0),
        }));
        all
    }

    fn fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)> {
        let text = |value: Option<&Value>| match value {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let own = self.version.selectable_fields.iter().flatten().filter_map(|field| {
            let found = JsonPath::parse(&field.json_path).ok()?;
            Some((field.json_path.trim_start_matches('.').to_owned().into(), text(found.first(object))))
        });
        let meta = ["name", "namespace"]
            .map(|field| (format!("metadata.{field}").into(), text(object.pointer(&format!("/metadata/{field}")))));
        meta.into_iter().chain(own).collect()
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> schemars::Schema {
        let mut schema = self.props().map(|props| json!(props)).unwrap_or_else(|| json!({"type": "object"}));
        if schema["properties"].is_null() {
            schema["properties"] = json!({});
        }
        for (name, description) in [
            ("apiVersion", "APIVersion defines the version of the schema of this object, with its group."),
            ("kind", "Kind is a string that names the type of this object, in CamelCase."),
        ] {
            if schema["properties"][name].is_null() {
                schema["properties"][name] = json!({"description": description, "type": "string"});
            }
        }
        let metadata = generator.subschema_for::<ObjectMeta>();
        schema["properties"]["metadata"] = json!({"description": "Standard object's metadata.", "allOf": [metadata]});
        schema.try_into().unwrap_or_default()
    }
}

fn age(time: &Value, now: Timestamp) -> Value {
    let at = time.as_str().and_then(|text| text.parse().ok());
    at.map_or_else(|| "<invalid>".into(), |at| human_age(now, at).into())
}

/// The cell of a column of this type. As in Kubernetes a value of another type is not shown.
fn cell(kind: &str, value: Option<&Value>, now: Timestamp) -> Value {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Value::Null };
    match (kind, value) {
        ("date", Value::String(_)) => age(value, now),
        ("string", Value::String(_)) | ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("string", other) => other.to_string().into(),
        ("integer", Value::Number(number)) => {
            #[expect(clippy::cast_possible_truncation, reason = "saturates, as a number that is shown may")]
            let whole = || number.as_f64().map(|number| number as i64);
            number.as_i64().or_else(whole).into()
        }
        _ => Value::Null,
    }
}
