//! Failures, field validation, health, metrics and streams as HTTP shows them.

use keyspace::Keyspace;
use serde_json::json;
use trust::Subject;

use crate::server::{self, ask};

#[tokio::test]
async fn every_failure_is_a_status_with_a_trace_id() {
    let server = server::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let large = vec![b' '; apiserver::limits::MAX_BODY_BYTES + 1];
    for (request, code, reason) in [
        (ask("GET", "/nothing"), 404, "NotFound"),
        (ask("GET", "/api/v1/widgets"), 404, "NotFound"),
        (ask("PUT", maps), 405, "MethodNotAllowed"),
        (ask("GET", maps).header("accept", "text/html"), 406, "NotAcceptable"),
        (ask("GET", "/openapi/v2").header("accept", "text/html"), 406, "NotAcceptable"),
        (ask("POST", maps).raw(large), 413, "RequestEntityTooLarge"),
        (ask("POST", maps).typed("application/cbor", &json!({})), 415, "UnsupportedMediaType"),
        (ask("POST", maps).raw(b"{".to_vec()), 400, "BadRequest"),
        (ask("POST", maps).raw(b"[]".to_vec()), 400, "BadRequest"),
        (ask("POST", maps).json(&json!({"metadata": {"name": "Bad Name"}})), 422, "Invalid"),
        (ask("POST", maps).json(&json!({"kind": "Secret", "metadata": {"name": "a"}})), 422, "Invalid"),
        (
            ask("POST", "/apis/nanocloud.io/v1/namespaces/default/bundles")
                .json(&json!({"spec": {"service": "x", "odd": 1}})),
            400,
            "Invalid",
        ),
        (ask("GET", maps).outside(), 401, "Unauthorized"),
        (ask("GET", maps).by(Subject::authenticated("nobody", [])), 403, "Forbidden"),
        (ask("GET", maps).outside().header("authorization", "Basic eDp5"), 401, "Unauthorized"),
        (ask("GET", maps).outside().header("authorization", "Bearer rubbish"), 401, "Unauthorized"),
        (ask("GET", "/api/v1/namespaces/default/pods/p/attach"), 404, "NotFound"),
    ] {
        let answer = request.send(&server).await.expect(code);
        assert_eq!(answer.body["kind"], "Status");
        assert_eq!((&answer.body["reason"], &answer.body["code"]), (&json!(reason), &json!(code)), "{:#}", answer.body);
        assert_eq!(answer.body["trace_id"], answer.headers["x-trace-id"].to_str().unwrap());
        assert_eq!(answer.body["trace_id"].as_str().unwrap().len(), 32);
    }
}

#[tokio::test]
async fn a_method_that_is_not_served_is_answered_with_those_that_are() {
    let server = server::start().await;
    let own = "/apis/nanocloud.io/v1";
    for (method, path, allowed) in [
        ("PUT", "/api/v1/configmaps".to_owned(), "GET, POST"),
        ("DELETE", "/api/v1/namespaces".to_owned(), "GET, POST"),
        ("PUT", "/api/v1/namespaces/default/configmaps".to_owned(), "GET, POST, DELETE"),
        ("POST", "/api/v1/namespaces/default".to_owned(), "GET, PUT, PATCH, DELETE"),
        ("GET", "/api/v1/namespaces/default/finalize".to_owned(), "PUT"),
        ("POST", "/healthz".to_owned(), "GET"),
        ("POST", format!("{own}/keyspace/alarms"), "GET, DELETE"),
        ("GET", format!("{own}/members/m/promote"), "POST"),
        ("DELETE", format!("{own}/certificates"), "POST"),
    ] {
        let refused = ask(method, &path).send(&server).await.expect(405);
        assert_eq!(refused.headers["allow"], allowed, "{method} {path}");
    }
    // What is no row for this method may be an object.
    ask("GET", &format!("{own}/tokens/issue")).send(&server).await.expect(404);
}

#[tokio::test]
async fn unknown_fields_warn_or_fail_as_asked() {
    let server = server::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let map = |name: &str| json!({"metadata": {"name": name}, "colour": "red"});
    let warned = ask("POST", maps).json(&map("a")).send(&server).await.expect(201);
    assert_eq!(warned.headers["warning"], "299 - \"unknown field \\\"colour\\\"\"");
    let silent = ask("POST", &format!("{maps}?fieldValidation=Ignore")).json(&map("b")).send(&server).await.expect(201);
    assert!(!silent.headers.contains_key("warning"));
    let strict = ask("POST", &format!("{maps}?fieldValidation=Strict")).json(&map("c")).send(&server).await.expect(400);
    assert!(strict.body["message"].as_str().unwrap().contains("unknown field \"colour\""));
    let bundle = json!({"spec": {"service": "x", "options": {}, "odd": 1}});
    let own =
        ask("POST", "/apis/nanocloud.io/v1/namespaces/default/bundles").json(&bundle).send(&server).await.expect(400);
    assert_eq!(own.body["details"]["causes"][0]["field"], "spec.odd");
}

