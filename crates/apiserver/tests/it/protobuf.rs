//! Kubernetes' protobuf over HTTP, by the messages of another library.

use http::{StatusCode, header};
use http_body_util::BodyExt;
use k8s_pb::{
    api::{authentication::v1 as authentication, core::v1 as core},
    apimachinery::pkg::{apis::meta::v1 as meta, runtime},
};
use prost::Message;
use serde_json::json;

use crate::server::{self, Ask, Server, ask};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// What Go's clients accept.
const PREFERRED: &str = "application/vnd.kubernetes.protobuf,application/json";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Sends a message as Go's clients do.
fn sends(ask: Ask, api_version: &str, kind: &str, message: &impl Message) -> Ask {
    let unknown = runtime::Unknown {
        type_meta: Some(runtime::TypeMeta { api_version: Some(api_version.into()), kind: Some(kind.into()) }),
        raw: Some(message.encode_to_vec()),
        ..Default::default()
    };
    let body = [b"k8s\0".to_vec(), unknown.encode_to_vec()].concat();
    ask.header("content-type", PROTOBUF).header("accept", PREFERRED).raw(body)
}

/// Reads a body: API version, kind, and the message.
fn read<M: Message + Default>(body: &[u8]) -> (String, String, M) {
    let unknown = runtime::Unknown::decode(body.strip_prefix(b"k8s\0").expect("no protobuf")).unwrap();
    let meta = unknown.type_meta.unwrap();
    (meta.api_version.unwrap(), meta.kind.unwrap(), M::decode(&*unknown.raw.unwrap()).unwrap())
}

/// The answer to a request: its message, once its code and kind are as expected.
async fn answered<M: Message + Default>(ask: Ask, server: &Server, code: StatusCode, wanted: (&str, &str)) -> M {
    let response = ask.open(server).await;
    assert_eq!((response.status(), &response.headers()[header::CONTENT_TYPE]), (code, &PROTOBUF.parse().unwrap()));
    let (api_version, kind, message) = read::<M>(&response.into_body().collect().await.unwrap().to_bytes());
    assert_eq!((api_version.as_str(), kind.as_str()), wanted);
    message
}

fn gets(path: &str) -> Ask {
    ask("GET", path).header("accept", PREFERRED)
}

