//! OpenAPI 3, and the same as 2.0, built once from the kinds' schemas.

mod paths;
mod schemas;
mod v2;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::route;

/// The documents, as they are served.
#[derive(Debug)]
pub(crate) struct OpenApi {
    pub(crate) v2: Bytes,
    pub(crate) v2_protobuf: Bytes,
    pub(crate) index: Bytes,
    pub(crate) documents: BTreeMap<(&'static str, &'static str), Bytes>,
}

impl OpenApi {
    /// Builds every document.
    pub(crate) fn build() -> Self {
        let documents: BTreeMap<_, Bytes> =
            route::groups().map(|(group, version)| ((group, version), v3(group, version).to_string().into())).collect();
        let paths: serde_json::Map<String, Value> = documents
            .iter()
            .map(|((group, version), text)| {
                let path = paths::prefix(group, version);
                let hash = fingerprint(text);
                (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash:016x}")}))
            })
            .collect();
        let second = v2_document();
        Self {
            v2: second.to_string().into(),
            v2_protobuf: v2::protobuf(&second).into(),
            index: json!({"paths": paths}).to_string().into(),
            documents,
        }
    }
}

/// FNV-1a, for cache keys: two documents of one server version differ by it.
fn fingerprint(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn v3(group: &'static str, version: &'static str) -> Value {
    json!({
        "openapi": "3.0.0",
        "info": {"title": "nanocloud", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths::of(group, version, "#/components/schemas/"),
        "components": {"schemas": schemas::of(|g, v| (g, v) == (group, version), "/components/schemas")},
    })
}

fn v2_document() -> Value {
    let mut all = serde_json::Map::new();
    for (group, version) in route::groups() {
        if let Value::Object(paths) = paths::of(group, version, "#/definitions/") {
            all.extend(paths);
        }
    }
    let mut definitions = schemas::of(|_, _| true, "/definitions");
    for schema in definitions.as_object_mut().into_iter().flatten().map(|(_, schema)| schema) {
        *schema = v2::schema(schema);
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "nanocloud", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths::as_v2(all),
        "definitions": definitions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reference of the document leads somewhere.
    fn check_references(value: &Value, document: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| check_references(item, document)),
            Value::Object(fields) => {
                if let Some(path) = fields.get("$ref").and_then(Value::as_str) {
                    let pointer = path.trim_start_matches('#');
                    assert!(document.pointer(pointer).is_some(), "{path} leads nowhere");
                }
                fields.values().for_each(|value| check_references(value, document));
            }
            _ => {}
        }
    }

    #[test]
    fn documents_hold_what_they_refer_to_and_every_kind() {
        for kind in api::kinds::all() {
            let document = v3(kind.group, kind.version);
            check_references(&document, &document);
            let gvk = json!([{"group": kind.group, "version": kind.version, "kind": kind.kind}]);
            let schemas = document["components"]["schemas"].as_object().unwrap();
            let schema = schemas.values().find(|schema| schema["x-kubernetes-group-version-kind"] == gvk).unwrap();
            for field in ["apiVersion", "kind", "metadata"] {
                assert!(schema["properties"].get(field).is_some(), "{kind:?} has no {field}");
            }
            let gvk = json!([{"group": kind.group, "version": kind.version, "kind": format!("{}List", kind.kind)}]);
            assert!(schemas.values().any(|schema| schema["x-kubernetes-group-version-kind"] == gvk), "{kind:?}");
        }
        let reviews = v3("authorization.k8s.io", "v1");
        check_references(&reviews, &reviews);
        let asked = &reviews["paths"]["/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"]["post"];
        assert_eq!(asked["x-kubernetes-group-version-kind"]["kind"], "SelfSubjectAccessReview");
        let own = v3("nanocloud.io", "v1");
        assert!(own["paths"].get("/apis/nanocloud.io/v1/tokens/issue").is_some());
        let v2 = v2_document();
        check_references(&v2, &v2);
    }

    #[test]
    fn patches_name_field_validation_so_that_kubectl_lets_the_server_validate() {
        let document = v3("", "v1");
        let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
        assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Pod");
        let parameters = patch["parameters"].as_array().unwrap();
        assert!(parameters.iter().any(|parameter| parameter["name"] == "fieldValidation"));
    }
}
