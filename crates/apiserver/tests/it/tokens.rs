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