fn map(name: &str, value: &str) -> core::ConfigMap {
    core::ConfigMap {
        metadata: Some(meta::ObjectMeta { name: Some(name.into()), ..Default::default() }),
        data: [("k".into(), value.into())].into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn objects_are_written_read_changed_and_deleted() {
    let server = server::start().await;
    let kind = ("v1", "ConfigMap");
    let create = sends(ask("POST", MAPS), "v1", "ConfigMap", &map("a", "one"));
    let made: core::ConfigMap = answered(create, &server, StatusCode::CREATED, kind).await;
    let there = made.metadata.clone().unwrap();
    assert!(there.uid.is_some() && there.creation_timestamp.unwrap().seconds.is_some());
    assert_eq!(there.managed_fields[0].fields_type.as_deref(), Some("FieldsV1"));
    // What was read is sent back with a change.
    let changed = core::ConfigMap { data: [("k".into(), "two".into())].into(), ..made };
    let update = sends(ask("PUT", &format!("{MAPS}/a")), "v1", "ConfigMap", &changed);
    let updated: core::ConfigMap = answered(update, &server, StatusCode::OK, kind).await;
    assert_eq!(updated.data["k"], "two");
    let read: core::ConfigMap = answered(gets(&format!("{MAPS}/a")), &server, StatusCode::OK, kind).await;
    assert_eq!(read, updated);
    let missing = gets(&format!("{MAPS}/b"));
    answered::<meta::Status>(missing, &server, StatusCode::NOT_FOUND, ("v1", "Status")).await;
    let list: core::ConfigMapList = answered(gets(MAPS), &server, StatusCode::OK, ("v1", "ConfigMapList")).await;
    assert_eq!(list.items.iter().filter(|item| item.metadata == read.metadata).count(), 1);
    assert!(list.metadata.unwrap().resource_version.is_some());
    let stale = meta::DeleteOptions {
        preconditions: Some(meta::Preconditions { resource_version: Some("1".into()), ..Default::default() }),
        grace_period_seconds: Some(0),
        ..Default::default()
    };
    let delete = sends(ask("DELETE", &format!("{MAPS}/a")), "v1", "DeleteOptions", &stale);
    let refused: meta::Status = answered(delete, &server, StatusCode::CONFLICT, ("v1", "Status")).await;
    assert_eq!((refused.reason.as_deref(), refused.code), (Some("Conflict"), Some(409)));
    let delete = sends(ask("DELETE", &format!("{MAPS}/a")), "v1", "DeleteOptions", &meta::DeleteOptions::default());
    let done: meta::Status = answered(delete, &server, StatusCode::OK, ("v1", "Status")).await;
    assert_eq!(done.details.unwrap().name.as_deref(), Some("a"));
}

#[tokio::test]
async fn subresources_and_questions_are_asked_and_answered() {
    let server = server::start().await;
    let sets = "/apis/apps/v1/namespaces/default/statefulsets";
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let set = json!({
        "metadata": {"name": "s"},
        "spec": {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "template": template},
    });
    ask("POST", sets).json(&set).send(&server).await.expect(201);
    let scale = format!("{sets}/s/scale");
    let kind = ("autoscaling/v1", "Scale");
    let found: k8s_pb::api::autoscaling::v1::Scale = answered(gets(&scale), &server, StatusCode::OK, kind).await;
    assert_eq!(found.spec.unwrap().replicas, Some(1));
    // Go writes every number, and JSON leaves out a zero.
    let none = k8s_pb::api::autoscaling::v1::ScaleSpec { replicas: Some(0) };
    let wanted = k8s_pb::api::autoscaling::v1::Scale { spec: Some(none), ..found };
    let update = sends(ask("PUT", &scale), "autoscaling/v1", "Scale", &wanted);
    let scaled: k8s_pb::api::autoscaling::v1::Scale = answered(update, &server, StatusCode::OK, kind).await;
    assert_eq!(scaled.spec.unwrap().replicas, Some(0));
    let review = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let kind = ("authentication.k8s.io/v1", "SelfSubjectReview");
    let question = sends(ask("POST", review), kind.0, kind.1, &authentication::SelfSubjectReview::default());
    let who: authentication::SelfSubjectReview = answered(question, &server, StatusCode::CREATED, kind).await;
    assert_eq!(who.status.unwrap().user_info.unwrap().username.as_deref(), Some("tester"));
    let kinds: meta::APIResourceList =
        answered(gets("/apis/apps/v1"), &server, StatusCode::OK, ("v1", "APIResourceList")).await;
    assert!(kinds.resources.iter().any(|kind| kind.name.as_deref() == Some("statefulsets")));
}

#[tokio::test]
async fn watches_are_frames() {
    let server = server::start().await;
    ask("POST", MAPS).json(&json!({"metadata": {"name": "a"}})).send(&server).await.expect(201);
    let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    for (accept, api_version, kind) in
        [(PREFERRED, "v1", "ConfigMap"), (metadata, "meta.k8s.io/v1", "PartialObjectMetadata")]
    {
        let path = format!("{MAPS}?watch=true&fieldSelector=metadata.name%3Da&timeoutSeconds=5");
        let response = ask("GET", &path).header("accept", accept).open(&server).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/vnd.kubernetes.protobuf;stream=watch");
        let mut body = response.into_body();
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let (length, event) = frame.split_first_chunk().unwrap();
        assert_eq!(u32::from_be_bytes(*length) as usize, event.len());
        let event = meta::WatchEvent::decode(event).unwrap();
        let object = read::<meta::PartialObjectMetadata>(&event.object.unwrap().raw.unwrap());
        assert_eq!((event.r#type.as_deref(), &*object.0, &*object.1), (Some("ADDED"), api_version, kind));
        assert_eq!(object.2.metadata.unwrap().name.as_deref(), Some("a"));
    }
}

#[tokio::test]
async fn what_has_no_messages_is_json_or_refused() {
    let server = server::start().await;
    let bundles = "/apis/nanocloud.io/v1/namespaces/default/bundles";
    let list = gets(bundles).send(&server).await.expect(200);
    assert_eq!(
        (&list.headers["content-type"], &list.body["kind"]),
        (&"application/json".parse().unwrap(), &json!("BundleList"))
    );
    ask("GET", bundles).header("accept", PROTOBUF).send(&server).await.expect(406);
    let bundle = sends(ask("POST", bundles), "nanocloud.io/v1", "Bundle", &core::ConfigMap::default());
    bundle.send(&server).await.expect(415);
    let tables = format!("{PROTOBUF};as=Table;g=meta.k8s.io;v=v1,application/json;as=Table;g=meta.k8s.io;v=v1");
    let table = ask("GET", MAPS).header("accept", &tables).send(&server).await.expect(200);
    assert_eq!(table.body["kind"], "Table");
    // Metadata is a message of its own, whatever the kind.
    let metadata = format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let kind = ("meta.k8s.io/v1", "PartialObjectMetadataList");
    let ask = ask("GET", bundles).header("accept", &metadata);
    answered::<meta::PartialObjectMetadataList>(ask, &server, StatusCode::OK, kind).await;
}
