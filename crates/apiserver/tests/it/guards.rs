//! Requests that by mistake would change or take away more than was meant: refused, and nothing is changed.

use serde_json::{Value, json};
use trust::Subject;

use crate::server::{self, Server, ask};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"x": "1"}})
}

async fn seen(server: &Server) -> Value {
    ask("GET", &format!("{MAPS}/a")).send(server).await.expect(200).body
}

#[tokio::test]
async fn an_empty_config_takes_nothing_away() {
    let server = server::start().await;
    let path = format!("{MAPS}/a?fieldManager=m");
    ask("PATCH", &path).typed(APPLY, &map("a")).send(&server).await.expect(201);
    let before = seen(&server).await;
    let without = |field: &str| {
        let mut config = map("a");
        config.as_object_mut().unwrap().remove(field);
        config.to_string()
    };
    let unnamed = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "a"}}).to_string();
    for body in
        ["", "[]", "null", "{}", "# nothing", &without("kind"), &without("apiVersion"), &without("metadata"), &unnamed]
    {
        for media_type in [APPLY, "application/apply-patch+json"] {
            let request = ask("PATCH", &path).header("content-type", media_type).raw(body.as_bytes().to_vec());
            let refused = request.send(&server).await.expect(400);
            assert_eq!(refused.body["reason"], "BadRequest", "{body}");
            let absent = ask("PATCH", &format!("{MAPS}/b?fieldManager=m")).header("content-type", media_type);
            absent.raw(body.as_bytes().to_vec()).send(&server).await.expect(400);
        }
        assert_eq!(seen(&server).await, before, "{body}");
    }
    let applied = ask("PATCH", &path).typed("application/apply-patch+json", &map("a"));
    assert_eq!(applied.send(&server).await.expect(200).body, before, "JSON is applied as YAML is");
    let strict = ask("PATCH", &format!("{path}&fieldValidation=Strict&force=true")).typed(APPLY, &map("a"));
    strict.send(&server).await.expect(200);
}

#[tokio::test]
async fn a_body_without_its_name_replaces_nothing() {
    let server = server::start().await;
    ask("POST", MAPS).json(&map("a")).send(&server).await.expect(201);
    ask("POST", "/api/v1/namespaces").json(&json!({"metadata": {"name": "n"}})).send(&server).await.expect(201);
    let before = seen(&server).await;
    let path = format!("{MAPS}/a");
    for body in [json!({}), json!({"data": {"x": "2"}}), json!({"metadata": null}), json!({"metadata": {"labels": {}}})]
    {
        let refused = ask("PUT", &path).json(&body).send(&server).await.expect(400);
        assert_eq!(refused.body["message"], "name must be provided", "{body}");
        for part in ["finalize", "status"] {
            ask("PUT", &format!("/api/v1/namespaces/n/{part}")).json(&body).send(&server).await.expect(400);
        }
    }
    for (media_type, patch) in [
        (MERGE, json!({"metadata": null})),
        (MERGE, json!({"metadata": {"name": null}})),
        ("application/strategic-merge-patch+json", json!({"metadata": {"name": null}})),
        ("application/json-patch+json", json!([{"op": "remove", "path": "/metadata"}])),
    ] {
        ask("PATCH", &path).typed(media_type, &patch).send(&server).await.expect(400);
    }
    assert_eq!(seen(&server).await, before);
}

#[tokio::test]
async fn collections_are_deleted_in_one_namespace_at_a_time() {
    let server = server::start().await;
    ask("POST", MAPS).json(&map("a")).send(&server).await.expect(201);
    for kind in api::kinds::all() {
        let base = if kind.group().is_empty() { "/api".to_owned() } else { format!("/apis/{}", kind.group()) };
        let (all, base) =
            (format!("{base}/{}/{}", kind.version(), kind.plural()), format!("{base}/{}", kind.version()));
        let whole = !kind.is_namespaced() && kind.kind() != "Namespace";
        let answer = ask("DELETE", &format!("{all}?dryRun=All")).send(&server).await;
        assert_eq!(answer.code.as_u16(), if whole { 200 } else { 405 }, "{all}");
        let resources = ask("GET", &base).send(&server).await.expect(200).body["resources"].clone();
        let resource = resources.as_array().unwrap().iter().find(|resource| resource["name"] == kind.plural()).unwrap();
        let announced = resource["verbs"].as_array().unwrap().contains(&json!("deletecollection"));
        assert_eq!(announced, kind.kind() != "Namespace", "{all}");
        let document = ask("GET", &format!("/openapi/v3{base}")).send(&server).await.expect(200).body;
        assert_eq!(document["paths"][&all].get("delete").is_some(), whole, "{all}");
    }
    seen(&server).await;
    ask("DELETE", MAPS).send(&server).await.expect(200);
    ask("GET", &format!("{MAPS}/a")).send(&server).await.expect(404);
}

fn pod(name: &str, node: Option<&str>) -> Value {
    let mut pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    if let Some(node) = node {
        pod["spec"]["nodeName"] = node.into();
    }
    pod
}

