//! Records that cannot be read: they take nothing down but themselves.

use keyspace::KeyspaceExt;
use serde_json::{Value, json};

use crate::server::{self, Server, Watch, ask};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Changes one byte of what is stored of an object.
async fn damage(server: &Server, key: &str) {
    let mut value = server.keyspace.get(key.to_owned()).await.unwrap().unwrap().value.to_vec();
    let last = value.len() - 1;
    value[last] ^= 1;
    server.keyspace.put(key.to_owned(), value).await.unwrap();
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn one_bad_record_does_not_take_its_kind_down() {
    let server = server::start().await;
    for (path, key) in [(SECRETS, "/registry/core/secrets/default"), (MAPS, "/registry/core/configmaps/default")] {
        for name in ["a", "bad", "c"] {
            ask("POST", path).json(&json!({"metadata": {"name": name}})).send(&server).await.expect(201);
        }
        let mut watch = Watch::open(&server, &format!("{path}?watch=true")).await;
        for name in ["a", "bad", "c"] {
            assert_eq!(watch.told().await, ("ADDED".to_owned(), name.to_owned()));
        }
        damage(&server, &format!("{key}/bad")).await;
        assert_eq!(watch.told().await, ("DELETED".to_owned(), "bad".to_owned()), "it is in no list any more");

        let all = path.replace("/namespaces/default", "");
        for list in [path.to_owned(), all, format!("{path}?limit=2")] {
            let listed = ask("GET", &list).send(&server).await.expect(200);
            assert_eq!(names(&listed.body), ["a", "c"], "{list}");
            let warning = listed.headers["warning"].to_str().unwrap();
            assert!(warning.contains("bad cannot be read and is left out"), "{warning}");
        }
        ask("GET", &format!("{path}/a")).send(&server).await.expect(200);
        let refused = ask("GET", &format!("{path}/bad")).send(&server).await.expect(500);
        let remedy = refused.body["remedy"].as_str().unwrap();
        assert!(remedy.contains("delete the object") && !remedy.contains("master key"), "{remedy}");
        let patch = json!({"metadata": {"labels": {"a": "b"}}});
        let patched = ask("PATCH", &format!("{path}/bad")).typed("application/merge-patch+json", &patch);
        patched.send(&server).await.expect(500);
        ask("POST", path).json(&json!({"metadata": {"name": "bad"}})).send(&server).await.expect(500);

        // It is deleted by its name, but not by who means an object with a uid.
        let uid = json!({"preconditions": {"uid": "u"}});
        ask("DELETE", &format!("{path}/bad")).json(&uid).send(&server).await.expect(409);
        ask("DELETE", &format!("{path}/bad?dryRun=All")).send(&server).await.expect(200);
        ask("GET", &format!("{path}/bad")).send(&server).await.expect(500);
        ask("DELETE", &format!("{path}/bad")).send(&server).await.expect(200);
        ask("GET", &format!("{path}/bad")).send(&server).await.expect(404);
        ask("POST", path).json(&json!({"metadata": {"name": "bad"}})).send(&server).await.expect(201);
        assert_eq!(watch.told().await, ("ADDED".to_owned(), "bad".to_owned()), "the watch goes on");

        damage(&server, &format!("{key}/bad")).await;
        ask("DELETE", path).send(&server).await.expect(200);
        ask("GET", &format!("{path}/bad")).send(&server).await.expect(404);
    }
    let metrics = ask("GET", "/metrics").send(&server).await.expect(200);
    let text = metrics.body.as_str().unwrap();
    let count = text.lines().find_map(|line| line.strip_prefix("nanocloud_api_unreadable_objects_total "));
    assert!(count.unwrap().parse::<u32>().unwrap() > 0);
}

#[tokio::test]
async fn a_service_that_cannot_be_read_gives_its_address_back() {
    let server = server::start().await;
    let path = "/api/v1/namespaces/default/services";
    let service = |name: &str| json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    let made = ask("POST", path).json(&service("s")).send(&server).await.expect(201).body;
    damage(&server, "/registry/core/services/default/s").await;
    ask("DELETE", &format!("{path}/s")).send(&server).await.expect(200);
    let mut again = service("t");
    again["spec"]["clusterIP"] = made["spec"]["clusterIP"].clone();
    ask("POST", path).json(&again).send(&server).await.expect(201);
}
