//! OpenAPI 3, and the same as 2.0, built once from the kinds' schemas.

mod paths;
mod schemas;
mod v2;

use std::collections::BTreeMap;

use api::Kinds;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::{
    endpoint::{Access, Endpoint, Endpoints},
    route,
};

/// Where schemas are in a document of OpenAPI 3, as a JSON pointer and as the prefix of references.
const COMPONENTS: &str = "/components/schemas";
const SCHEMAS: &str = "#/components/schemas/";

/// The documents, as they are served.
#[derive(Debug)]
pub(crate) struct OpenApi {
    pub(crate) v2: Bytes,
    pub(crate) v2_protobuf: Bytes,
    pub(crate) index: Bytes,
    documents: BTreeMap<(String, String), Bytes>,
}

impl OpenApi {
    /// Builds every document.
    pub(crate) fn build(kinds: &Kinds, endpoints: &Endpoints) -> Self {
        let document = |group: &str, version: &str| Bytes::from(v3(kinds, endpoints, group, version).to_string());
        let documents: BTreeMap<_, Bytes> = route::groups(kinds)
            .into_iter()
            .map(|(group, version)| ((group.to_owned(), version.to_owned()), document(group, version)))
            .collect();
        let paths: Map<String, Value> = documents
            .iter()
            .map(|((group, version), text)| {
                let path = paths::prefix(group, version);
                let hash = fingerprint(text);
                (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash:016x}")}))
            })
            .collect();
        let second = v2_document(kinds, endpoints);
        Self {
            v2: second.to_string().into(),
            v2_protobuf: v2::protobuf(&second).into(),
            index: json!({"paths": paths}).to_string().into(),
            documents,
        }
    }

    /// The document of a group and version.
    pub(crate) fn document(&self, group: &str, version: &str) -> Option<&Bytes> {
        self.documents
            .iter()
            .find(|(known, _)| (&*known.0, &*known.1) == (group, version))
            .map(|(_, document)| document)
    }
}

/// FNV-1a, for cache keys: two documents of one server version differ by it.
fn fingerprint(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The rows of a group and version; those that are for no resource are in no group.
fn rows<'a>(endpoints: &'a Endpoints, group: &str, version: &str) -> impl Iterator<Item = &'a Endpoint> {
    let base = format!("/{}/", paths::prefix(group, version));
    endpoints.iter().filter(move |row| row.access != Access::Path && row.path.starts_with(&base))
}

/// The paths of a group and version. `schemas` is the prefix of references to schemas.
fn paths_of(kinds: &Kinds, endpoints: &Endpoints, group: &str, version: &str, schemas: &str) -> Map<String, Value> {
    let mut paths = paths::of(kinds, group, version, schemas);
    paths.extend(paths::fixed(rows(endpoints, group, version), schemas));
    paths
}

/// Every path that is served.
fn all_paths(kinds: &Kinds, endpoints: &Endpoints, schemas: &str) -> Map<String, Value> {
    let groups = route::groups(kinds)
        .into_iter()
        .flat_map(|(group, version)| paths_of(kinds, endpoints, group, version, schemas));
    let others = endpoints.iter().filter(|row| row.access == Access::Path);
    groups.chain(paths::fixed(others, schemas)).collect()
}

