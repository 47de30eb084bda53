//! Watches tell everything, once and in order.

use std::collections::BTreeMap;

use keyspace::{Keyspace, KeyspaceExt};
use serde_json::{Value, json};

use crate::server::{self, Server, Watch, ask};

const PATH: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str, colour: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"colour": colour}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sum_of_a_watch_is_the_state_whenever_it_began() {
    let server = server::start().await;
    let begin = ask("GET", PATH).send(&server).await.expect(200).version().to_owned();
    let writers: Vec<_> = (0..4)
        .map(|writer: u32| {
            let router = server.router.clone();
            tokio::spawn(async move { write(&router, writer).await })
        })
        .collect();
    let early = Watch::open(&server, &format!("{PATH}?watch=true&resourceVersion={begin}")).await;
    let midway = Watch::open(&server, &format!("{PATH}?watch=true")).await;
    for writer in writers {
        writer.await.unwrap();
    }
    ask("POST", PATH).json(&map("last", "x")).send(&server).await.expect(201);
    let list = ask("GET", PATH).send(&server).await.expect(200);
    let wanted: BTreeMap<String, Value> = list.body["items"].as_array().unwrap().iter().map(keyed).collect();
    let late = Watch::open(&server, &format!("{PATH}?watch=true&resourceVersion={begin}")).await;
    for watch in [early, midway, late] {
        assert_eq!(sum(watch).await, wanted);
    }
}

fn keyed(object: &Value) -> (String, Value) {
    (object["metadata"]["name"].as_str().unwrap().to_owned(), object.clone())
}

async fn write(router: &axum::Router, writer: u32) {
    let ghost = Server { router: router.clone(), ..server::start().await };
    for round in 0..40 {
        let name = format!("m{}", (writer * 7 + round * 3) % 11);
        let path = format!("{PATH}/{name}");
        match round % 3 {
            0 => drop(ask("POST", PATH).json(&map(&name, "red")).send(&ghost).await),
            1 => {
                let patch = json!({"data": {"round": format!("{writer}.{round}")}});
                drop(ask("PATCH", &path).typed("application/merge-patch+json", &patch).send(&ghost).await);
            }
            _ => drop(ask("DELETE", &path).send(&ghost).await),
        }
    }
}

/// Adds the events up, and checks that they go on without going back.
async fn sum(mut watch: Watch) -> BTreeMap<String, Value> {
    let (mut state, mut initial, mut newest) = (BTreeMap::new(), true, 0_u64);
    loop {
        let event = watch.next().await.expect("the watch ended");
        let (name, object) = keyed(&event["object"]);
        let version: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        // The first state comes in the order of names; what follows in the order of revisions.
        initial = initial && event["type"] == "ADDED";
        assert!(initial || version > newest, "{event} after {newest}");
        newest = newest.max(version);
        match event["type"].as_str().unwrap() {
            "ADDED" => assert!(state.insert(name.clone(), object).is_none(), "{name} added twice"),
            "MODIFIED" => assert!(state.insert(name.clone(), object).is_some(), "{name} was not there"),
            "DELETED" => assert!(state.remove(&name).is_some(), "{name} was not there"),
            other => panic!("{other}"),
        }
        if name == "last" {
            return state;
        }
    }
}

#[tokio::test]
async fn selected_objects_come_and_go_with_their_labels() {
    let server = server::start().await;
    let mut watch = Watch::open(&server, &format!("{PATH}?watch=true&labelSelector=colour%3Dred")).await;
    ask("POST", PATH).json(&map("a", "blue")).send(&server).await.expect(201);
    for colour in ["red", "red", "blue"] {
        let patch = json!({"metadata": {"labels": {"colour": colour, "n": colour}}, "data": {"a": colour}});
        let path = format!("{PATH}/a");
        ask("PATCH", &path).typed("application/merge-patch+json", &patch).send(&server).await.expect(200);
        let touch = json!({"metadata": {"annotations": {"touched": colour}}});
        ask("PATCH", &path).typed("application/merge-patch+json", &touch).send(&server).await.expect(200);
    }
    ask("DELETE", &format!("{PATH}/a")).send(&server).await.expect(200);
    ask("POST", PATH).json(&map("end", "red")).send(&server).await.expect(201);
    let mut told = Vec::new();
    loop {
        let (what, name) = watch.told().await;
        if name == "end" {
            break;
        }
        told.push(what);
    }
    assert_eq!(told, ["ADDED", "MODIFIED", "DELETED"]);
}

