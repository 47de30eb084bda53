//! What is protected stays so on every road: replacement, patches, server-side apply, subresources.

use serde_json::{Value, json};

use crate::server::{self, Server, ask};

const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

fn field_of(body: &Value) -> &str {
    body["details"]["causes"][0]["field"].as_str().unwrap_or_default()
}

async fn immutable_map(server: &Server, name: &str) -> String {
    let maps = "/api/v1/namespaces/default/configmaps";
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "immutable": true, "data": {"k": "v"}});
    let path = format!("{maps}/{name}");
    ask("PATCH", &format!("{path}?fieldManager=m")).typed(APPLY, &map).send(server).await.expect(201);
    path
}

#[tokio::test]
async fn an_immutable_map_cannot_be_made_mutable() {
    let server = server::start().await;
    let path = immutable_map(&server, "m").await;
    let without = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "v"}});
    let put = ask("PUT", &path).json(&without).send(&server).await.expect(422);
    assert_eq!(field_of(&put.body), "immutable");
    for (media_type, change) in [
        (MERGE, json!({"immutable": false})),
        (MERGE, json!({"immutable": null})),
        (STRATEGIC, json!({"immutable": null})),
        (JSON_PATCH, json!([{"op": "remove", "path": "/immutable"}])),
    ] {
        let refused = ask("PATCH", &path).typed(media_type, &change).send(&server).await.expect(422);
        assert_eq!(field_of(&refused.body), "immutable", "{media_type} {change}");
    }
    let left_out = ask("PATCH", &format!("{path}?fieldManager=m")).typed(APPLY, &without);
    assert_eq!(field_of(&left_out.send(&server).await.expect(422).body), "immutable");
    let kept = ask("GET", &path).send(&server).await.expect(200);
    assert_eq!((&kept.body["immutable"], &kept.body["data"]["k"]), (&json!(true), &json!("v")));
    ask("PATCH", &path).typed(MERGE, &json!({"metadata": {"labels": {"a": "b"}}})).send(&server).await.expect(200);
    ask("DELETE", &path).send(&server).await.expect(200);
}

#[tokio::test]
async fn a_namespace_keeps_its_finalizer_until_finalize() {
    let server = server::start().await;
    for (name, spec) in [("n1", json!(null)), ("n2", json!({})), ("n3", json!({"finalizers": ["example.com/f"]}))] {
        let mut namespace = json!({"metadata": {"name": name}});
        if !spec.is_null() {
            namespace["spec"] = spec;
        }
        let made = ask("POST", "/api/v1/namespaces").json(&namespace).send(&server).await.expect(201);
        let finalizers = made.body["spec"]["finalizers"].as_array().unwrap().clone();
        assert!(finalizers.contains(&json!("kubernetes")), "{}", made.body);
        let path = format!("/api/v1/namespaces/{name}");
        let mut bare = made.body.clone();
        bare["spec"] = json!({});
        ask("PUT", &path).json(&bare).send(&server).await.expect(200);
        ask("PATCH", &path).typed(MERGE, &json!({"spec": {"finalizers": []}})).send(&server).await.expect(200);
        ask("PATCH", &path).typed(MERGE, &json!({"spec": null})).send(&server).await.expect(200);
        let ending = ask("DELETE", &path).send(&server).await.expect(200).body;
        assert_eq!(ending["spec"]["finalizers"].as_array().unwrap(), &finalizers);
        let mut free = ending.clone();
        free["spec"]["finalizers"] = json!([]);
        ask("PUT", &path).json(&free).send(&server).await.expect(200);
        ask("GET", &path).send(&server).await.expect(200);
        ask("PUT", &format!("{path}/finalize")).json(&free).send(&server).await.expect(200);
        ask("GET", &path).send(&server).await.expect(404);
    }
    let odd = json!({"metadata": {"name": "odd"}, "spec": {"finalizers": ["foo"]}});
    let refused = ask("POST", "/api/v1/namespaces").json(&odd).send(&server).await.expect(422);
    assert_eq!(field_of(&refused.body), "spec.finalizers");
}

#[tokio::test]
async fn one_object_cannot_ask_for_all_memory() {
    let server = server::start().await;
    let kind = api::kinds::find("sts").unwrap();
    let sets = crate::sample::collection(kind);
    ask("POST", &sets).json(&crate::sample::object(kind, "s")).send(&server).await.expect(201);
    let many = json!({"spec": {"replicas": 2_000_000_000}});
    for path in [format!("{sets}/s"), format!("{sets}/s/scale")] {
        let refused = ask("PATCH", &path).typed(MERGE, &many).send(&server).await.expect(422);
        assert_eq!(field_of(&refused.body), "spec.replicas", "{path}");
        assert!(refused.body["message"].as_str().unwrap().contains("10000"), "{path}");
    }
}

#[tokio::test]
async fn wrong_types_and_missing_fields_are_named() {
    let server = server::start().await;
    let bundles = "/apis/nanocloud.io/v1/namespaces/default/bundles";
    for (spec, field) in [
        (json!({}), "spec.service"),
        (json!({"service": "redis", "start": "yes"}), "spec.start"),
        (json!({"service": "redis", "options": {"x": 3}}), "spec.options.x"),
    ] {
        let bundle = json!({"metadata": {"name": "b"}, "spec": spec});
        let refused = ask("POST", bundles).json(&bundle).send(&server).await.expect(400);
        assert_eq!(field_of(&refused.body), field, "{spec}");
    }
}

#[tokio::test]
async fn yaml_bodies_are_read_as_manifests_are_meant() {
    let server = server::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  terminationGracePeriodSeconds: 5.0\n  \
               containers: [{name: c, image: i}]\n  volumes: [{name: v, secret: {secretName: s, defaultMode: 0400}}]\n";
    let made =
        ask("POST", pods).header("content-type", "application/yaml").raw(pod.into()).send(&server).await.expect(201);
    assert_eq!(made.body["spec"]["volumes"][0]["secret"]["defaultMode"], 256);
    assert_eq!(made.body["spec"]["terminationGracePeriodSeconds"], 5);
    let json = r#"{"metadata": {"name": "q"}, "spec": {"terminationGracePeriodSeconds": 5.0, "containers": [{"name": "c", "image": "i"}]}}"#;
    let strict = ask("POST", pods).header("content-type", "application/json").raw(json.into()).send(&server).await;
    assert_ne!(strict.code, 201, "JSON is read as it is written");
}
