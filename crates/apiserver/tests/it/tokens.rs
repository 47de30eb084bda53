//! Single-use tokens work once; certificates say who their owner is.

use serde_json::{Value, json};
use trust::{Subject, jwt::API_AUDIENCE};

use crate::server::{self, Server, ask};

const ISSUE: &str = "/apis/nanocloud.io/v1/tokens/issue";
const EXCHANGE: &str = "/apis/nanocloud.io/v1/tokens/exchange";

async fn issue(server: &Server, request: Value) -> String {
    let issued = ask("POST", ISSUE).json(&request).send(server).await.expect(201);
    assert_eq!(issued.headers["cache-control"], "no-store");
    issued.body["token"].as_str().unwrap().to_owned()
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_exchanges_at_once_exactly_one_wins() {
    let server = server::start().await;
    let token = issue(&server, json!({"user": "alice", "scopes": ["pods.read"]})).await;
    let tries = (0..16).map(|_| {
        let (router, token) = (server.router.clone(), bearer(&token));
        tokio::spawn(async move {
            let server = Server { router, ..server::start().await };
            ask("POST", EXCHANGE).outside().header("authorization", &token).send(&server).await
        })
    });
    let answers: Vec<_> = futures::future::join_all(tries).await.into_iter().map(Result::unwrap).collect();
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.code == 201);
    assert_eq!((won.len(), lost.len()), (1, 15));
    for answer in &lost {
        assert_eq!((answer.code.as_u16(), &answer.body["details"]["causes"][0]["reason"]), (401, &json!("Replayed")));
    }
    let jwt = won[0].body["token"].as_str().unwrap();
    let verified = server.tokens.verify(jwt, API_AUDIENCE, jiff::Timestamp::now()).unwrap();
    assert_eq!(verified.subject.user, "alice");
    let pods = "/api/v1/namespaces/default/pods";
    ask("GET", pods).outside().header("authorization", &bearer(jwt)).send(&server).await.expect(200);
    let secrets = "/api/v1/namespaces/default/secrets";
    ask("GET", secrets).outside().header("authorization", &bearer(jwt)).send(&server).await.expect(403);
}

#[tokio::test]
async fn a_single_use_token_is_good_for_nothing_else_and_keeps_its_secret() {
    let server = server::start().await;
    let token = issue(&server, json!({"user": "root", "groups": ["system:masters"]})).await;
    let secret = token.split_once('.').unwrap().1;
    for (method, path) in [("GET", "/api/v1/pods"), ("POST", "/apis/nanocloud.io/v1/certificates"), ("GET", "/api")] {
        let refused = ask(method, path).outside().header("authorization", &bearer(&token)).send(&server).await;
        assert_eq!(refused.code.as_u16(), 401, "{path}");
    }
    let stored = ask("GET", "/apis/nanocloud.io/v1/tokens").send(&server).await.expect(200);
    assert!(!stored.body.to_string().contains(secret));
    let forged = format!("{}.{}", token.split_once('.').unwrap().0, secret.chars().rev().collect::<String>());
    let unknown =
        ask("POST", EXCHANGE).outside().header("authorization", &bearer(&forged)).send(&server).await.expect(401);
    assert_eq!(unknown.body["details"]["causes"][0]["reason"], "Unknown");
    ask("POST", EXCHANGE).send(&server).await.expect(401);
    let broken = json!({"csr": "no request"});
    ask("POST", EXCHANGE)
        .outside()
        .header("authorization", &bearer(&token))
        .json(&broken)
        .send(&server)
        .await
        .expect(400);
    ask("POST", EXCHANGE).outside().header("authorization", &bearer(&token)).send(&server).await.expect(201);
}

#[tokio::test]
async fn only_administrators_issue_tokens() {
    let server = server::start().await;
    for subject in [Subject::node("n"), Subject::controllers(), Subject::scheduler(), Subject::authenticated("u", [])] {
        ask("POST", ISSUE).by(subject).json(&json!({"user": "root"})).send(&server).await.expect(403);
    }
    ask("POST", ISSUE).json(&json!({"user": "a", "scopes": ["pods.fly"]})).send(&server).await.expect(400);
    ask("POST", ISSUE).json(&json!({"user": "a", "ttlSeconds": 1_000_000})).send(&server).await.expect(400);
}

