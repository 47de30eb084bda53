//! Kinds that are defined at run time.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::server::{self, Server, Watch, ask};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const ALL: &str = "/apis/example.com/v1/namespaces/default/widgets";

fn definition() -> Value {
    let schema = |size: &str| {
        json!({"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "required": ["size"], "properties": {
                "size": {"type": size, "maximum": 9},
                "colour": {"type": "string", "default": "red"},
                "replicas": {"type": "integer", "default": 1},
                "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "required": ["name"], "properties":
                        {"name": {"type": "string"}, "count": {"type": "integer"}}}},
                "words": {"type": "array", "items": {"type": "string"}},
            }},
            "status": {"type": "object", "properties":
                {"ready": {"type": "boolean"}, "replicas": {"type": "integer"}, "selector": {"type": "string"}}},
        }}})
    };
    let scale = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector"});
    json!({"metadata": {"name": "widgets.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wi"], "categories": ["all"]},
        "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": schema("integer"),
                "subresources": {"status": {}, "scale": scale},
                "selectableFields": [{"jsonPath": ".spec.colour"}],
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]},
            {"name": "v1beta1", "served": true, "storage": false, "schema": schema("integer"), "deprecated": true},
        ],
    }})
}

/// Does what the controller of definitions does.
async fn establish(server: &Server, name: &str) {
    let path = format!("{DEFINITIONS}/{name}");
    let mut found = ask("GET", &path).send(server).await.expect(200).body;
    found["status"]["acceptedNames"] = found["spec"]["names"].clone();
    found["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    ask("PUT", &format!("{path}/status")).json(&found).send(server).await.expect(200);
}

async fn start() -> Server {
    let server = server::start().await;
    let made = ask("POST", DEFINITIONS).json(&definition()).send(&server).await.expect(201);
    assert_eq!(made.body["spec"]["names"]["listKind"], "WidgetList");
    assert_eq!(made.body["status"]["storedVersions"], json!(["v1"]));
    ask("GET", ALL).send(&server).await.expect(404);
    establish(&server, "widgets.example.com").await;
    server
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn objects_are_served_as_soon_as_their_definition_is_established() {
    let server = start().await;
    let made = ask("POST", ALL).json(&widget("a", json!({"size": 3, "odd": 1}))).send(&server).await.expect(201);
    assert_eq!(made.body["spec"], json!({"size": 3, "colour": "red", "replicas": 1}));
    assert_eq!(made.body["metadata"]["generation"], 1);
    assert!(made.headers["warning"].to_str().unwrap().contains("unknown field \\\"spec.odd\\\""));
    let strict = format!("{ALL}?fieldValidation=Strict");
    ask("POST", &strict).json(&widget("b", json!({"size": 3, "odd": 1}))).send(&server).await.expect(400);
    let refused = ask("POST", ALL).json(&widget("b", json!({"size": 10}))).send(&server).await.expect(422);
    assert_eq!(refused.body["details"]["causes"][0]["field"], "spec.size");
    assert_eq!(
        refused.body["details"]["causes"][0]["message"],
        "Invalid value: 10: spec.size in body should be less than or equal to 9"
    );

    let list = ask("GET", &format!("{ALL}?fieldSelector=spec.colour%3Dred")).send(&server).await.expect(200);
    assert_eq!(
        (list.body["kind"].as_str(), list.body["items"].as_array().map(Vec::len)),
        (Some("WidgetList"), Some(1))
    );
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = ask("GET", ALL).header("accept", accept).send(&server).await.expect(200);
    assert_eq!(table.body["rows"][0]["cells"], json!(["a", 3]));
    ask("GET", ALL).header("accept", "application/vnd.kubernetes.protobuf").send(&server).await.expect(406);
    let both = "application/vnd.kubernetes.protobuf,application/json";
    let json = ask("GET", &format!("{ALL}/a")).header("accept", both).send(&server).await.expect(200);
    assert_eq!(json.headers["content-type"], "application/json");

    let other = ask("GET", "/apis/example.com/v1beta1/namespaces/default/widgets/a").send(&server).await.expect(200);
    assert_eq!(other.body["apiVersion"], "example.com/v1beta1");
    assert!(other.headers["warning"].to_str().unwrap().contains("example.com/v1beta1 Widget is deprecated"));
    ask("GET", "/apis/example.com/v1beta1/namespaces/default/widgets/a/status").send(&server).await.expect(404);
}

#[tokio::test]
async fn status_scale_and_generation_are_kept_apart() {
    let server = start().await;
    let mut watch = Watch::open(&server, &format!("{ALL}?watch=true")).await;
    ask("POST", ALL).json(&widget("a", json!({"size": 3}))).send(&server).await.expect(201);
    assert_eq!(watch.told().await, ("ADDED".to_owned(), "a".to_owned()));
    let merge = "application/merge-patch+json";
    let status = json!({"spec": {"size": 4}, "status": {"ready": true, "replicas": 2, "selector": "a=b", "odd": 1}});
    let path = format!("{ALL}/a/status");
    let changed = ask("PATCH", &path).typed(merge, &status).send(&server).await.expect(200);
    assert_eq!(changed.body["status"], json!({"ready": true, "replicas": 2, "selector": "a=b"}));
    assert_eq!((&changed.body["spec"]["size"], &changed.body["metadata"]["generation"]), (&json!(3), &json!(1)));
    let scale = format!("{ALL}/a/scale");
    let found = ask("GET", &scale).send(&server).await.expect(200);
    assert_eq!(
        (&found.body["spec"], &found.body["status"]),
        (&json!({"replicas": 1}), &json!({"replicas": 2, "selector": "a=b"}))
    );
    ask("PATCH", &scale).typed(merge, &json!({"spec": {"replicas": 5}})).send(&server).await.expect(200);
    let object = ask("GET", &format!("{ALL}/a")).send(&server).await.expect(200);
    assert_eq!((&object.body["spec"]["replicas"], &object.body["metadata"]["generation"]), (&json!(5), &json!(2)));
    let strategic = ask("PATCH", &format!("{ALL}/a")).typed("application/strategic-merge-patch+json", &json!({}));
    strategic.send(&server).await.expect(415);
}

#[tokio::test]
async fn managers_own_items_of_lists_as_the_schema_says() {
    let server = start().await;
    let apply = async |manager: &str, spec: Value| {
        let path = format!("{ALL}/a?fieldManager={manager}");
        ask("PATCH", &path).typed("application/apply-patch+yaml", &widget("a", spec)).send(&server).await
    };
    apply("one", json!({"size": 1, "parts": [{"name": "x", "count": 1}], "words": ["a"]})).await.expect(201);
    let both = apply("two", json!({"size": 1, "parts": [{"name": "y", "count": 2}]})).await.expect(200);
    assert_eq!(both.body["spec"]["parts"], json!([{"name": "x", "count": 1}, {"name": "y", "count": 2}]));
    let taken = apply("two", json!({"size": 1, "words": ["b"]})).await.expect(409);
    assert_eq!(taken.body["details"]["causes"][0]["field"], ".spec.words", "a list without a type is one value");
    let left = apply("one", json!({"size": 1})).await.expect(200);
    assert_eq!(left.body["spec"]["parts"], json!([{"name": "y", "count": 2}]));
}

#[tokio::test]
async fn a_definition_goes_after_its_objects_and_nothing_is_made_meanwhile() {
    let server = start().await;
    ask("POST", ALL).json(&widget("a", json!({"size": 3}))).send(&server).await.expect(201);
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let mut ending = ask("DELETE", &path).send(&server).await.expect(200).body;
    assert_eq!(ending["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    ask("POST", ALL).json(&widget("b", json!({"size": 3}))).send(&server).await.expect(405);
    ask("DELETE", &format!("{ALL}/a")).send(&server).await.expect(200);
    ending["metadata"]["finalizers"] = json!([]);
    ask("PUT", &path).json(&ending).send(&server).await.expect(200);
    ask("GET", &path).send(&server).await.expect(404);
}

#[tokio::test]
async fn a_server_follows_definitions_that_others_write() {
    let server = start().await;
    let other =
        server::start_over(server.keyspace.clone(), server.security.clone(), Arc::new(server::ScriptedPods)).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let (api, until) = (other.api.clone(), stop.clone());
    let follower = tokio::spawn(async move { api.follow_definitions(until).await });
    ask("POST", ALL).json(&widget("a", json!({"size": 3}))).send(&other).await.expect(201);
    let groups = ask("GET", "/apis").send(&other).await.expect(200);
    assert!(groups.body["groups"].as_array().unwrap().iter().any(|group| group["name"] == "example.com"));
    let document = ask("GET", "/openapi/v3/apis/example.com/v1").send(&other).await.expect(200);
    let schema = &document.body["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(schema["properties"]["spec"]["properties"]["colour"]["default"], "red");

    let path = format!("{DEFINITIONS}/widgets.example.com");
    let mut ending = ask("DELETE", &path).send(&server).await.expect(200).body;
    ending["metadata"]["finalizers"] = json!([]);
    ask("PUT", &path).json(&ending).send(&server).await.expect(200);
    while ask("GET", ALL).send(&other).await.code != 404 {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    follower.await.unwrap();
}

#[tokio::test]
async fn schemas_of_any_depth_are_read_or_refused() {
    let server = server::start().await;
    for step in ["not", "items", "additionalProperties", "a"] {
        for depth in [20, 105, 5_000] {
            let inner = match step {
                "a" => r#"{"properties":{"a":"#.repeat(depth / 2) + "{}" + &"}}".repeat(depth / 2),
                step => format!(r#"{{"{step}":"#).repeat(depth) + "{}" + &"}".repeat(depth),
            };
            let body = serde_json::to_string(&definition()).unwrap();
            let body = body.replacen(r#"{"type":"string","default":"red"}"#, &inner, 1);
            assert!(body.contains(&inner), "{step}");
            let answer = ask("POST", DEFINITIONS).header("content-type", "application/json").raw(body.into_bytes());
            let code = answer.send(&server).await.code.as_u16();
            assert!([400, 422].contains(&code), "{step} {depth}: {code}");
        }
    }
    ask("GET", DEFINITIONS).send(&server).await.expect(200);
}
