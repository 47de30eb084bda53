//! Namespace, Node, Event, Lease, ServiceAccount.

use super::*;

#[test]
fn a_namespace_goes_after_its_contents_whatever_the_client_sends() {
    let namespace = Sample::new("namespaces", json!({"metadata": {"name": "n"}}));
    for (spec, wanted) in [
        (json!(null), json!(["kubernetes"])),
        (json!({}), json!(["kubernetes"])),
        (json!({"finalizers": []}), json!(["kubernetes"])),
        (json!({"finalizers": ["example.com/f"]}), json!(["example.com/f", "kubernetes"])),
        (json!({"finalizers": ["kubernetes"]}), json!(["kubernetes"])),
    ] {
        assert_eq!(namespace.stored(json!({"spec": spec}))["spec"]["finalizers"], wanted, "{spec}");
    }
    let ending = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"finalizers": []}});
    assert_eq!(namespace.stored(ending)["spec"].get("finalizers").and_then(Value::as_array).map_or(0, Vec::len), 0);
    namespace.refuses([
        (json!({"spec": {"finalizers": ["foo"]}}), "spec.finalizers", INVALID),
        (json!({"spec": {"finalizers": ["a/b/c"]}}), "spec.finalizers", INVALID),
        (json!({"metadata": {"name": "a.b"}}), "metadata.name", INVALID),
        (json!({"metadata": {"name": "x".repeat(64)}}), "metadata.name", INVALID),
    ]);
    namespace.accepts([json!({"metadata": {"name": "x".repeat(63)}})]);
}

#[test]
fn a_node_keeps_its_range_and_its_provider() {
    let node = Sample::new("nodes", json!({"metadata": {"name": "n"}, "spec": {}}));
    let taints = |list: Value| json!({"spec": {"taints": list}});
    let many: Vec<_> = (0..257).map(|n| json!({"key": format!("k{n}"), "effect": "NoSchedule"})).collect();
    node.refuses([
        (json!({"spec": {"podCIDR": "10.0.0.0"}}), "spec.podCIDRs[0]", INVALID),
        (json!({"spec": {"podCIDR": "10.0.0.0/33"}}), "spec.podCIDRs[0]", INVALID),
        (json!({"spec": {"podCIDR": "10.0.0.0/8", "podCIDRs": ["10.1.0.0/16"]}}), "spec.podCIDRs", INVALID),
        (taints(json!([{"key": "a b", "effect": "NoSchedule"}])), "spec.taints[0].key", INVALID),
        (taints(json!([{"key": "a", "value": "b c", "effect": "NoSchedule"}])), "spec.taints[0].value", INVALID),
        (taints(json!([{"key": "a", "effect": ""}])), "spec.taints[0].effect", REQUIRED),
        (taints(json!([{"key": "a", "effect": "Bogus"}])), "spec.taints[0].effect", UNSUPPORTED),
        (
            taints(json!([{"key": "a", "effect": "NoSchedule"}, {"key": "a", "value": "b", "effect": "NoSchedule"}])),
            "spec.taints[1]",
            DUPLICATE,
        ),
        (taints(many.into()), "spec.taints", TOO_MANY),
        (
            json!({"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}, {"type": "InternalIP", "address": "192.0.2.1"}]}}),
            "status.addresses[1]",
            DUPLICATE,
        ),
        (json!({"status": {"capacity": {"cpu": "many"}}}), "status.capacity[cpu]", INVALID),
    ]);
    node.accepts([
        json!({"spec": {"podCIDR": "fd00::/64", "podCIDRs": ["fd00::/64"]}}),
        taints(json!([{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute"}])),
        json!({"status": {"capacity": {"cpu": "4", "memory": "8Gi"}}}),
        json!({"metadata": {"name": "host.example.com"}}),
    ]);
    let with = |field: &str, value: &str| json!({"spec": {field: value}});
    for (field, named, one, other) in [
        ("podCIDR", "spec.podCIDRs", "10.0.0.0/24", "10.0.1.0/24"),
        ("providerID", "spec.providerID", "a://1", "a://2"),
    ] {
        assert_eq!(node.update(with(field, one), with(field, other)), [(named.to_owned(), FORBIDDEN)]);
        assert_eq!(node.update(json!({}), with(field, one)), []);
    }
}

#[test]
fn events_with_a_time_say_who_did_what() {
    let event = Sample::new(
        "events",
        json!({"metadata": {"name": "e", "namespace": "d"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "d"},
            "reason": "Started", "action": "Start", "reportingComponent": "kubelet", "reportingInstance": "n",
            "eventTime": "2026-01-01T00:00:00.000000Z"}),
    );
    event.refuses([
        (json!({"action": null}), "action", REQUIRED),
        (json!({"reason": null}), "reason", REQUIRED),
        (json!({"reportingComponent": null}), "reportingComponent", REQUIRED),
        (json!({"reportingComponent": "a b"}), "reportingComponent", INVALID),
        (json!({"reportingInstance": null}), "reportingInstance", REQUIRED),
        (json!({"action": "x".repeat(129)}), "action", INVALID),
        (json!({"message": "x".repeat(1_025)}), "message", INVALID),
        (json!({"involvedObject": {"namespace": "other"}}), "involvedObject.namespace", INVALID),
        (json!({"involvedObject": {"namespace": null}}), "involvedObject.namespace", INVALID),
    ]);
    event.accepts([
        json!({"eventTime": null, "action": null, "reportingComponent": null, "reportingInstance": null}),
        json!({"metadata": {"namespace": "default"}, "involvedObject": {"kind": "Node", "namespace": null}}),
        json!({"metadata": {"name": "x".repeat(253)}}),
    ]);
}

#[test]
fn a_lease_lasts() {
    let lease = Sample::new("leases", json!({"metadata": {"name": "l", "namespace": "d"}, "spec": {}}));
    lease.refuses([
        (json!({"spec": {"leaseTransitions": -1}}), "spec.leaseTransitions", INVALID),
        (json!({"spec": {"leaseDurationSeconds": 0}}), "spec.leaseDurationSeconds", INVALID),
    ]);
    lease.accepts([
        json!({"spec": null}),
        json!({"spec": {"holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 0}}),
    ]);
}

#[test]
fn service_accounts_have_long_names() {
    let account = Sample::new("serviceaccounts", json!({"metadata": {"name": "a", "namespace": "d"}}));
    account.accepts([json!({"metadata": {"name": "x".repeat(253)}}), json!({"metadata": {"name": "a.b"}})]);
}
