//! What every kind does, run for every kind.

use api::{Kind, kinds, names::group::NANOCLOUD};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::{
    sample,
    server::{self, Server, Watch, ask},
};

#[tokio::test]
async fn every_kind_is_made_read_changed_watched_and_deleted() {
    for kind in kinds::all() {
        let server = server::start().await;
        life(&server, kind).await;
    }
}

async fn life(server: &Server, kind: &Kind) {
    let collection = sample::collection(kind);
    let name = sample::name(kind);
    let path = format!("{collection}/{name}");
    let mut watch = Watch::open(server, &format!("{collection}?watch=true&labelSelector=suite%3Dconformance")).await;

    let created = ask("POST", &collection).json(&sample::object(kind, name)).send(server).await.expect(201);
    assert_eq!(created.body["kind"], kind.kind());
    assert_eq!(created.body["apiVersion"], kind.api_version());
    for field in ["uid", "creationTimestamp", "resourceVersion"] {
        assert!(created.body["metadata"][field].is_string(), "{kind:?} {field}");
    }
    let again = ask("POST", &collection).json(&sample::object(kind, name)).send(server).await.expect(409);
    assert_eq!(again.body["reason"], "AlreadyExists");

    let got = ask("GET", &path).send(server).await.expect(200);
    assert_eq!(got.body, created.body, "{kind:?}: what was answered is what is stored");
    let same = ask("PUT", &path).json(&got.body).send(server).await.expect(200);
    assert_eq!(same.body, got.body, "{kind:?}: writing the same changes nothing");

    has_two_forms(server, kind, &path, &got.body).await;
    lists(server, kind, &collection).await;
    changes(server, kind, &path, &got.body).await;

    let gone = ask("DELETE", &path).send(server).await.expect(200);
    if kind.kind() == "Namespace" {
        assert_eq!(gone.body["status"]["phase"], "Terminating");
        let mut free = gone.body.clone();
        free["spec"]["finalizers"] = json!([]);
        ask("PUT", &format!("{path}/finalize")).json(&free).send(server).await.expect(200);
    } else if gone.body["metadata"].get("finalizers").is_some() {
        let mut free = gone.body.clone();
        free["metadata"]["finalizers"] = json!([]);
        ask("PUT", &path).json(&free).send(server).await.expect(200);
    }
    ask("GET", &path).send(server).await.expect(404);
    ask("DELETE", &path).send(server).await.expect(404);

    let mut told = vec![watch.told().await];
    while told.last().is_some_and(|(what, _)| what != "DELETED") {
        told.push(watch.told().await);
    }
    assert_eq!(told[0], ("ADDED".to_owned(), name.to_owned()), "{kind:?}");
    assert!(told[1..told.len() - 1].iter().all(|(what, of)| what == "MODIFIED" && of == name), "{kind:?} {told:?}");
}

/// What is answered in protobuf means the same when it is sent back; our own kinds are JSON only.
async fn has_two_forms(server: &Server, kind: &Kind, path: &str, object: &Value) {
    let protobuf = "application/vnd.kubernetes.protobuf";
    let get = ask("GET", path).header("accept", protobuf);
    if kind.group() == NANOCLOUD {
        get.send(server).await.expect(406);
        return;
    }
    let answer = get.open(server).await;
    assert_eq!(answer.headers()["content-type"], protobuf, "{kind:?}");
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    let same = ask("PUT", path).header("content-type", protobuf).raw(bytes.to_vec()).send(server).await.expect(200);
    assert_eq!(&same.body, object, "{kind:?}: writing the same changes nothing");
}

async fn lists(server: &Server, kind: &Kind, collection: &str) {
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let list = ask("GET", &format!("{collection}?labelSelector=suite%3Dconformance")).send(server).await.expect(200);
    assert_eq!(list.body["kind"], format!("{}List", kind.kind()));
    let own = sample::name(kind);
    assert_eq!(names(&list.body), [own], "{kind:?}");
    let named = ask("GET", &format!("{collection}?fieldSelector=metadata.name%3D{own}")).send(server).await.expect(200);
    assert_eq!(names(&named.body), [own]);
    let others = ask("GET", &format!("{collection}?labelSelector=suite%3Dother")).send(server).await.expect(200);
    assert_eq!(names(&others.body), [""; 0]);
    ask("GET", &format!("{collection}?fieldSelector=spec.colour%3Dred")).send(server).await.expect(400);

    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = ask("GET", &format!("{collection}/{own}")).header("accept", accept).send(server).await.expect(200);
    assert_eq!(table.body["kind"], "Table");
    let heads = table.body["columnDefinitions"].as_array().unwrap();
    let cells = table.body["rows"][0]["cells"].as_array().unwrap();
    let name = heads.iter().position(|head| head["name"] == "Name").unwrap();
    assert_eq!((heads.len(), &cells[name]), (cells.len(), &json!(own)), "{kind:?}");
    let accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let partial = ask("GET", collection).header("accept", accept).send(server).await.expect(200);
    assert!(partial.body["items"].as_array().unwrap().iter().all(|item| item.get("spec").is_none()));
}