#[tokio::test]
async fn what_has_no_effect_is_warned_of_and_what_is_unsafe_is_refused() {
    let server = server::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = |name: &str, field: &str, value: serde_json::Value| {
        let mut pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        pod["spec"][field] = value;
        pod
    };
    let wish = pod("a", "priorityClassName", "system-node-critical".into());
    let warned = ask("POST", &format!("{pods}?fieldValidation=Ignore")).json(&wish).send(&server).await.expect(201);
    assert_eq!(warned.headers["warning"], "299 - \"spec.priorityClassName: no pod comes before another\"");
    let refused = ask("POST", pods).json(&pod("b", "hostUsers", false.into())).send(&server).await.expect(422);
    let cause = &refused.body["details"]["causes"][0];
    assert_eq!((&cause["field"], &cause["reason"]), (&json!("spec.hostUsers"), &json!("FieldValueForbidden")));
    // A change elsewhere does not repeat what was said.
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    let patch = ask("PATCH", &format!("{pods}/a")).typed("application/merge-patch+json", &labels);
    assert!(!patch.send(&server).await.expect(200).headers.contains_key("warning"));
}

#[tokio::test]
async fn health_is_for_everybody_and_metrics_are_text() {
    let server = server::start().await;
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        ask("GET", path).outside().send(&server).await.expect(200);
    }
    let verbose = ask("GET", "/readyz?verbose").send(&server).await.expect(200);
    assert!(verbose.body.as_str().unwrap().contains("[+]keyspace ok"));
    ask("GET", "/metrics").outside().send(&server).await.expect(401);
    let metrics = ask("GET", "/metrics").send(&server).await.expect(200);
    let text = metrics.body.as_str().unwrap();
    assert!(text.contains("# TYPE nanocloud_api_requests_total counter\n"), "{text}");
    assert!(text.contains("nanocloud_keyspace_revision ") && !text.contains("# EOF"));
    assert!(server.keyspace.status().await.unwrap().revision > 1);
}

#[tokio::test]
async fn logs_are_text_and_sessions_want_a_websocket() {
    let server = server::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    ask("POST", pods).json(&pod).send(&server).await.expect(201);
    let log = ask("GET", &format!("{pods}/p/log?tailLines=1")).send(&server).await.expect(200);
    assert_eq!(log.body, "two\n");
    assert_eq!(ask("GET", "/api/v1/pods/p/log").send(&server).await.expect(200).body, "one\ntwo\n");
    ask("GET", &format!("{pods}/none/log")).send(&server).await.expect(404);
    let exec = format!("{pods}/p/exec?command=a&stdout=1");
    ask("GET", &exec).send(&server).await.expect(400);
    let spdy = ask("POST", &exec).header("upgrade", "SPDY/3.1").header("x-stream-protocol-version", "v1");
    let spdy = spdy.send(&server).await.expect(400);
    assert!(spdy.body["remedy"].as_str().unwrap().contains("v4.channel.k8s.io"));
    let h2 = ask("GET", &exec).version(http::Version::HTTP_2).send(&server).await.expect(426);
    assert_eq!(h2.body["reason"], "UpgradeRequired");
}

/// Lines of the log, collected.
#[derive(Clone, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn every_refusal_is_found_in_the_log_by_its_trace_id_without_what_was_sent() {
    let server = server::start().await;
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let admin = trust::TokenGrant {
        user: "alice".into(),
        groups: vec!["system:masters".into()],
        scopes: None,
        audience: trust::jwt::API_AUDIENCE.into(),
        ttl: std::time::Duration::from_secs(60),
    };
    let token = server.tokens.issue(&admin, jiff::Timestamp::now()).unwrap();
    let token = format!("Bearer {}", trust::ExposeSecret::expose_secret(&token));
    let secrets = "/api/v1/namespaces/default/secrets";
    for (request, code, user) in [
        (ask("GET", "/api/v1/pods").outside(), 401, "system:anonymous"),
        (ask("GET", &format!("{secrets}/none?token=hunter2")).outside().header("authorization", &token), 404, "alice"),
        (
            ask("POST", secrets)
                .outside()
                .header("authorization", &token)
                .json(&json!({"metadata": {"name": "s"}, "data": "hunter2"})),
            422,
            "alice",
        ),
    ] {
        let answer = request.send(&server).await;
        assert!(answer.code.as_u16() == code || answer.code == 400, "{:#}", answer.body);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let line = text.lines().find(|line| line.contains(answer.body["trace_id"].as_str().unwrap())).expect("no line");
        let reason = answer.body["reason"].as_str().unwrap();
        for part in [answer.code.as_str(), reason, user, "/api/v1/"] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        assert!(!line.contains("hunter2"), "{line}");
    }
}

#[tokio::test]
async fn who_finds_nothing_is_told_where_to_look() {
    let server = server::start().await;
    for (path, remedy) in [
        ("/api/v1/namespaces/default/pods/none", "kubectl get pods -A"),
        ("/api/v1/nodes/none", "kubectl get nodes"),
        ("/api/v1/widgets", "kubectl api-resources"),
    ] {
        let answer = ask("GET", path).send(&server).await.expect(404);
        assert!(answer.body["remedy"].as_str().unwrap().contains(remedy), "{}", answer.body);
    }
}
