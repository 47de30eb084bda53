//! Tables of services, pods and what is written about them.

use api::{
    Kind, ObjectKey, decode, encode,
    kinds::{EndpointSlice, Endpoints, Node, Pod, Service},
};
use serde_json::{Value, json};

use super::{
    api_service,
    mirror::{self, EndpointsMirror},
    publish::{Observed, ServiceEndpoints},
};
use crate::{Controller, World, step::Step, testing::Cluster};

fn service(spec: Value) -> Service {
    let mut all = json!({"clusterIP": "10.96.0.7", "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80, "targetPort": "http"}]});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    decode(json!({"metadata": {"name": "web", "namespace": "d", "uid": "u-web", "labels": {"team": "a"}}, "spec": all}))
        .unwrap()
}

fn pod(number: u32, status: &str, change: Value) -> Pod {
    let mut pod = json!({
        "metadata": {"name": format!("p{number}"), "namespace": "d", "uid": format!("u{number}"), "labels": {"app": "web"}},
        "spec": {"nodeName": "one", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": format!("10.9.{}.{}", number / 256, number % 256),
            "conditions": [{"type": "Ready", "status": status}]},
    });
    for (part, fields) in change.as_object().unwrap() {
        pod[part].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    }
    decode(pod).unwrap()
}

fn ready(number: u32) -> Pod {
    pod(number, "True", json!({}))
}

fn objects(steps: &[Step]) -> Vec<Value> {
    let object = |step: &Step| match step {
        Step::Create { object, .. } | Step::Replace { object, .. } => object.clone(),
        Step::Delete { key, .. } => json!({"deleted": key.name}),
        other => panic!("{other:?}"),
    };
    steps.iter().map(object).collect()
}

/// What is written for a service with these pods when nothing is there.
fn written(service: &Service, pods: Vec<Pod>) -> (Value, Value) {
    let mut steps = objects(&Observed { pods, ..Observed::default() }.plan(service));
    assert_eq!(steps.len(), 2, "{steps:?}");
    let slice = steps.pop().unwrap();
    (steps.pop().unwrap(), slice)
}

#[test]
fn pods_are_listed_with_their_conditions_and_their_own_ports() {
    let ending = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let other_port =
        json!({"spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 9090}]}]}});
    let pods = || {
        vec![
            ready(1),
            pod(2, "False", json!({})),
            pod(3, "True", ending.clone()),
            pod(4, "True", json!({"status": {"phase": "Succeeded"}})),
            pod(5, "True", json!({"metadata": {"labels": {"app": "db"}}})),
            pod(6, "True", json!({"status": {"podIP": null}})),
        ]
    };
    let (endpoints, slice) = written(&service(json!({})), pods());
    let conditions: Vec<_> = slice["endpoints"].as_array().unwrap().iter().map(|e| e["conditions"].clone()).collect();
    let is = |ready, serving, terminating| json!({"ready": ready, "serving": serving, "terminating": terminating});
    assert_eq!(conditions, [is(true, true, false), is(false, false, false), is(false, true, true)]);
    assert_eq!(slice["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    let meta = &slice["metadata"];
    assert_eq!(
        meta["labels"],
        json!({"team": "a", "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"})
    );
    assert_eq!(meta["ownerReferences"][0]["uid"], "u-web");
    let target = json!({"kind": "Pod", "namespace": "d", "name": "p1", "uid": "u1"});
    assert_eq!(slice["endpoints"][0]["targetRef"], target);
    let address = |ip: &str, name: &str, uid: &str| {
        json!({"ip": ip, "nodeName": "one",
        "targetRef": {"kind": "Pod", "namespace": "d", "name": name, "uid": uid}})
    };
    assert_eq!(
        endpoints["subsets"],
        json!([{"addresses": [address("10.9.0.1", "p1", "u1")], "notReadyAddresses": [address("10.9.0.2", "p2", "u2")],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]}])
    );
    let (endpoints, slice) = written(&service(json!({"publishNotReadyAddresses": true})), pods());
    assert!(slice["endpoints"].as_array().unwrap().iter().all(|endpoint| endpoint["conditions"]["ready"] == true));
    assert_eq!(endpoints["subsets"][0]["addresses"].as_array().unwrap().len(), 3);
    let steps =
        Observed { pods: vec![ready(1), pod(2, "True", other_port)], ..Observed::default() }.plan(&service(json!({})));
    let ports: Vec<_> = objects(&steps)[1..].iter().map(|slice| slice["ports"][0]["port"].clone()).collect();
    assert_eq!(ports, [json!(8080), json!(9090)], "pods of other ports are in another slice");
}

#[test]
fn a_service_without_pods_is_written_down_and_one_without_a_selector_is_left_alone() {
    let (endpoints, slice) = written(&service(json!({})), Vec::new());
    assert_eq!((&endpoints["subsets"], &slice["endpoints"], &slice["ports"]), (&Value::Null, &json!([]), &json!([])));
    let alone = Observed { pods: vec![ready(1)], ..Observed::default() };
    assert!(alone.plan(&service(json!({"selector": null}))).is_empty());
    let headless = service(json!({"clusterIP": "None", "ports": null}));
    let named = pod(1, "True", json!({"spec": {"hostname": "first", "subdomain": "web"}}));
    let (endpoints, slice) = written(&headless, vec![named]);
    assert_eq!(endpoints["subsets"][0]["addresses"][0]["hostname"], "first");
    assert_eq!(slice["endpoints"][0]["hostname"], "first");
    assert_eq!(slice["metadata"]["labels"]["service.kubernetes.io/headless"], "");
    assert_eq!(endpoints["subsets"][0].get("ports"), None);
}

#[test]
fn ports_of_the_same_addresses_share_a_subset() {
    let ports = json!({"ports": [{"name": "a", "port": 80, "targetPort": 1}, {"name": "b", "port": 81, "targetPort": 2},
        {"name": "c", "port": 82, "targetPort": "only"}]});
    let only = json!({"spec": {"containers": [{"name": "c", "ports": [{"name": "only", "containerPort": 3}]}]}});
    let (endpoints, _) = {
        let observed = Observed { pods: vec![ready(1), pod(2, "True", only)], ..Observed::default() };
        let steps = objects(&observed.plan(&service(ports)));
        (steps[0].clone(), ())
    };
    let shown = endpoints["subsets"].as_array().unwrap().iter().map(|subset| {
        let names = |list: &str, field: &str| -> Vec<String> {
            subset[list].as_array().unwrap().iter().map(|item| item[field].to_string()).collect()
        };
        (names("addresses", "ip").len(), names("ports", "port"))
    });
    let shown: Vec<_> = shown.collect();
    assert_eq!(shown, [(2, vec!["1".to_owned(), "2".into()]), (1, vec!["3".into()])]);
}

/// The slices after the steps.
fn apply(mut slices: Vec<EndpointSlice>, steps: &[Step]) -> Vec<EndpointSlice> {
    for step in steps {
        match step {
            Step::Create { object, .. } if object["kind"] == "EndpointSlice" => {
                slices.push(decode(object.clone()).unwrap())
            }
            Step::Replace { object, key, .. } if object["kind"] == "EndpointSlice" => {
                let place = slices.iter_mut().find(|slice| slice.metadata.name.as_ref() == Some(&key.name)).unwrap();
                *place = decode(object.clone()).unwrap();
            }
            Step::Delete { key, .. } => slices.retain(|slice| slice.metadata.name.as_ref() != Some(&key.name)),
            _ => {}
        }
    }
    slices
}

#[test]
fn a_slice_has_a_hundred_endpoints_and_one_change_changes_one_slice() {
    let service = service(json!({}));
    let of = |slices: &[EndpointSlice], numbers: &mut dyn Iterator<Item = u32>| {
        let observed = Observed { pods: numbers.map(ready).collect(), slices: slices.to_vec(), ..Observed::default() };
        let steps = observed.plan(&service);
        let touched = steps.iter().filter(|step| objects(&[(*step).clone()])[0]["kind"] != "Endpoints").count();
        (apply(slices.to_vec(), &steps), touched)
    };
    let sizes = |slices: &[EndpointSlice]| -> Vec<usize> {
        slices.iter().map(|slice| slice.endpoints.as_ref().unwrap().len()).collect()
    };
    let (slices, _) = of(&[], &mut (0..250));
    assert_eq!(sizes(&slices), [100, 100, 50]);
    assert_eq!(of(&slices, &mut (0..250)).1, 0, "what is right is not written again");
    let (slices, touched) = of(&slices, &mut (1..251));
    let mut after = sizes(&slices);
    after.sort_unstable();
    assert_eq!(
        (after.as_slice(), touched),
        ([50, 100, 100].as_slice(), 1),
        "the new one took the place of the old one"
    );
    let (slices, _) = of(&slices, &mut (0..0));
    assert_eq!(sizes(&slices), [0]);
}

#[test]
fn endpoints_of_more_than_a_thousand_pods_say_that_some_are_missing() {
    let observed = Observed { pods: (0..1_001).map(ready).collect(), ..Observed::default() };
    let endpoints = &objects(&observed.plan(&service(json!({}))))[0];
    assert_eq!(endpoints["subsets"][0]["addresses"].as_array().unwrap().len(), 1_000);
    assert_eq!(endpoints["metadata"]["annotations"]["endpoints.kubernetes.io/over-capacity"], "truncated");
}

#[test]
fn the_zone_is_that_of_the_node() {
    let node: Node =
        decode(json!({"metadata": {"name": "one", "labels": {"topology.kubernetes.io/zone": "z"}}})).unwrap();
    let observed = Observed { pods: vec![ready(1)], nodes: vec![node], ..Observed::default() };
    assert_eq!(objects(&observed.plan(&service(json!({}))))[1]["endpoints"][0]["zone"], "z");
}

#[test]
fn endpoints_of_others_are_mirrored_by_family_and_ports() {
    let endpoints: Endpoints = decode(json!({
        "metadata": {"name": "out", "namespace": "d", "uid": "u-out", "labels": {"team": "a"},
            "annotations": {"note": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        "subsets": [{"addresses": [{"ip": "10.1.2.3", "hostname": "h"}, {"ip": "2001:db8::1"}],
            "notReadyAddresses": [{"ip": "10.1.2.4"}], "ports": [{"port": 80}]}]}))
    .unwrap();
    let slices = apply(Vec::new(), &mirror::plan("out", Some(&endpoints), &[]));
    let shown: Vec<_> =
        slices.iter().map(|slice| (slice.address_type.as_str(), encode(slice)["endpoints"].clone())).collect();
    assert_eq!(
        shown,
        [
            (
                "IPv4",
                json!([{"addresses": ["10.1.2.3"], "conditions": {"ready": true}, "hostname": "h"},
                    {"addresses": ["10.1.2.4"], "conditions": {"ready": false}}])
            ),
            ("IPv6", json!([{"addresses": ["2001:db8::1"], "conditions": {"ready": true}}])),
        ]
    );
    let meta = &encode(&slices[0])["metadata"];
    assert_eq!(meta["annotations"], json!({"note": "x"}));
    assert_eq!(meta["ownerReferences"][0]["kind"], "Endpoints");
    assert!(mirror::plan("out", Some(&endpoints), &slices).is_empty());
    assert_eq!(mirror::plan("out", None, &slices).len(), 2, "without endpoints they go");
}

#[tokio::test]
async fn the_api_takes_what_is_written_and_only_services_without_selector_are_mirrored() {
    let world = Cluster::start().await;
    let metadata = |name: &str| json!({"name": name, "namespace": "default"});
    let ports = json!([{"port": 80}]);
    let subsets = json!([{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]);
    let selecting = json!({"ports": ports, "selector": {"app": "web"}});
    world.create::<Service>(json!({"metadata": metadata("web"), "spec": selecting})).await;
    world.create::<Service>(json!({"metadata": metadata("out"), "spec": {"ports": ports}})).await;
    for name in ["out", "nobody", "web"] {
        world.create::<Endpoints>(json!({"metadata": metadata(name), "subsets": subsets})).await;
    }
    for _ in 0..2 {
        ServiceEndpoints.reconcile(&world, &ObjectKey::cluster("default")).await.unwrap();
        for name in ["out", "nobody", "web"] {
            EndpointsMirror.reconcile(&world, &ObjectKey::namespaced("default", name)).await.unwrap();
        }
    }
    let endpoints =
        world.get(&Kind::of::<Endpoints>(), &ObjectKey::namespaced("default", "web")).await.unwrap().unwrap();
    assert_eq!(endpoints.get("subsets"), None, "those of a service with a selector are of its pods");
    let slices = world.all::<EndpointSlice>();
    let mut of: Vec<_> =
        slices.iter().map(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"].clone()).collect();
    of.sort_by_key(Value::to_string);
    assert_eq!(of, ["out", "web"]);
}

#[test]
fn the_service_of_the_api_leads_to_every_server() {
    let servers = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
    let steps = api_service::Observed::default().plan(&servers(&["192.0.2.1:6443", "192.0.2.2:6443"]));
    let written = objects(&steps);
    assert_eq!(
        written[0]["spec"]["ports"],
        json!([{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}])
    );
    let ports = json!([{"name": "https", "port": 6443, "protocol": "TCP"}]);
    let addresses = json!([{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}]);
    assert_eq!(written[1]["subsets"], json!([{"addresses": addresses, "ports": ports}]));
    assert_eq!((&written[2]["metadata"]["name"], &written[2]["ports"]), (&json!("kubernetes"), &ports));
    let addresses: Vec<_> = written[2]["endpoints"].as_array().unwrap().iter().map(|e| &e["addresses"][0]).collect();
    assert_eq!(addresses, ["192.0.2.1", "192.0.2.2"]);
    // A server elsewhere has another port; the first goes.
    let there = api_service::Observed {
        service: Some(decode(written[0].clone()).unwrap()),
        endpoints: Some(decode(written[1].clone()).unwrap()),
        slices: vec![decode(written[2].clone()).unwrap()],
    };
    assert!(there.plan(&servers(&["192.0.2.1:6443", "192.0.2.2:6443"])).is_empty());
    let names: Vec<_> = objects(&there.plan(&servers(&["192.0.2.2:6443", "192.0.2.3:7443"])))
        .iter()
        .map(|object| (object["kind"].clone(), object["metadata"]["name"].clone()))
        .collect();
    let slice = |name: &str| (json!("EndpointSlice"), json!(name));
    assert_eq!(names, [(json!("Endpoints"), json!("kubernetes")), slice("kubernetes"), slice("kubernetes-1")]);
    let none = objects(&there.plan(&[]));
    assert_eq!(none.last().unwrap(), &json!({"deleted": "kubernetes"}), "nobody is reached any more");
}