fn v3(kinds: &Kinds, endpoints: &Endpoints, group: &str, version: &str) -> Value {
    json!({
        "openapi": "3.0.0",
        "info": {"title": "nanocloud", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths_of(kinds, endpoints, group, version, SCHEMAS),
        "components": {"schemas": schemas::of(kinds, |g, v| (g, v) == (group, version), COMPONENTS)},
    })
}

/// All groups in one document.
#[cfg(test)]
fn whole(kinds: &Kinds, endpoints: &Endpoints) -> Value {
    json!({
        "openapi": "3.0.0",
        "info": {"title": "nanocloud", "version": env!("CARGO_PKG_VERSION")},
        "paths": all_paths(kinds, endpoints, SCHEMAS),
        "components": {"schemas": schemas::of(kinds, |_, _| true, COMPONENTS)},
    })
}

fn v2_document(kinds: &Kinds, endpoints: &Endpoints) -> Value {
    let mut definitions = schemas::of(kinds, |_, _| true, "/definitions");
    for schema in definitions.as_object_mut().into_iter().flatten().map(|(_, schema)| schema) {
        *schema = v2::schema(schema);
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "nanocloud", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths::as_v2(all_paths(kinds, endpoints, "#/definitions/")),
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
        let (endpoints, _) = crate::endpoints::table();
        for kind in api::kinds::all() {
            let document = v3(&Kinds::builtin(), &endpoints, kind.group(), kind.version());
            check_references(&document, &document);
            let gvk = json!([{"group": kind.group(), "version": kind.version(), "kind": kind.kind()}]);
            let schemas = document["components"]["schemas"].as_object().unwrap();
            let schema = schemas.values().find(|schema| schema["x-kubernetes-group-version-kind"] == gvk).unwrap();
            for field in ["apiVersion", "kind", "metadata"] {
                assert!(schema["properties"].get(field).is_some(), "{kind:?} has no {field}");
            }
            let gvk =
                json!([{"group": kind.group(), "version": kind.version(), "kind": format!("{}List", kind.kind())}]);
            assert!(schemas.values().any(|schema| schema["x-kubernetes-group-version-kind"] == gvk), "{kind:?}");
        }
        let reviews = v3(&Kinds::builtin(), &endpoints, "authorization.k8s.io", "v1");
        check_references(&reviews, &reviews);
        let asked = &reviews["paths"]["/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"]["post"];
        assert_eq!(asked["x-kubernetes-group-version-kind"]["kind"], "SelfSubjectAccessReview");
        let own = v3(&Kinds::builtin(), &endpoints, "nanocloud.io", "v1");
        assert!(own["paths"].get("/apis/nanocloud.io/v1/tokens/issue").is_some());
        let v2 = v2_document(&Kinds::builtin(), &endpoints);
        check_references(&v2, &v2);
    }

    #[test]
    fn patches_name_field_validation_so_that_kubectl_lets_the_server_validate() {
        let (endpoints, _) = crate::endpoints::table();
        let document = v3(&Kinds::builtin(), &endpoints, "", "v1");
        let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
        assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Pod");
        let parameters = patch["parameters"].as_array().unwrap();
        assert!(parameters.iter().any(|parameter| parameter["name"] == "fieldValidation"));
    }
    #[test]
    fn every_row_and_every_subresource_is_described_under_a_name_of_its_own() {
        let (endpoints, handlers) = crate::endpoints::table();
        assert_eq!(endpoints.iter().count(), handlers.len());
        let document = whole(&Kinds::builtin(), &endpoints);
        check_references(&document, &document);
        for row in endpoints.iter() {
            let operation = &document["paths"][&*row.path][row.method.as_str().to_ascii_lowercase()];
            assert_eq!(operation["operationId"], *row.operation, "{} {}", row.method, row.path);
            assert!(!row.operation.is_empty() && !row.summary.is_empty(), "{} {}", row.method, row.path);
        }
        let items = document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap());
        let mut names = std::collections::BTreeSet::new();
        for name in items.filter_map(|(_, operation)| operation.get("operationId")?.as_str()) {
            assert!(names.insert(name), "two operations are called {name}");
        }
        let scale = "/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}/scale";
        assert_eq!(document["paths"][scale]["put"]["x-kubernetes-group-version-kind"]["kind"], "Scale");
        assert!(document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/exec"].get("post").is_some());
    }

    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

    fn golden() -> String {
        serde_json::to_string_pretty(&whole(&Kinds::builtin(), &crate::endpoints::table().0)).unwrap() + "\n"
    }

    #[test]
    fn the_document_in_docs_is_what_is_served() {
        let found = std::fs::read_to_string(GOLDEN).unwrap_or_default();
        assert!(found == golden(), "docs/openapi.json is not what is served; `make openapi` renews it");
    }

    #[test]
    #[ignore = "writes docs/openapi.json; `make openapi` runs it"]
    fn renew_the_document_in_docs() {
        std::fs::write(GOLDEN, golden()).unwrap();
    }
}
