use serde_json::json;

use super::{
    wire::{Fields, Raw},
    *,
};

mod foreign;
mod sample;

/// A document as it is after it was written and read.
fn again(document: &Value) -> Value {
    let text = |field| document[field].as_str().unwrap();
    let shape = table::message(text("apiVersion"), text("kind")).unwrap();
    write::fields(&mut Message::default(), shape, document.as_object().unwrap()).unwrap();
    super::document(&body(document).unwrap()).unwrap()
}

/// A body that a client sends.
fn sent(api_version: &str, kind: &str, message: &Message) -> Vec<u8> {
    let mut meta = Message::default();
    meta.bytes(1, api_version.as_bytes());
    meta.bytes(2, kind.as_bytes());
    let mut unknown = Message::of(1, &meta);
    unknown.message(2, message);
    [MAGIC.to_vec(), unknown.into_bytes()].concat()
}

fn named(name: &str) -> Message {
    let mut meta = Message::default();
    meta.bytes(1, name.as_bytes());
    Message::of(1, &meta)
}

#[test]
fn zeros_that_mean_something_are_kept() {
    for document in [
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {
            "replicas": 0, "revisionHistoryLimit": 0, "selector": {}, "template": {},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}},
        }}),
        json!({"apiVersion": "v1", "kind": "Pod", "spec": {
            "automountServiceAccountToken": false, "enableServiceLinks": false, "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsUser": 0, "runAsNonRoot": false, "supplementalGroups": [0]},
            "containers": [{"name": "", "securityContext": {"privileged": false}}],
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"defaultMode": 0}}],
            "overhead": {"cpu": "0"},
        }}),
        json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 0, "targetPort": "http"}]}}),
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {"storageClassName": ""}}),
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"leaseTransitions": 0}}),
        json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"suspend": false, "parallelism": 0, "template": {}}}),
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "status": {"replicas": 0}}),
    ] {
        assert_eq!(again(&document), document);
    }
}

#[test]
fn zeros_that_json_leaves_out_are_left_out() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": {
        "hostNetwork": false, "nodeName": "", "restartPolicy": "",
        "containers": [{
            "name": "a", "workingDir": "", "tty": false, "ports": [{"containerPort": 1, "hostPort": 0, "protocol": ""}],
            "livenessProbe": {"periodSeconds": 0, "httpGet": {"port": 0, "path": ""}},
        }],
    }});
    let wanted = json!({"apiVersion": "v1", "kind": "Pod", "spec": {
        "containers": [{
            "name": "a", "ports": [{"containerPort": 1}], "livenessProbe": {"httpGet": {"port": 0}},
        }],
    }});
    assert_eq!(again(&pod), wanted);
    let service = json!({"apiVersion": "v1", "kind": "Service", "spec": {
        "clusterIP": "", "publishNotReadyAddresses": false, "ports": [{"port": 80, "targetPort": 0, "nodePort": 0}],
    }});
    assert_eq!(again(&service)["spec"], json!({"ports": [{"port": 80}]}));
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 0}});
    assert_eq!(again(&scale)["spec"], json!({}));
}

#[test]
fn forms_of_their_own_survive() {
    let time = "2020-09-13T12:26:40Z";
    for document in [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "creationTimestamp": time}, "data": {"k": "AP8="}}),
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"renewTime": "2020-09-13T12:26:40.000123Z"}}),
        json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": -1, "data": {"spec": [1, null, {"a": 0.5}]}}),
        json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{
            "name": "a", "resources": {"limits": {"cpu": "100m"}}, "env": [{"name": "e", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}],
        }]}}),
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "status": {"disruptedPods": {"a": time, "b": null}}}),
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": {"user": {"extra": {"k": ["a", ""], "none": []}}}}),
        json!({"apiVersion": "v1", "kind": "APIResourceList", "groupVersion": "v1", "resources": [{"name": "pods", "verbs": ["get"]}]}),
        json!({"apiVersion": "metrics.k8s.io/v1beta1", "kind": "NodeMetrics", "window": "1m0.5s", "usage": {"cpu": "1"}}),
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": {"versions": [{
            "name": "v1", "served": true, "storage": false, "schema": {"openAPIV3Schema": {
                "$schema": "s", "type": "object", "minimum": 0, "maximum": 1.5, "default": {"a": []}, "enum": [1, "b"],
                "x-kubernetes-preserve-unknown-fields": false, "additionalProperties": false,
                "properties": {"a": {"additionalProperties": {"type": "string"}, "items": [{"type": "null"}]}},
                "items": {"type": "integer"}, "dependencies": {"a": ["b"], "c": {"not": {}}},
            }},
        }]}}),
        json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "a"}}]}),
        json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "Gone", "code": 410, "details": {"causes": [{"field": "f"}]}}),
    ] {
        assert_eq!(again(&document), document);
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Pod", "spec": {}}]});
    assert_eq!(again(&list), list);
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}});
    let mut raw = Message::default();
    raw.bytes(1, &body(&map).unwrap());
    let within = super::document(&sent("v1", "List", &Message::of(2, &raw))).unwrap();
    assert_eq!(within["items"], json!([map]), "a body within a body");
}

