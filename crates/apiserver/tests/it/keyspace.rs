//! The keyspace's own routes: its state, alarms and snapshot.

use http_body_util::BodyExt;
use keyspace::{Alarm, AlarmKind, Keyspace};
use serde_json::json;

use crate::server::{self, ask};

const PATH: &str = "/apis/nanocloud.io/v1/keyspace";

#[tokio::test]
async fn a_full_keyspace_says_so_and_can_be_cleared() {
    let server = server::start().await;
    let map = json!({"metadata": {"name": "m"}});
    server.keyspace.alarm_set(Alarm { member: 1, kind: AlarmKind::NoSpace }).await.unwrap();
    let maps = "/api/v1/namespaces/default/configmaps";
    let refused = ask("POST", maps).json(&map).send(&server).await.expect(507);
    assert!(refused.body["remedy"].as_str().unwrap_or_default().contains("nanocloud keyspace"), "{:#}", refused.body);
    ask("GET", maps).send(&server).await.expect(200);
    let state = ask("GET", PATH).send(&server).await.expect(200).body;
    assert_eq!(state["alarms"], json!([{"member": 1, "kind": "NoSpace"}]));
    let cleared = ask("DELETE", &format!("{PATH}/alarms")).send(&server).await.expect(200).body;
    assert_eq!(cleared["alarms"], json!([]));
    ask("POST", maps).json(&map).send(&server).await.expect(201);
    let compacted = ask("POST", &format!("{PATH}/compact")).send(&server).await.expect(200).body;
    assert_eq!(compacted["compactRevision"], compacted["revision"]);
    ask("POST", &format!("{PATH}/defragment")).send(&server).await.expect(200);
    ask("POST", &format!("{PATH}/compact?revision=x")).send(&server).await.expect(400);
    ask("GET", &format!("{PATH}/defragment")).send(&server).await.expect(405);
}

#[tokio::test]
async fn a_snapshot_is_streamed_whole_and_secrets_stay_sealed() {
    let server = server::start().await;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"password": "open sesame"}});
    ask("POST", "/api/v1/namespaces/default/secrets").json(&secret).send(&server).await.expect(201);
    let answer = ask("GET", &format!("{PATH}/snapshot")).open(&server).await;
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    let summary = keyspace::snapshot::verify(&bytes[..]).unwrap();
    assert_eq!(summary.header.revision, server.keyspace.status().await.unwrap().revision);
    for clear in ["open sesame", "b3BlbiBzZXNhbWU="] {
        assert!(!bytes.windows(clear.len()).any(|part| part == clear.as_bytes()), "a secret is in clear in the file");
    }
}

/// A server that stops cuts the stream; what arrived is no snapshot.
#[tokio::test]
async fn a_stream_that_is_cut_is_an_error() {
    let server = server::start().await;
    server.api.stop_streams();
    let answer = ask("GET", &format!("{PATH}/snapshot")).open(&server).await;
    assert!(answer.into_body().collect().await.is_err());
}
