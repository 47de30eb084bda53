//! Metadata that only the server writes, sent by every kind of write: as Kubernetes' server takes it.

use serde_json::{Value, json};

use crate::server::{self, Server, ask};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const ROADS: [&str; 4] =
    ["PUT", "application/merge-patch+json", "application/json-patch+json", "application/strategic-merge-patch+json"];

/// Sends the object `a` with one other value in its metadata.
async fn write(server: &Server, road: &str, field: &str, value: &Value) -> (u16, Value) {
    let path = format!("{MAPS}/a");
    let request = match road {
        "PUT" => {
            let mut object = ask("GET", &path).send(server).await.expect(200).body;
            object["metadata"][field] = value.clone();
            ask("PUT", &path).json(&object)
        }
        "application/json-patch+json" => {
            let step = json!([{"op": "add", "path": format!("/metadata/{field}"), "value": value}]);
            ask("PATCH", &path).typed(road, &step)
        }
        _ => ask("PATCH", &path).typed(road, &json!({"metadata": {field: value}})),
    };
    let answer = request.send(server).await;
    (answer.code.as_u16(), answer.body)
}

async fn with_map(finalizers: Value) -> (Server, Value) {
    let server = server::start().await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "finalizers": finalizers}});
    let made = ask("POST", MAPS).json(&map).send(&server).await.expect(201).body;
    (server, made)
}

fn without_managers(object: &Value) -> Value {
    let mut meta = object["metadata"].clone();
    for field in ["managedFields", "resourceVersion"] {
        meta.as_object_mut().unwrap().remove(field);
    }
    meta
}

#[tokio::test]
async fn what_only_the_server_writes_is_kept_or_refused() {
    let (server, made) = with_map(json!([])).await;
    for road in ROADS {
        for (field, value) in [
            ("generation", json!(-1)),
            ("generation", json!(9)),
            ("creationTimestamp", json!("2020-01-01T00:00:00Z")),
            ("creationTimestamp", json!(null)),
            ("deletionTimestamp", json!(null)),
            ("selfLink", json!("/x")),
            ("uid", json!("")),
        ] {
            let (status, object) = write(&server, road, field, &value).await;
            assert_eq!(status, 200, "{road} {field} {value}: {object}");
            assert_eq!(without_managers(&object), without_managers(&made), "{road} {field} {value}");
        }
        for (field, value) in [
            ("creationTimestamp", json!("x")),
            ("creationTimestamp", json!(5)),
            ("deletionTimestamp", json!("x")),
            ("deletionTimestamp", json!("2020-01-01T00:00:00Z")),
            ("deletionGracePeriodSeconds", json!(5)),
            ("deletionGracePeriodSeconds", json!("5")),
            ("generation", json!("one")),
            ("selfLink", json!(7)),
            ("uid", json!(7)),
        ] {
            let (status, failure) = write(&server, road, field, &value).await;
            assert_eq!(status, 422, "{road} {field} {value}: {failure}");
            assert_eq!(failure["details"]["causes"][0]["field"], format!("metadata.{field}"), "{road} {value}");
        }
        let (status, failure) = write(&server, road, "managedFields", &json!("garbage")).await;
        assert!(matches!(status, 400 | 422), "{road}: {failure}");
        let (status, failure) = write(&server, road, "uid", &json!("another")).await;
        // A replacement by uid is a condition that does not hold; a patch changes what cannot be changed.
        assert_eq!(status, if road == "PUT" { 409 } else { 422 }, "{road}: {failure}");
    }
    let seen = ask("GET", &format!("{MAPS}/a")).send(&server).await.expect(200).body;
    assert_eq!(without_managers(&seen), without_managers(&made));
}

#[tokio::test]
async fn a_deletion_that_began_goes_on_as_it_began() {
    let (server, _) = with_map(json!(["example.com/hold"])).await;
    ask("DELETE", &format!("{MAPS}/a")).send(&server).await.expect(200);
    let ending = ask("GET", &format!("{MAPS}/a")).send(&server).await.expect(200).body;
    assert!(ending["metadata"]["deletionTimestamp"].is_string());
    for road in ROADS {
        for value in [json!(null), json!("2030-01-01T00:00:00Z")] {
            let (status, object) = write(&server, road, "deletionTimestamp", &value).await;
            assert_eq!(status, 200, "{road} {value}: {object}");
            assert_eq!(without_managers(&object), without_managers(&ending), "{road} {value}");
        }
        let (status, object) = write(&server, road, "deletionGracePeriodSeconds", &json!(null)).await;
        assert_eq!((status, without_managers(&object)), (200, without_managers(&ending)), "{road}");
        let (status, failure) = write(&server, road, "deletionGracePeriodSeconds", &json!(600)).await;
        assert_eq!(status, 422, "{road}: {failure}");
    }
}

#[tokio::test]
async fn an_object_is_not_made_with_metadata_that_cannot_be_read() {
    let server = server::start().await;
    for (field, value) in [
        ("creationTimestamp", json!("x")),
        ("deletionTimestamp", json!(1)),
        ("generation", json!("x")),
        ("uid", json!([])),
        ("managedFields", json!("x")),
    ] {
        let map = json!({"metadata": {"name": "a", field: value}});
        let failure = ask("POST", MAPS).json(&map).send(&server).await.expect(422).body;
        assert_eq!(failure["details"]["causes"][0]["field"], format!("metadata.{field}"), "{failure}");
    }
    let good = json!({"metadata": {"name": "a", "creationTimestamp": "2020-01-01T00:00:00Z", "uid": "u", "generation": 7,
        "deletionTimestamp": "2020-01-01T00:00:00Z", "deletionGracePeriodSeconds": 5}});
    let made = ask("POST", MAPS).json(&good).send(&server).await.expect(201).body;
    assert!(made["metadata"]["uid"] != "u" && made["metadata"].get("deletionTimestamp").is_none(), "{made}");
}
