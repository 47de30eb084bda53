//! Members of the cluster over the API: who may see and change them, and joining.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use apiserver::Membership;
use futures::{FutureExt, future::BoxFuture};
use keyspace::{Cluster, ClusterError, ClusterState, Member, MemberChange, MemberRole, MemberState};
use serde_json::{Value, json};
use trust::{AssetsConfig, Scopes, SecureAssets, SharedAssets, Subject};

use crate::server::{self, Server, ask};

const MEMBERS: &str = "/apis/nanocloud.io/v1/members";

/// Two members, of which the second cannot be removed; keeps what it is asked.
#[derive(Default)]
struct Scripted(Mutex<Vec<MemberChange>>);

impl Cluster for Scripted {
    fn members(&self) -> BoxFuture<'_, ClusterState> {
        let state = |id, name: &str, leads| MemberState {
            member: Member { id, name: name.into(), peer_address: format!("{name}:1"), api_url: String::new() },
            role: MemberRole::Voter,
            leads,
            reachable: true,
            matched: Some(9),
        };
        let members = vec![state(1, "a", true), state(0xb0, "b", false)];
        let state = ClusterState {
            cluster_id: 0xc,
            asked: 1,
            leader: Some(1),
            term: 2,
            last_index: 9,
            applied_index: 9,
            members,
        };
        async move { state }.boxed()
    }

    fn change(&self, change: MemberChange) -> BoxFuture<'_, Result<(), ClusterError>> {
        let refused = change == MemberChange::Remove { id: 0xb0, force: false };
        self.0.lock().unwrap().push(change);
        let answer = if refused { Err(ClusterError::Quorum { id: 0xb0, left: 1, reachable: 0 }) } else { Ok(()) };
        async move { answer }.boxed()
    }
}

async fn start() -> (Server, Arc<Scripted>, tempfile::TempDir) {
    let server = server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let dir: PathBuf = folder.path().join("assets");
    let config = AssetsConfig { dir: dir.clone(), server_names: vec!["localhost".into()], data_exists: false };
    SecureAssets::init(&config, jiff::Timestamp::now()).unwrap();
    let cluster = Arc::new(Scripted::default());
    let assets = Arc::new(move || SharedAssets::read(&dir));
    server.api.serve_members(Membership { cluster: cluster.clone(), assets });
    (server, cluster, folder)
}

#[tokio::test]
async fn members_are_shown_and_changed_by_those_who_may() {
    let (server, cluster, _folder) = start().await;
    let list = ask("GET", MEMBERS).send(&server).await.expect(200).body;
    assert_eq!(
        (&list["clusterId"], &list["leader"], &list["items"][1]["id"]),
        (&json!("c"), &json!("1"), &json!("b0"))
    );
    let status = ask("GET", &format!("{MEMBERS}/status")).send(&server).await.expect(200).body;
    assert_eq!((&status["status"]["member"], &status["status"]["term"]), (&json!("1"), &json!(2)));

    let scoped = |scopes: &str| Subject { scopes: Some(Scopes::parse(scopes).unwrap()), ..Subject::admin("jo") };
    for (subject, read, change) in [
        (scoped("cluster.read"), 200, 403),
        (scoped("pods.read"), 403, 403),
        (Subject::node("n"), 403, 403),
        (Subject::authenticated("m", ["system:nanocloud:members".to_owned()]), 403, 403),
        (Subject::authenticated("p", ["system:monitoring".to_owned()]), 200, 403),
        (Subject::admin("root"), 200, 200),
    ] {
        ask("GET", MEMBERS).by(subject.clone()).send(&server).await.expect(read);
        ask("GET", &format!("{MEMBERS}/status")).by(subject.clone()).send(&server).await.expect(read);
        ask("POST", &format!("{MEMBERS}/b/lead")).by(subject).send(&server).await.expect(change);
    }
    ask("GET", MEMBERS).outside().send(&server).await.expect(401);
    ask("POST", &format!("{MEMBERS}/nobody/lead")).send(&server).await.expect(404);
    let refused = ask("POST", &format!("{MEMBERS}/b0/remove")).send(&server).await.expect(409);
    assert!(refused.body["message"].as_str().unwrap().contains("too few to go on"), "{:#}", refused.body);
    for name in ["a", "b"] {
        ask("POST", "/api/v1/nodes").json(&json!({"metadata": {"name": name}})).send(&server).await.expect(201);
    }
    ask("POST", &format!("{MEMBERS}/b/remove")).json(&json!({"force": true})).send(&server).await.expect(200);
    ask("GET", "/api/v1/nodes/b").send(&server).await.expect(404);
    ask("GET", "/api/v1/nodes/a").send(&server).await.expect(200);
    ask("POST", &format!("{MEMBERS}/b/remove")).json(&json!({"farce": true})).send(&server).await.expect(400);
    let changes = cluster.0.lock().unwrap();
    assert_eq!(changes[0], MemberChange::Lead { id: 0xb0 });
    assert_eq!(changes.last(), Some(&MemberChange::Remove { id: 0xb0, force: true }));
}

