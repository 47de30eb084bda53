//! Paths of the API as OpenAPI describes them.

use api::{Kind, Kinds, Subresource, review::Review};
use serde_json::{Map, Value, json};

use super::schemas::{LIST, component, component_of_review};
use crate::{
    endpoint::{Body, Endpoint, Field},
    patch::MEDIA_TYPES,
    route,
};

const JSON: &str = "application/json";

/// `api/v1` or `apis/{group}/{version}`.
pub(super) fn prefix(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// The paths of the kinds of a group and version. `schemas` is the prefix of references to schemas.
pub(super) fn of(kinds: &Kinds, group: &str, version: &str, schemas: &str) -> Map<String, Value> {
    let mut paths = Map::new();
    for kind in kinds.iter().filter(|kind| kind.group() == group && kind.version() == version) {
        let base = format!("/{}", prefix(group, version));
        let name = component(kind);
        let schema = json!({"$ref": format!("{schemas}{name}")});
        let list = json!({"$ref": format!("{schemas}{name}{LIST}")});
        let place = if kind.is_namespaced() {
            paths.insert(
                format!("{base}/{}", kind.plural()),
                json!({"get": operation(kind, "list", "ForAllNamespaces", &list, &[])}),
            );
            format!("{base}/namespaces/{{namespace}}/{}", kind.plural())
        } else {
            format!("{base}/{}", kind.plural())
        };
        paths.insert(place.clone(), collection(kind, &schema, &list));
        let one = format!("{place}/{{name}}");
        paths.insert(one.clone(), object(kind, "", &schema));
        for part in kind.subresources() {
            let item = match route::Subresource::of(kind, part.name) {
                Some(route::Subresource::Status) => object(kind, part.name, &schema),
                Some(_) => subresource(kind, &part),
                // Its paths are rows of the table of endpoints.
                None => continue,
            };
            paths.insert(format!("{one}/{}", part.name), item);
        }
    }
    paths
}

/// The endpoints of the table that are wanted, each path with its methods.
pub(super) fn fixed<'a>(rows: impl Iterator<Item = &'a Endpoint>, schemas: &str) -> Map<String, Value> {
    let mut paths = Map::new();
    for row in rows {
        let names = row.parameters();
        let parameters: Vec<_> = names
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        let item = paths.entry(row.path.clone().into_owned()).or_insert_with(|| json!({"parameters": parameters}));
        item[row.method.as_str().to_ascii_lowercase()] = described(row, schemas);
    }
    paths
}

fn described(row: &Endpoint, schemas: &str) -> Value {
    let query: Vec<_> =
        row.query.iter().map(|(name, kind)| json!({"name": name, "in": "query", "schema": {"type": kind}})).collect();
    let mut operation = json!({"operationId": row.operation, "description": row.summary, "parameters": query});
    let mut answer = json!({"type": if row.media_type == JSON { "object" } else { "string" }});
    match &row.body {
        Body::Fields(fields) if fields.is_empty() => {}
        Body::Fields(fields) => operation["requestBody"] = body(&request(fields), &[JSON]),
        Body::Review(review) => {
            let Review { group, version, kind, .. } = review;
            answer = json!({"$ref": format!("{schemas}{}", component_of_review(review))});
            operation["x-kubernetes-action"] = "post".into();
            operation["x-kubernetes-group-version-kind"] = json!({"group": group, "version": version, "kind": kind});
            operation["requestBody"] = body(&answer, &[JSON]);
        }
    }
    let code = row.success.to_string();
    operation["responses"] = json!({code: {"description": "OK", "content": {row.media_type: {"schema": answer}}}});
    operation
}