#[tokio::test]
async fn a_binding_gives_a_pod_its_node_once() {
    let server = server::start().await;
    ask("POST", PODS).json(&pod("p", None)).send(&server).await.expect(201);
    let path = format!("{PODS}/p/binding");
    let to = |name: &str, target: Value| json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target});
    for (body, code) in [
        (json!({}), 400),
        (to("other", json!({"name": "n1"})), 400),
        (json!({"kind": "Pod", "metadata": {"name": "p"}, "target": {"name": "n1"}}), 400),
        (to("p", json!({})), 422),
        (to("p", json!({"kind": "Pod", "name": "n1"})), 422),
        (to("p", json!({"name": "../n1"})), 422),
    ] {
        ask("POST", &path).json(&body).send(&server).await.expect(code);
    }
    let good = to("p", json!({"kind": "Node", "name": "n1"}));
    ask("POST", &format!("{path}?dryRun=All")).json(&good).send(&server).await.expect(201);
    ask("POST", &path).by(Subject::node("n1")).json(&good).send(&server).await.expect(403);
    let done = ask("POST", &path).by(Subject::scheduler()).json(&good).send(&server).await.expect(201);
    assert_eq!((&done.body["kind"], &done.body["status"]), (&json!("Status"), &json!("Success")));
    let bound = ask("GET", &format!("{PODS}/p")).send(&server).await.expect(200).body;
    assert_eq!(bound["spec"]["nodeName"], "n1");
    let conditions = bound["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|condition| condition["type"] == "PodScheduled" && condition["status"] == "True"));
    let again = ask("POST", &path).by(Subject::controllers()).json(&good).send(&server).await.expect(409);
    assert!(again.body["message"].as_str().unwrap().contains("already assigned to node \"n1\""), "{}", again.body);
    ask("POST", &format!("{PODS}/none/binding"))
        .json(&to("none", json!({"name": "n"})))
        .send(&server)
        .await
        .expect(404);
    ask("GET", &path).send(&server).await.expect(405);
}

#[tokio::test]
async fn a_deletion_means_what_its_body_says() {
    let server = server::start().await;
    let delete = |query: &str, body: Value| ask("DELETE", &format!("{PODS}/p{query}")).json(&body);
    ask("POST", PODS).json(&pod("p", Some("n"))).send(&server).await.expect(201);
    let dry = delete("?dryRun=All", json!({"gracePeriodSeconds": 0})).send(&server).await.expect(200).body;
    assert_eq!(dry["metadata"]["deletionGracePeriodSeconds"], 0);
    delete("?dryRun=true", json!({})).send(&server).await.expect(200);
    let marked = delete("?gracePeriodSeconds=5", json!({"gracePeriodSeconds": 9})).send(&server).await.expect(200);
    assert_eq!(marked.body["metadata"]["deletionGracePeriodSeconds"], 9);
    let shorter = delete("?gracePeriodSeconds=-1", Value::Null).send(&server).await.expect(200);
    assert_eq!(shorter.body["metadata"]["deletionGracePeriodSeconds"], 1);
    let gone = delete("", json!({"gracePeriodSeconds": 0})).send(&server).await.expect(200).body;
    assert_eq!(gone["metadata"]["deletionGracePeriodSeconds"], 0, "{gone}");
    assert!(gone["metadata"]["deletionTimestamp"].is_string());
    ask("GET", &format!("{PODS}/p")).send(&server).await.expect(404);
}