async fn token(server: &Server, user: &str) -> String {
    let issued = ask("POST", "/apis/nanocloud.io/v1/tokens/issue").json(&json!({"user": user})).send(server).await;
    format!("Bearer {}", issued.expect(201).body["token"].as_str().unwrap())
}

fn request(name: &str) -> Value {
    json!({"name": name, "peerAddress": "c:1", "apiUrl": "https://c:2", "version": env!("CARGO_PKG_VERSION")})
}

#[tokio::test]
async fn a_join_token_takes_one_server_in_and_is_good_for_nothing_else() {
    let (server, cluster, _folder) = start().await;
    let join = |token: &str, body: Value| {
        ask("POST", &format!("{MEMBERS}/join")).outside().header("authorization", token).json(&body)
    };
    let word = token(&server, "system:nanocloud:joining").await;
    for wrong in [
        json!({"name": "c"}),
        json!({"name": "c", "peerAddress": "c:1", "apiUrl": "", "version": "0.0.0-other"}),
        json!({"name": "C c", "peerAddress": "c:1", "apiUrl": "", "version": env!("CARGO_PKG_VERSION")}),
    ] {
        join(&word, wrong).send(&server).await.expect(400);
    }
    join(&word, request("b")).send(&server).await.expect(409);
    join(&token(&server, "alice").await, request("c")).send(&server).await.expect(403);
    ask("POST", &format!("{MEMBERS}/join")).outside().json(&request("c")).send(&server).await.expect(401);
    let exchange = ask("POST", "/apis/nanocloud.io/v1/tokens/exchange").outside().header("authorization", &word);
    exchange.send(&server).await.expect(403);
    assert!(cluster.0.lock().unwrap().is_empty(), "nothing was changed so far");

    let joined = join(&word, request("c")).send(&server).await.expect(201);
    assert_eq!(
        (&joined.body["clusterId"], &joined.headers["cache-control"]),
        (&json!("c"), &"no-store".parse().unwrap())
    );
    let shared: SharedAssets = serde_json::from_value(joined.body["assets"].clone()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    shared.install(&folder.path().join("assets")).unwrap();
    let id = u64::from_str_radix(joined.body["memberId"].as_str().unwrap(), 16).unwrap();
    let member = Member { id, name: "c".into(), peer_address: "c:1".into(), api_url: "https://c:2".into() };
    assert_eq!(*cluster.0.lock().unwrap(), [MemberChange::Add(member)]);
    join(&word, request("d")).send(&server).await.expect(401);
}

/// A server that did not get the answer asks again with its key, and is the same member; nobody else may use the token.
#[tokio::test]
async fn who_joins_may_ask_again_with_its_key() {
    let (server, cluster, _folder) = start().await;
    let word = token(&server, "system:nanocloud:joining").await;
    let join = |name: &str, key: &str| {
        let mut body = request(name);
        body["key"] = key.into();
        ask("POST", &format!("{MEMBERS}/join")).outside().header("authorization", &word).json(&body)
    };
    let first = join("c", "secret").send(&server).await.expect(201).body["memberId"].clone();
    let again = join("c", "secret").send(&server).await.expect(201).body["memberId"].clone();
    assert_eq!(first, again);
    join("c", "another").send(&server).await.expect(401);
    ask("POST", &format!("{MEMBERS}/join"))
        .outside()
        .header("authorization", &word)
        .json(&request("c"))
        .send(&server)
        .await
        .expect(401);
    let changes = cluster.0.lock().unwrap();
    assert!(matches!(&changes[..], [MemberChange::Add(one), MemberChange::Add(other)] if one == other), "{changes:?}");
}
