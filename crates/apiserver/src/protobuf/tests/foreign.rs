//! What another library writes is read, and what is written here is read there. k8s-pb is made from the definitions of
//! Kubernetes 1.35 by a compiler of protobuf.

use std::fmt::Debug;

use api::kinds;
use k8s_pb::{
    api::{apps::v1 as apps, coordination::v1 as coordination, core::v1 as core},
    apimachinery::pkg::{apis::meta::v1 as meta, util::intstr::IntOrString},
};
use prost::Message as _;

use super::*;

/// Fields that are newer than the library.
const NEWER: [&str; 4] = ["schedulingGroup", "nodeAllocatableResourceClaimStatuses", "volumeStatus", "shardInfo"];

fn message_of(body: &[u8]) -> Vec<u8> {
    Unknown::of(body).unwrap().message.to_vec()
}

fn read(api_version: &str, kind: &str, message: &impl prost::Message) -> Value {
    let mut raw = Message::default();
    raw.append(&message.encode_to_vec());
    document(&sent(api_version, kind, &raw)).unwrap()
}

fn without(document: &mut Value, newer: &[&str], in_health: bool) {
    match document {
        Value::Object(fields) => {
            for (name, inner) in fields.iter_mut() {
                without(inner, newer, in_health || name == "allocatedResourcesStatus");
            }
            for name in newer {
                fields.shift_remove(*name);
            }
            // The message of a resource's health.
            if in_health && fields.contains_key("resourceID") {
                fields.shift_remove("message");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| without(item, newer, in_health)),
        _ => {}
    }
}

/// Whole objects, read and written again by the library, which drops what it does not know.
fn passes<M: prost::Message + Default + Debug>(plural: &str) {
    let kind = kinds::find(plural).unwrap();
    let mut whole = sample::of(kind, 1, 100);
    without(&mut whole, &NEWER, false);
    let there = M::decode(&*message_of(&body(&whole).unwrap())).unwrap();
    assert_eq!(read(&kind.api_version(), kind.kind(), &there), whole, "{plural}");
}

#[test]
fn whole_objects_pass_through_another_library() {
    passes::<core::Pod>("pods");
    passes::<core::Service>("services");
    passes::<core::ConfigMap>("configmaps");
    passes::<core::Secret>("secrets");
    passes::<core::Namespace>("namespaces");
    passes::<core::Event>("events");
    passes::<core::Node>("nodes");
    passes::<core::ServiceAccount>("serviceaccounts");
    passes::<core::PersistentVolumeClaim>("persistentvolumeclaims");
    passes::<apps::StatefulSet>("statefulsets");
    passes::<apps::ControllerRevision>("controllerrevisions");
    passes::<coordination::Lease>("leases");
}

#[test]
fn what_another_library_writes_is_read() {
    let container = core::Container {
        name: Some("web".into()),
        ports: vec![core::ContainerPort { container_port: Some(80), host_port: Some(0), ..Default::default() }],
        liveness_probe: Some(core::Probe {
            handler: Some(core::ProbeHandler {
                tcp_socket: Some(core::TcpSocketAction {
                    port: Some(IntOrString { r#type: Some(1), int_val: Some(0), str_val: Some("http".into()) }),
                    host: Some(String::new()),
                }),
                ..Default::default()
            }),
            period_seconds: Some(0),
            ..Default::default()
        }),
        ..Default::default()
    };
    let deployment = apps::Deployment {
        metadata: Some(meta::ObjectMeta {
            name: Some("web".into()),
            generate_name: Some(String::new()),
            creation_timestamp: Some(meta::Time::default()),
            labels: [("app".into(), "web".into())].into(),
            ..Default::default()
        }),
        spec: Some(apps::DeploymentSpec {
            replicas: Some(0),
            min_ready_seconds: Some(0),
            template: Some(core::PodTemplateSpec {
                spec: Some(core::PodSpec {
                    containers: vec![container],
                    automount_service_account_token: Some(false),
                    host_network: Some(false),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let wanted = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"replicas": 0, "template": {"spec": {
            "containers": [{
                "name": "web", "ports": [{"containerPort": 80}], "livenessProbe": {"tcpSocket": {"port": "http"}},
            }],
            "automountServiceAccountToken": false,
        }}},
    });
    assert_eq!(read("apps/v1", "Deployment", &deployment), wanted);
}

#[test]
fn another_library_reads_what_is_written() {
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p"},
        "count": 3, "lastTimestamp": "2020-09-13T12:26:40Z", "eventTime": "2020-09-13T12:26:40.000123Z",
    });
    let read = core::Event::decode(&*message_of(&body(&event).unwrap())).unwrap();
    assert_eq!(read.involved_object.unwrap().name.as_deref(), Some("p"));
    assert_eq!(read.count, Some(3));
    assert_eq!(read.last_timestamp.unwrap().seconds, Some(1_600_000_000));
    assert_eq!(read.event_time.unwrap().nanos, Some(123_000));
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "spec": {"unschedulable": true},
        "status": {"capacity": {"cpu": "2"}, "addresses": [{"type": "Hostname", "address": "n"}]},
    });
    let read = core::Node::decode(&*message_of(&body(&node).unwrap())).unwrap();
    let status = read.status.unwrap();
    assert_eq!(status.capacity["cpu"].string.as_deref(), Some("2"));
    assert_eq!(status.addresses[0].address.as_deref(), Some("n"));
    let frame = event_of(&node);
    let raw = frame.object.unwrap().raw.unwrap();
    assert_eq!((frame.r#type.as_deref(), document(&raw).unwrap()), (Some("MODIFIED"), node));
}

fn event_of(object: &Value) -> meta::WatchEvent {
    meta::WatchEvent::decode(&super::super::event("MODIFIED", object).unwrap()[4..]).unwrap()
}

#[test]
#[ignore = "reads the checkout of Kubernetes' repository `api` that KUBERNETES_API names"]
fn what_kubernetes_serialized_is_read_and_written_byte_for_byte() {
    #[expect(clippy::disallowed_methods, reason = "where the checkout is cannot be an argument of a test")]
    let checkout = std::env::var_os("KUBERNETES_API").expect("KUBERNETES_API");
    let mut passed = 0;
    for file in std::fs::read_dir(std::path::Path::new(&checkout).join("testdata/HEAD")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "pb") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let wanted: Value = serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
        if Unknown::of(&bytes).unwrap().shape().is_some() {
            assert_eq!(document(&bytes).unwrap(), wanted, "{path:?}");
            assert!(body(&wanted).unwrap() == bytes, "{path:?}");
            passed += 1;
        }
    }
    assert!(passed >= 80, "{passed}");
}