fn request(fields: &[Field]) -> Value {
    let properties: Map<_, _> = fields
        .iter()
        .map(|field| {
            let mut schema = json!({"type": field.kind, "description": field.description});
            if field.kind == "array" {
                schema["items"] = json!({"type": "string"});
            }
            (field.name.to_owned(), schema)
        })
        .collect();
    let required: Vec<_> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn collection(kind: &Kind, schema: &Value, list: &Value) -> Value {
    let mut item = json!({
        "get": operation(kind, "list", "", list, &[
            ("labelSelector", "string"), ("fieldSelector", "string"), ("limit", "integer"), ("continue", "string"),
            ("resourceVersion", "string"), ("resourceVersionMatch", "string"), ("watch", "boolean"),
            ("allowWatchBookmarks", "boolean"), ("sendInitialEvents", "boolean"), ("timeoutSeconds", "integer"),
        ]),
        "post": operation(kind, "post", "", schema, &[
            ("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"),
        ]),
    });
    if kind.facts().deletes_collection {
        let selectors = [("labelSelector", "string"), ("fieldSelector", "string")];
        item["delete"] = operation(kind, "deletecollection", "", list, &selectors);
    }
    item["post"]["requestBody"] = body(schema, &[JSON]);
    item["parameters"] = path_parameters(kind, false);
    item
}

/// The object itself, or its part of that name.
fn object(kind: &Kind, part: &str, schema: &Value) -> Value {
    let suffix = capitalised(part);
    let write = [("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
    // Strategic merge is served, but not announced: clients then use the merge keys they know, not a schema's.
    let patches: Vec<&str> = MEDIA_TYPES.into_iter().filter(|name| !name.contains("strategic")).collect();
    let patch: Vec<_> = write.into_iter().chain([("force", "boolean")]).collect();
    let mut item = json!({
        "get": operation(kind, "get", &suffix, schema, &[]),
        "put": operation(kind, "put", &suffix, schema, &write),
        "patch": operation(kind, "patch", &suffix, schema, &patch),
    });
    item["put"]["requestBody"] = body(schema, &[JSON]);
    item["patch"]["requestBody"] = body(&json!({"type": "object"}), &patches);
    if part.is_empty() {
        item["delete"] = operation(
            kind,
            "delete",
            "",
            &json!({"type": "object"}),
            &[("dryRun", "string"), ("gracePeriodSeconds", "integer"), ("propagationPolicy", "string")],
        );
    }
    item["parameters"] = path_parameters(kind, true);
    item
}

/// A part that has a shape of its own: it is answered as JSON, as text, or by a conversation.
fn subresource(kind: &Kind, part: &Subresource) -> Value {
    let mut item = json!({"parameters": path_parameters(kind, true)});
    for (verb, action) in [("get", "get"), ("create", "post"), ("update", "put"), ("patch", "patch")] {
        if !part.verbs.contains(&verb) {
            continue;
        }
        let mut operation = operation(kind, action, &capitalised(part.name), &json!({"type": "object"}), &[]);
        if let Some((group, version, kind)) = part.shape {
            operation["x-kubernetes-group-version-kind"] = json!({"group": group, "version": version, "kind": kind});
        }
        item[action] = operation;
    }
    item
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

/// `suffix` ends the identifier of the operation.
fn operation(kind: &Kind, action: &str, suffix: &str, schema: &Value, query: &[(&str, &str)]) -> Value {
    let parameters: Vec<_> =
        query.iter().map(|(name, kind)| json!({"name": name, "in": "query", "schema": {"type": kind}})).collect();
    json!({
        "operationId": format!("{action}{}{suffix}", kind.kind()),
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": kind.group(), "version": kind.version(), "kind": kind.kind()},
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": {JSON: {"schema": schema}}}},
    })
}

fn body(schema: &Value, media_types: &[&str]) -> Value {
    let content: Map<_, _> = media_types.iter().map(|name| ((*name).to_owned(), json!({"schema": schema}))).collect();
    json!({"required": true, "content": content})
}

fn path_parameters(kind: &Kind, named: bool) -> Value {
    let names = [("namespace", kind.is_namespaced()), ("name", named)];
    let wanted = names.into_iter().filter(|(_, wanted)| *wanted);
    wanted
        .map(|(name, _)| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect()
}

/// The same paths in the words of OpenAPI 2.0.
pub(super) fn as_v2(paths: Map<String, Value>) -> Value {
    let plain = |parameters: &Value| -> Vec<Value> {
        let all = parameters.as_array().into_iter().flatten();
        all.map(|parameter| {
            let mut out = parameter.clone();
            if let Some(fields) = out.as_object_mut() {
                let kind = fields.shift_remove("schema").map(|schema| schema["type"].clone()).unwrap_or_default();
                fields.insert("type".into(), kind);
            }
            out
        })
        .collect()
    };
    let mut out = Map::new();
    for (path, item) in paths {
        let mut converted = Map::new();
        for (key, value) in item.as_object().into_iter().flatten() {
            if key == "parameters" {
                converted.insert(key.clone(), json!(plain(value)));
                continue;
            }
            let mut operation = value.clone();
            let mut parameters = plain(&value["parameters"]);
            if let Some(content) = value["requestBody"]["content"].as_object() {
                let schema = content.values().next().map(|content| content["schema"].clone());
                parameters.push(json!({"name": "body", "in": "body", "required": true, "schema": schema}));
                operation["consumes"] = json!(content.keys().collect::<Vec<_>>());
            }
            operation["parameters"] = json!(parameters);
            let answers = value["responses"].as_object().into_iter().flatten().map(|(code, answer)| {
                let content = answer["content"].as_object().and_then(|content| content.values().next());
                let schema = content.map(|content| &content["schema"]);
                (code.clone(), json!({"description": answer["description"], "schema": schema}))
            });
            operation["responses"] = Value::Object(answers.collect());
            if let Some(fields) = operation.as_object_mut() {
                fields.shift_remove("requestBody");
            }
            converted.insert(key.clone(), operation);
        }
        out.insert(path, Value::Object(converted));
    }
    Value::Object(out)
}