#[tokio::test]
async fn streaming_lists_end_with_a_marked_bookmark() {
    let server = server::start().await;
    ask("POST", PATH).json(&map("a", "x")).send(&server).await.expect(201);
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Watch::open(&server, &format!("{PATH}?{query}")).await;
    assert_eq!(watch.told().await.0, "ADDED");
    let mark = watch.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    ask("DELETE", &format!("{PATH}/a")).send(&server).await.expect(200);
    assert_eq!(watch.told().await, ("DELETED".to_owned(), "a".to_owned()));
}

#[tokio::test]
async fn history_that_is_gone_is_410() {
    let server = server::start().await;
    let first = ask("POST", PATH).json(&map("a", "x")).send(&server).await.expect(201).version().to_owned();
    for n in 0..3 {
        let patch = json!({"data": {"n": n.to_string()}});
        ask("PATCH", &format!("{PATH}/a"))
            .typed("application/merge-patch+json", &patch)
            .send(&server)
            .await
            .expect(200);
    }
    let page = ask("GET", "/api/v1/namespaces?limit=1").send(&server).await.expect(200);
    let token = page.body["metadata"]["continue"].as_str().unwrap().to_owned();
    ask("POST", PATH).json(&map("b", "x")).send(&server).await.expect(201);
    let newest = server.keyspace.status().await.unwrap().revision;
    server.keyspace.compact(newest).await.unwrap();
    for path in [
        format!("{PATH}?watch=true&resourceVersion={first}"),
        format!("{PATH}?resourceVersion={first}&resourceVersionMatch=Exact"),
        format!("/api/v1/namespaces?limit=1&continue={token}"),
        format!("{PATH}?watch=true&resourceVersion={}", newest + 100),
    ] {
        let gone = ask("GET", &path).send(&server).await.expect(410);
        assert_eq!(gone.body["reason"], "Expired", "{path}");
    }
    let ahead = ask("GET", &format!("{PATH}?resourceVersion={}", newest + 100)).send(&server).await.expect(504);
    assert_eq!(ahead.body["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}

#[tokio::test]
async fn only_the_first_table_of_a_watch_has_heads_and_shutdown_ends_it() {
    let server = server::start().await;
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let response = ask("GET", &format!("{PATH}?watch=true")).header("accept", accept).open(&server).await;
    let mut watch = Watch::of(response);
    for name in ["a", "b"] {
        ask("POST", PATH).json(&map(name, "x")).send(&server).await.expect(201);
    }
    let heads = |event: Value| event["object"]["columnDefinitions"].as_array().unwrap().len();
    assert!(heads(watch.next().await.unwrap()) > 1);
    assert_eq!(heads(watch.next().await.unwrap()), 0);
    server.api.stop_streams();
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn secrets_are_sealed_and_events_expire() {
    let server = server::start().await;
    let secret = json!({
        "metadata": {"name": "s", "annotations": {"copy": "cGxhaW4tdGV4dA=="}},
        "stringData": {"password": "plain-text"},
    });
    let path = "/api/v1/namespaces/default/secrets";
    let made = ask("POST", path).json(&secret).send(&server).await.expect(201);
    assert_eq!(made.body["data"]["password"], "cGxhaW4tdGV4dA==");
    let stored = server.keyspace.get("/registry/core/secrets/default/s").await.unwrap().unwrap();
    let bytes = String::from_utf8_lossy(&stored.value).into_owned();
    assert!(!bytes.contains("cGxhaW4tdGV4dA") && !bytes.contains("plain-text"));
    server.keyspace.put("/registry/core/secrets/default/moved", stored.value).await.unwrap();
    ask("GET", &format!("{path}/moved")).send(&server).await.expect(500);

    for name in ["e1", "e2"] {
        let event = json!({"metadata": {"name": name}, "involvedObject": {"name": "p"}});
        ask("POST", "/api/v1/namespaces/default/events").json(&event).send(&server).await.expect(201);
    }
    assert_eq!(server.keyspace.leases().await.unwrap().len(), 1, "events share a lease");
    let event = server.keyspace.get("/registry/core/events/default/e1").await.unwrap().unwrap();
    assert_ne!(event.lease, 0);
}
