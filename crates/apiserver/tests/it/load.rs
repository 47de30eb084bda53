//! What others send does not keep the system's own parts from the server.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, StatusCode};
use serde_json::json;
use tower::ServiceExt;
use trust::Subject;

use crate::server::{self, Server, ask};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Sends a request whose body begins with so many bytes and never ends.
fn slow(server: &Server, bytes: usize) -> tokio::task::JoinHandle<StatusCode> {
    let first = stream::iter([Ok::<_, Infallible>(Bytes::from(vec![b' '; bytes]))]);
    let body = Body::from_stream(first.chain(stream::pending()));
    let request = Request::post(REVIEWS).extension(Subject::authenticated("slow", [])).body(body).unwrap();
    let router = server.router.clone();
    tokio::spawn(async move { router.oneshot(request).await.unwrap().status() })
}

async fn renews_its_lease(server: &Server) {
    let node = || Subject::node("n1");
    let lease = json!({"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1"}});
    let made = ask("POST", LEASES).by(node()).json(&lease).send(server).await;
    assert!(matches!(made.code.as_u16(), 201 | 409), "{:#}", made.body);
    let renewed = json!({"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}});
    let patch = ask("PATCH", &format!("{LEASES}/n1")).by(node()).typed("application/merge-patch+json", &renewed);
    patch.send(server).await.expect(200);
}

#[tokio::test]
async fn slow_bodies_hold_no_places() {
    let server = server::start().await;
    let senders: Vec<_> = (0..2 * apiserver::limits::MAX_IN_FLIGHT).map(|_| slow(&server, 1)).collect();
    // Each has been polled, and waits for more.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(senders.iter().all(|sender| !sender.is_finished()));
    renews_its_lease(&server).await;
    ask("POST", MAPS).json(&json!({"metadata": {"name": "a"}})).send(&server).await.expect(201);
    ask("GET", MAPS).send(&server).await.expect(200);
    senders.into_iter().for_each(|sender| sender.abort());
}

#[tokio::test]
async fn bodies_that_fill_the_memory_leave_the_systems_part_alone() {
    let server = server::start().await;
    let each = apiserver::limits::MAX_BODY_BYTES;
    let count = apiserver::limits::MAX_BODIES_BYTES.div_ceil(each) + 4;
    let senders: Vec<_> = (0..count).map(|_| slow(&server, each)).collect();
    let refused = async {
        while senders.iter().filter(|sender| sender.is_finished()).count() < 4 {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), refused).await.expect("none is refused");
    let large = json!({"metadata": {"name": "a"}, "data": {"a": "x".repeat(1024 * 1024 + each / 3)}});
    ask("POST", MAPS).json(&large).send(&server).await.expect(429);
    renews_its_lease(&server).await;
    for sender in senders {
        if sender.is_finished() {
            assert_eq!(sender.await.unwrap(), StatusCode::TOO_MANY_REQUESTS);
        } else {
            sender.abort();
        }
    }
}

#[tokio::test]
async fn probes_answer_anybody_and_are_few_looks() {
    let server = server::start().await;
    let probes = (0..200).map(|n| {
        let path = ["/livez", "/readyz", "/healthz"][n % 3];
        ask("GET", path).outside().send(&server)
    });
    let answers = futures::future::join_all(probes).await;
    assert!(answers.iter().all(|answer| matches!(answer.code.as_u16(), 200 | 429)));
    let live = answers.iter().step_by(3);
    assert!(live.into_iter().all(|answer| answer.code == 200), "liveness looks at nothing");
}