#[test]
fn what_other_versions_and_other_writers_send_is_read() {
    let mut pod = named("p");
    pod.bytes(99, b"of another version");
    // A message in two pieces, and packed numbers.
    let mut user = Message::default();
    user.number(2, 7);
    let mut groups = Message::default();
    groups.bytes(4, &[1, 2]);
    for context in [user, groups] {
        pod.message(2, &Message::of(14, &context));
    }
    let read = document(&sent("v1", "Pod", &pod)).unwrap();
    let context = json!({"runAsUser": 7, "supplementalGroups": [1, 2]});
    let wanted =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"securityContext": context}});
    assert_eq!(read, wanted);
}

#[test]
fn what_is_no_message_is_refused_and_nothing_overruns() {
    let code = |body: &[u8]| document(body).unwrap_err().status.code;
    assert_eq!(code(&sent("nanocloud.io/v1", "Bundle", &named("b"))), 415);
    assert_eq!(code(b"{}"), 400);
    let mut odd = Message::default();
    odd.number(1, 1);
    assert_eq!(code(&sent("v1", "Pod", &odd)), 400, "a number where a message is");
    let mut text = Message::default();
    text.bytes(1, b"\xff");
    assert_eq!(code(&sent("v1", "Pod", &Message::of(1, &text))), 400, "no UTF-8");
    let whole = sent("v1", "ConfigMap", &named("name"));
    for cut in MAGIC.len() + 1..whole.len() {
        // Any cut either fails or has lost whole fields; it never reads past the end.
        let _ = document(&whole[..cut]);
    }
    let overlong = [MAGIC, &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]].concat();
    assert_eq!(code(&overlong), 400);
}

#[test]
fn nesting_is_bounded() {
    // CustomResourceDefinition, spec, versions, schema, openAPIV3Schema; then `not` in `not`.
    let schema = |depth| {
        let mut inner = Message::default();
        for _ in 0..depth {
            inner = Message::of(28, &inner);
        }
        let schema = Message::of(4, &Message::of(1, &inner));
        sent("apiextensions.k8s.io/v1", "CustomResourceDefinition", &Message::of(2, &Message::of(7, &schema)))
    };
    assert!(document(&schema(20)).is_ok());
    assert_eq!(document(&schema(10_000)).unwrap_err().status.code, 400);
    let mut list = body(&json!({"apiVersion": "v1", "kind": "Status"})).unwrap();
    for _ in 0..2_000 {
        let mut raw = Message::default();
        raw.bytes(1, &list);
        list = sent("v1", "List", &Message::of(2, &raw));
    }
    assert_eq!(document(&list).unwrap_err().status.code, 400);
}

#[test]
fn what_is_not_of_its_type_is_not_written() {
    assert_eq!(body(&json!({"apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": 1}})), None);
    assert_eq!(body(&json!({"apiVersion": "meta.k8s.io/v1", "kind": "Table"})), None);
    let pod = table::message("v1", "Pod").unwrap();
    let odd = json!({"spec": {"containers": [{"env": [{"name": []}]}]}});
    let refused = write::fields(&mut Message::default(), pod, odd.as_object().unwrap());
    assert_eq!(refused.unwrap_err(), "spec.containers.env.name");
}

#[test]
fn an_event_of_a_watch_is_a_frame() {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let frame = event("ADDED", &map).unwrap();
    let (length, message) = frame.split_first_chunk().unwrap();
    assert_eq!(u32::from_be_bytes(*length) as usize, message.len());
    let fields: Vec<_> = Fields::of(message).map(Result::unwrap).collect();
    assert_eq!(fields[0], (1, Raw::Bytes(b"ADDED")));
    let Raw::Bytes(extension) = fields[1].1 else { panic!("no message") };
    let Some(Ok((1, Raw::Bytes(raw)))) = Fields::of(extension).next() else { panic!("no bytes") };
    assert_eq!(document(raw).unwrap(), map);
}