async fn changes(server: &Server, kind: &Kind, path: &str, first: &Value) {
    let mut changed = first.clone();
    changed["metadata"]["annotations"] = json!({"a": "1"});
    let second = ask("PUT", path).json(&changed).send(server).await.expect(200);
    assert_ne!(second.version(), first["metadata"]["resourceVersion"], "{kind:?}");
    changed["metadata"]["annotations"] = json!({"a": "2"});
    let conflict = ask("PUT", path).json(&changed).send(server).await.expect(409);
    assert_eq!(conflict.body["reason"], "Conflict", "{kind:?}: the first version was replaced");

    let patch = json!({"metadata": {"annotations": {"b": "3"}}});
    let merged = ask("PATCH", path).typed("application/merge-patch+json", &patch).send(server).await.expect(200);
    assert_eq!(merged.body["metadata"]["annotations"], json!({"a": "1", "b": "3"}));
    let patch = json!([{"op": "remove", "path": "/metadata/annotations/b"}]);
    let patched = ask("PATCH", path).typed("application/json-patch+json", &patch).send(server).await.expect(200);
    assert_eq!(patched.body["metadata"]["annotations"], json!({"a": "1"}));
    let strategic = ask("PATCH", path).typed("application/strategic-merge-patch+json", &json!({})).send(server).await;
    assert_eq!(strategic.code.as_u16(), if kind.group() == "nanocloud.io" { 415 } else { 200 }, "{kind:?}");
    let (apply_path, media_type) = (format!("{path}?fieldManager=tests"), "application/apply-patch+yaml");
    let mut config =
        json!({"apiVersion": kind.api_version(), "kind": kind.kind(), "metadata": {"name": sample::name(kind)}});
    config["metadata"]["annotations"] = json!({"c": "4"});
    let with = ask("PATCH", &apply_path).typed(media_type, &config).send(server).await.expect(200);
    assert_eq!(with.body["metadata"]["annotations"], json!({"a": "1", "c": "4"}));
    config["metadata"]["annotations"] = Value::Null;
    let without = ask("PATCH", &apply_path).typed(media_type, &config).send(server).await.expect(200);
    assert_eq!(without.body["metadata"]["annotations"], json!({"a": "1"}), "{kind:?}: what was given up goes");

    let version = without.version().to_owned();
    let dry = json!({"metadata": {"annotations": {"dry": "run"}}});
    let dry_path = format!("{path}?dryRun=All");
    ask("PATCH", &dry_path).typed("application/merge-patch+json", &dry).send(server).await.expect(200);
    ask("DELETE", &dry_path).send(server).await.expect(200);
    assert_eq!(
        ask("GET", path).send(server).await.expect(200).version(),
        version,
        "{kind:?}: a dry run changes nothing"
    );

    let wrong = json!({"preconditions": {"uid": "somebody-else"}});
    ask("DELETE", path).json(&wrong).send(server).await.expect(409);
    let status = ask("PUT", &format!("{path}/status")).json(&without.body).send(server).await;
    assert_eq!(status.code.as_u16(), if kind.facts().has_status { 200 } else { 404 }, "{kind:?}");
}

#[tokio::test]
async fn every_path_that_the_root_names_answers() {
    let server = server::start().await;
    let root = ask("GET", "/").send(&server).await.expect(200);
    let paths: Vec<&str> = root.body["paths"].as_array().unwrap().iter().filter_map(|path| path.as_str()).collect();
    assert!(["/api/v1", "/apis/apps", "/apis/nanocloud.io/v1"].iter().all(|path| paths.contains(path)), "{paths:?}");
    for path in paths {
        ask("GET", path).send(&server).await.expect(200);
    }
}

#[tokio::test]
async fn every_kind_is_discovered_both_ways() {
    let server = server::start().await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let core = ask("GET", "/api").header("accept", accept).send(&server).await.expect(200);
    assert_eq!(core.headers["content-type"], "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let others = ask("GET", "/apis").header("accept", accept).send(&server).await.expect(200);
    for kind in kinds::all() {
        let list = if kind.group().is_empty() { &core.body } else { &others.body };
        let group =
            list["items"].as_array().unwrap().iter().find(|group| group["metadata"]["name"] == kind.group()).unwrap();
        let resources = group["versions"][0]["resources"].as_array().unwrap();
        let found = resources.iter().find(|resource| resource["resource"] == kind.plural()).unwrap();
        assert_eq!(found["responseKind"]["kind"], kind.kind());
        let path = if kind.group().is_empty() {
            "/api/v1".to_owned()
        } else {
            format!("/apis/{}/{}", kind.group(), kind.version())
        };
        let plain = ask("GET", &path).send(&server).await.expect(200);
        let plain = plain.body["resources"].as_array().unwrap().clone();
        assert!(plain.iter().any(|resource| resource["name"] == kind.plural() && resource["kind"] == kind.kind()));
    }
}
