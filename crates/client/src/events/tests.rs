use api::{Kind, kinds::ConfigMap};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::Value;
use tower::util::BoxCloneSyncService;
use trust::Subject;

use super::*;
use crate::{Body, full_body};

type Requests = Arc<Mutex<Vec<(Method, String, Value)>>>;

/// A server that notes requests and answers each with the next of `codes`, then with 200.
fn server(codes: &[u16]) -> (Client, Requests) {
    let requests = Requests::default();
    let codes = Arc::new(Mutex::new(codes.iter().rev().copied().collect::<Vec<_>>()));
    let noted = requests.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (noted, codes) = (noted.clone(), codes.clone());
        async move {
            let (head, body) = request.into_parts();
            let sent = body.collect().await.unwrap().to_bytes();
            noted.lock().push((head.method, head.uri.path().to_owned(), serde_json::from_slice(&sent).unwrap()));
            let code = codes.lock().pop().unwrap_or(200);
            let answer = if code == 200 {
                sent_event()
            } else {
                json!({"status": "Failure", "code": code, "reason": reason(code)})
            };
            let answer = full_body(serde_json::to_vec(&answer).unwrap().into());
            Ok(Response::builder().status(code).body(answer).unwrap())
        }
    });
    (Client::in_process(BoxCloneSyncService::new(service), Subject::controllers()), requests)
}

fn reason(code: u16) -> &'static str {
    match code {
        404 => "NotFound",
        409 => "AlreadyExists",
        _ => "InternalError",
    }
}

fn sent_event() -> Value {
    json!({"metadata": {"name": "answered", "namespace": "web"}, "involvedObject": {}})
}

fn about() -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some("settings".into());
    map.metadata.namespace = Some("web".into());
    map.metadata.uid = Some("u-1".into());
    map
}

/// Records the messages and writes them; returns what was sent.
async fn sent(codes: &[u16], messages: &[&str]) -> Vec<(Method, String, Value)> {
    let (client, requests) = server(codes);
    let (recorder, writer) = EventRecorder::new(client, "tester", "node-1");
    for message in messages {
        recorder.record(&about(), Severity::Warning, "Broken", *message);
    }
    let stop = CancellationToken::new();
    stop.cancel();
    writer.run(stop).await;
    assert_eq!(recorder.dropped(), 0);
    Arc::try_unwrap(requests).unwrap().into_inner()
}

#[tokio::test(start_paused = true)]
async fn an_event_says_what_happened_to_what() {
    let sent = sent(&[], &["disk full"]).await;
    let [(method, path, event)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((method, path.as_str()), (&Method::POST, "/api/v1/namespaces/web/events"));
    assert_eq!(event["involvedObject"]["uid"], "u-1");
    assert_eq!(event["involvedObject"]["kind"], "ConfigMap");
    assert_eq!(
        (&event["type"], &event["reason"], &event["message"]),
        (&json!("Warning"), &json!("Broken"), &json!("disk full"))
    );
    assert_eq!((&event["count"], &event["reportingComponent"]), (&json!(1), &json!("tester")));
    let time = event["eventTime"].as_str().unwrap();
    assert!(time.parse::<Timestamp>().is_ok() && time.len() == "2026-01-01T00:00:00.000000Z".len(), "{time}");
    assert_eq!((&event["action"], &event["reportingInstance"]), (&json!("Broken"), &json!("node-1")));
    assert!(Kind::of::<CoreEvent>().admit(event.clone(), None).is_ok(), "the API takes what recorders write");
}

#[tokio::test(start_paused = true)]
async fn repeated_events_are_counted_and_others_are_not() {
    let sent = sent(&[], &["a", "a", "b", "a"]).await;
    let methods: Vec<_> = sent.iter().map(|(method, ..)| method.as_str()).collect();
    assert_eq!(methods, ["POST", "PATCH", "POST", "PATCH"]);
    assert_eq!((&sent[1].2["count"], &sent[3].2["count"]), (&json!(2), &json!(3)));
    assert!(sent[1].1.ends_with(sent[0].2["metadata"]["name"].as_str().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_try_that_failed_is_not_counted_twice() {
    let sent = sent(&[200, 503, 503, 200, 200], &["a", "a", "a"]).await;
    let counts: Vec<_> = sent[1..].iter().map(|(_, _, body)| body["count"].as_i64().unwrap()).collect();
    assert_eq!(counts, [2, 2, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_count_begins_anew_when_the_event_has_expired() {
    let sent = sent(&[200, 404], &["a", "a"]).await;
    let methods: Vec<_> = sent.iter().map(|(method, ..)| method.as_str()).collect();
    assert_eq!(methods, ["POST", "PATCH", "POST"]);
    assert_eq!(sent[2].2["count"], 1);
}

#[tokio::test(start_paused = true)]
async fn recording_never_waits_and_what_is_too_much_is_counted() {
    let (client, _) = server(&[]);
    let (recorder, _writer) = EventRecorder::new(client, "tester", "node-1");
    for index in 0..QUEUE + 7 {
        recorder.record(&about(), Severity::Normal, "Many", index.to_string());
    }
    assert_eq!(recorder.dropped(), 7);
}

#[test]
fn long_messages_are_cut_between_characters() {
    let cut = shorten("ä".repeat(MESSAGE_MAX_BYTES));
    assert!(cut.len() <= MESSAGE_MAX_BYTES && cut.ends_with("ä…"));
    assert_eq!(shorten("short".into()), "short");
}

#[test]
fn the_name_of_an_event_is_never_too_long() {
    let long = format!("{}.{}", "a".repeat(235), "b".repeat(17));
    let name = event_name(&long);
    assert!(name.len() <= NAME_MAX && !name.contains(".."), "{name}");
    assert!(event_name("pod").starts_with("pod.") && event_name("pod") != event_name("pod"));
}
