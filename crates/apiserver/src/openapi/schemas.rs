//! Schemas of kinds, as OpenAPI wants them.

use api::{
    Kind, Kinds,
    review::{self, Review},
};
use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The schemas of the kinds and reviews of the wanted groups and versions, and of all they refer to.
pub(super) fn of(kinds: &Kinds, wanted: impl Fn(&str, &str) -> bool, path: &'static str) -> Value {
    let mut settings = SchemaSettings::openapi3();
    settings.definitions_path = path.into();
    let mut generator = settings.into_generator();
    let mut roots = Vec::new();
    for kind in kinds.iter().filter(|kind| wanted(kind.group(), kind.version())) {
        let schema = kind.schema(&mut generator).to_value();
        roots.push((gvk(kind.group(), kind.version(), kind.kind()), Some(kind), component(kind), schema));
    }
    for review in review::all().iter().filter(|review| wanted(review.group, review.version)) {
        let schema = review.schema(&mut generator).to_value();
        roots.push((gvk(review.group, review.version, review.kind), None, component_of_review(review), schema));
    }
    let mut all: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    for (gvk, kind, name, schema) in roots {
        complete(gvk, all.entry(name.clone()).or_insert(schema));
        if let Some(kind) = kind {
            all.insert(format!("{name}{LIST}"), list(kind, &format!("#{path}/{name}")));
        }
    }
    Value::Object(all)
}

/// What tells clients the kind of a schema.
fn gvk(group: &str, version: &str, kind: &str) -> Value {
    json!([{"group": group, "version": version, "kind": kind}])
}

/// What the name of a kind's list adds to the kind's own.
pub(super) const LIST: &str = "List";

/// Schema of a list of objects, each of which is as `item` says.
fn list(kind: &Kind, item: &str) -> Value {
    let text = |description: &str| json!({"description": description, "type": "string"});
    json!({
        "description": format!("{} objects, and where the list stands.", kind.kind()),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text("Version of the schema of this list: group and version."),
            "kind": text("Kind of this list, in CamelCase."),
            "metadata": {
                "description": "Where the list stands (ListMeta).",
                "type": "object",
                "properties": {
                    "resourceVersion": text("Version of the collection, from which a watch can go on."),
                    "continue": text("Token for the next part, when there is one."),
                    "remainingItemCount": {
                        "description": "How many objects follow at least, when that is known.",
                        "type": "integer",
                        "format": "int64",
                    },
                },
            },
            "items": {"description": "The objects.", "type": "array", "items": {"$ref": item}},
        },
        "x-kubernetes-group-version-kind": gvk(kind.group(), kind.version(), kind.list_kind()),
    })
}

/// Name of a kind's schema.
pub(super) fn component(kind: &Kind) -> String {
    // As Kubernetes names them: the group is turned round.
    let domain = || kind.group().rsplit('.').collect::<Vec<_>>().join(".");
    referred(&kind.schema(&mut SchemaGenerator::default()))
        .unwrap_or_else(|| format!("{}.{}.{}", domain(), kind.version(), kind.kind()))
}

/// Name of a review's schema.
pub(super) fn component_of_review(review: &Review) -> String {
    referred(&review.schema(&mut SchemaGenerator::default()))
        .unwrap_or_else(|| format!("{}.{}.{}", review.group, review.version, review.kind))
}

/// The name a reference leads to.
fn referred(schema: &Schema) -> Option<String> {
    schema.get("$ref")?.as_str()?.rsplit('/').next().map(str::to_owned)
}

/// Adds what every object has and what tells clients the kind.
fn complete(gvk: Value, schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    fields.insert("x-kubernetes-group-version-kind".into(), gvk);
    let properties = fields.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        for (name, description) in [
            ("apiVersion", "Version of the schema of this object: group and version."),
            ("kind", "Kind of this object, in CamelCase."),
        ] {
            properties.entry(name).or_insert_with(|| json!({"description": description, "type": "string"}));
        }
    }
    if let Some(required) = fields.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| !matches!(name.as_str(), Some("apiVersion" | "kind" | "metadata")));
    }
}