#[tokio::test]
async fn certificates_say_what_their_request_says_or_are_not_made() {
    let server = server::start().await;
    let sign = |body: Value| ask("POST", "/apis/nanocloud.io/v1/certificates").json(&body);
    let csr = |user: &str, names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        trust::csr::generate(user, &names).unwrap().0
    };
    let refused = sign(json!({"csr": csr("bob", &[])})).send(&server).await.expect(400);
    assert!(refused.body["message"].as_str().unwrap().contains("common name \"bob\""), "{}", refused.body);
    sign(json!({"csr": csr("bob", &[]), "user": "eve"})).send(&server).await.expect(400);
    sign(json!({"csr": csr("bob", &["a.example"]), "user": "bob"})).send(&server).await.expect(400);
    let dry = ask("POST", "/apis/nanocloud.io/v1/certificates?dryRun=All");
    dry.json(&json!({"csr": csr("bob", &[]), "user": "bob"})).send(&server).await.expect(400);
    let short = sign(json!({"csr": csr("bob", &[]), "user": "bob"})).send(&server).await.expect(201).body;
    let expires: jiff::Timestamp = short["expiresAt"].as_str().unwrap().parse().unwrap();
    let hours = expires.duration_since(jiff::Timestamp::now()).as_hours();
    assert!((23..=24).contains(&hours), "it cannot be revoked, so it ends within a day: {hours} h");
    let own = ask("POST", "/apis/nanocloud.io/v1/certificates").by(Subject::authenticated("bob", []));
    own.json(&json!({"csr": csr("bob", &["a.example"]), "names": ["a.example"]})).send(&server).await.expect(403);

    let named =
        json!({"csr": csr("bob", &["a.example", "10.0.0.1"]), "user": "bob", "names": ["a.example", "10.0.0.1"]});
    let named = sign(named).send(&server).await.expect(201).body;
    let pem = named["certificate"].as_str().unwrap();
    let info = trust::CertificateInfo::from_pem(pem).unwrap();
    assert_eq!((info.common_name.as_str(), info.names.len()), ("bob", 2), "{info:?}");
    assert!(info.for_servers, "whoever wants names serves at them");
    let own = trust::CertificateInfo::from_pem(short["certificate"].as_str().unwrap()).unwrap();
    assert!(!own.for_servers, "a user's certificate speaks for the user alone");
}

#[tokio::test]
async fn tokens_with_scopes_become_bearer_tokens_and_say_so() {
    let server = server::start().await;
    let token = bearer(&issue(&server, json!({"user": "alice", "scopes": ["pods.read"]})).await);
    let exchange = |body: Value| ask("POST", EXCHANGE).outside().header("authorization", &token).json(&body);
    let csr = trust::csr::generate("alice", &[]).unwrap().0;
    let refused = exchange(json!({"csr": csr})).send(&server).await.expect(400);
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "ScopedToken");
    let answer = exchange(json!({})).send(&server).await.expect(201);
    assert!(answer.body["token"].is_string() && answer.body["ca"].is_string());
}

#[tokio::test]
async fn a_token_whose_record_is_gone_tells_that_it_expired() {
    let server = server::start().await;
    // Its id says that it expired in the first second of 2026.
    let past = format!("aaaaabcdefgh.{}", "a".repeat(26));
    let expired = ask("POST", EXCHANGE).outside().header("authorization", &bearer(&past)).send(&server).await;
    assert_eq!(expired.expect(401).body["details"]["causes"][0]["reason"], "Expired");
    let fresh = issue(&server, json!({"user": "alice"})).await;
    let id = fresh.split_once('.').unwrap().0;
    ask("DELETE", &format!("/apis/nanocloud.io/v1/tokens/{id}")).send(&server).await.expect(200);
    let unknown = ask("POST", EXCHANGE).outside().header("authorization", &bearer(&fresh)).send(&server).await;
    assert_eq!(unknown.expect(401).body["details"]["causes"][0]["reason"], "Unknown");
}