#[tokio::test]
async fn a_read_is_as_new_as_it_asks_for() {
    let server = server::start().await;
    let version = ask("POST", MAPS).json(&map("a")).send(&server).await.expect(201).version().to_owned();
    let get = |version: &str| ask("GET", &format!("{MAPS}/a?resourceVersion={version}"));
    for version in ["0", "1", &version] {
        get(version).send(&server).await.expect(200);
    }
    for version in ["abc", "-1", "1.5"] {
        get(version).send(&server).await.expect(400);
    }
    for version in ["99999999", "18446744073709551615"] {
        let ahead = get(version).send(&server).await.expect(504);
        assert_eq!(ahead.body["reason"], "Timeout");
        assert_eq!(ahead.body["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    }
    // What comes within the wait is waited for.
    let next = version.parse::<u64>().unwrap() + 1;
    let (read, _) = tokio::join!(
        get(&next.to_string()).send(&server),
        ask("PATCH", &format!("{MAPS}/a")).typed(MERGE, &json!({"data": {"x": "2"}})).send(&server),
    );
    assert_eq!(read.expect(200).body["data"]["x"], "2");
}

#[tokio::test]
async fn fields_given_twice_warn_or_fail_as_asked() {
    let server = server::start().await;
    let twice = |name: &str| {
        format!(r#"{{"metadata":{{"name":"{name}"}},"data":{{"k":"1"}},"data":{{"k":"2","k":"3"}}}}"#).into_bytes()
    };
    let post = |query: &str, name: &str| ask("POST", &format!("{MAPS}{query}")).raw(twice(name));
    let warned = post("", "a").send(&server).await.expect(201);
    assert_eq!(warned.body["data"]["k"], "3");
    let texts: Vec<_> = warned.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(texts, [r#"299 - "duplicate field \"data.k\"""#, r#"299 - "duplicate field \"data\"""#]);
    let silent = post("?fieldValidation=Ignore", "b").send(&server).await.expect(201);
    assert!(!silent.headers.contains_key("warning"));
    let strict = post("?fieldValidation=Strict", "c").send(&server).await.expect(400);
    let message = strict.body["message"].as_str().unwrap();
    assert!(
        message.contains(r#"strict decoding error: duplicate field "data.k", duplicate field "data""#),
        "{message}"
    );
    let put = ask("PUT", &format!("{MAPS}/a?fieldValidation=Strict")).raw(twice("a")).send(&server).await;
    put.expect(400);

    let patch = |media_type: &str, query: &str, body: &str| {
        ask("PATCH", &format!("{MAPS}/a{query}")).header("content-type", media_type).raw(body.as_bytes().to_vec())
    };
    for (media_type, body) in [
        (MERGE, r#"{"data":{"k":"1","k":"2"}}"#),
        ("application/strategic-merge-patch+json", r#"{"data":{"k":"1","k":"2"}}"#),
        ("application/json-patch+json", r#"[{"op":"add","path":"/data/k","value":"1","value":"2"}]"#),
    ] {
        let warned = patch(media_type, "", body).send(&server).await.expect(200);
        assert!(warned.headers["warning"].to_str().unwrap().contains("duplicate field"), "{media_type}");
        let strict = patch(media_type, "?fieldValidation=Strict", body).send(&server).await.expect(422);
        assert_eq!(strict.body["details"]["causes"][0]["field"], "patch", "{media_type}");
    }
    let long = format!(r#"{{"metadata":{{"name":"long"}},"{}":1}}"#, "x".repeat(100_000));
    let warned = ask("POST", MAPS).raw(long.into_bytes()).send(&server).await.expect(201);
    assert!(warned.headers["warning"].len() < 300, "a warning is no longer than headers may be");
}

#[tokio::test]
async fn operators_mark_pods_with_their_status_and_nodes_do_not() {
    let server = server::start().await;
    ask("POST", PODS).json(&pod("p", Some("n1"))).send(&server).await.expect(201);
    let patch = json!({
        "status": {"phase": "Running"},
        "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["e.f/g"], "ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u"},
        ]},
    });
    let write = |subject: Subject| ask("PATCH", &format!("{PODS}/p/status")).by(subject).typed(MERGE, &patch);
    let by_node = write(Subject::node("n1")).send(&server).await.expect(200).body;
    assert_eq!(by_node["status"]["phase"], "Running");
    assert_eq!((by_node["metadata"].get("labels"), by_node["metadata"].get("finalizers")), (None, None));
    let marked = write(Subject::admin("root")).send(&server).await.expect(200).body;
    let meta = &marked["metadata"];
    assert_eq!((&meta["labels"]["a"], &meta["annotations"]["c"]), (&json!("b"), &json!("d")));
    assert_eq!((&meta["finalizers"], meta.get("ownerReferences")), (&json!(["e.f/g"]), None));
}

#[tokio::test]
async fn patches_that_would_fill_the_memory_are_refused() {
    let server = server::start().await;
    ask("POST", MAPS).json(&map("a")).send(&server).await.expect(201);
    let copies: Value =
        (0..35).map(|n| json!({"op": "copy", "from": "/metadata", "path": format!("/metadata/x{n}")})).collect();
    let path = format!("{MAPS}/a");
    let refused = ask("PATCH", &path).typed("application/json-patch+json", &copies).send(&server).await.expect(413);
    assert_eq!(refused.body["reason"], "RequestEntityTooLarge");
    // Each operation adds 100 levels below those before.
    let deep = (0..100).fold(json!({}), |value, _| json!({"a": value}));
    let adds: Vec<_> = (0..20)
        .map(|n| json!({"op": "add", "path": format!("/data{}", "/a".repeat(100 * n)), "value": deep}))
        .collect();
    let refused =
        ask("PATCH", &path).typed("application/json-patch+json", &adds.into()).send(&server).await.expect(422);
    assert!(refused.body["message"].as_str().unwrap().contains("within each other"), "{}", refused.body);
    for media_type in ["application/json", MERGE, "application/strategic-merge-patch+json", APPLY] {
        let nested = format!(r#"{{"data":{}{}}}"#, r#"{"a":"#.repeat(5_000), "}".repeat(5_000));
        let method = if media_type == "application/json" { "PUT" } else { "PATCH" };
        let request = ask(method, &format!("{path}{}", if media_type == APPLY { "?fieldManager=m" } else { "" }));
        request.header("content-type", media_type).raw(nested.into_bytes()).send(&server).await.expect(400);
    }
}
