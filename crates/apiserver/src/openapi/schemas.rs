//! Schemas of kinds, as OpenAPI wants them.

use api::{Kind, kinds};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The schemas of the wanted kinds and of all they refer to.
pub(super) fn of(wanted: impl Fn(&Kind) -> bool, path: &'static str) -> Value {
    let mut settings = SchemaSettings::openapi3();
    settings.definitions_path = path.into();
    let mut generator = settings.into_generator();
    let mut roots = Vec::new();
    for kind in kinds::all().iter().filter(|kind| wanted(kind)) {
        let schema = kind.schema(&mut generator).to_value();
        let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()).map(str::to_owned);
        roots.push((kind, name, schema));
    }
    let mut all: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    for (kind, name, schema) in roots {
        let name = name.unwrap_or_else(|| {
            let name = component(kind);
            all.insert(name.clone(), schema);
            name
        });
        if let Some(schema) = all.get_mut(&name) {
            complete(kind, schema);
        }
        all.insert(format!("{name}{LIST}"), list(kind, &format!("#{path}/{name}")));
    }
    Value::Object(all)
}

/// What the name of a kind's list adds to the kind's own.
pub(super) const LIST: &str = "List";

/// Schema of a list of objects, each of which is as `item` says.
fn list(kind: &Kind, item: &str) -> Value {
    let text = |description: &str| json!({"description": description, "type": "string"});
    json!({
        "description": format!("{} objects, and where the list stands.", kind.kind),
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
        "x-kubernetes-group-version-kind":
            [{"group": kind.group, "version": kind.version, "kind": format!("{}{LIST}", kind.kind)}],
    })
}

/// Name of a kind's schema.
pub(super) fn component(kind: &Kind) -> String {
    let schema = kind.schema(&mut schemars::SchemaGenerator::default()).to_value();
    let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    name.map_or_else(|| format!("{}.{}.{}", kind.group, kind.version, kind.kind), str::to_owned)
}

/// Adds what every object has and what tells clients the kind.
fn complete(kind: &Kind, schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    fields.insert(
        "x-kubernetes-group-version-kind".into(),
        json!([{"group": kind.group, "version": kind.version, "kind": kind.kind}]),
    );
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
