//! Service.

use super::*;

fn service() -> Sample {
    let object = json!({"metadata": {"name": "s", "namespace": "d"},
        "spec": {"selector": {"a": "b"}, "ports": [{"name": "http", "port": 80}]}});
    Sample::new("services", object)
}

fn spec(change: Value) -> Value {
    json!({"spec": change})
}

fn port(change: Value) -> Value {
    let mut port = json!({"name": "http", "port": 80});
    merge(&mut port, &change);
    spec(json!({"ports": [port]}))
}

fn ports(list: Value) -> Value {
    spec(json!({"ports": list}))
}

#[test]
fn ports_are_numbers_and_names_once_each() {
    let many: Vec<_> = (1..=1_001).map(|n| json!({"name": format!("p{n}"), "port": n})).collect();
    service().refuses([
        (ports(json!(null)), "spec.ports", REQUIRED),
        (ports(json!([])), "spec.ports", REQUIRED),
        (port(json!({"port": 0, "targetPort": 80})), "spec.ports[0].port", INVALID),
        (port(json!({"name": "Http"})), "spec.ports[0].name", INVALID),
        (port(json!({"protocol": "ICMP"})), "spec.ports[0].protocol", UNSUPPORTED),
        (port(json!({"targetPort": 70_000})), "spec.ports[0].targetPort", INVALID),
        (port(json!({"targetPort": "80"})), "spec.ports[0].targetPort", INVALID),
        (port(json!({"targetPort": "A_B"})), "spec.ports[0].targetPort", INVALID),
        (port(json!({"appProtocol": "a b"})), "spec.ports[0].appProtocol", INVALID),
        (ports(json!([{"port": 80}, {"name": "b", "port": 81}])), "spec.ports[0].name", REQUIRED),
        (ports(json!([{"name": "a", "port": 80}, {"name": "a", "port": 81}])), "spec.ports[1].name", DUPLICATE),
        (ports(json!([{"name": "a", "port": 80}, {"name": "b", "port": 80}])), "spec.ports[1]", DUPLICATE),
        (ports(many.into()), "spec.ports", TOO_MANY),
    ]);
    service().accepts([
        port(json!({"name": null})),
        port(json!({"targetPort": "http-alt"})),
        port(json!({"targetPort": 0})),
        port(json!({"protocol": "SCTP"})),
        port(json!({"appProtocol": "example.com/H2c"})),
        port(json!({"nodePort": 0})),
        ports(json!([{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53}])),
        spec(json!({"clusterIP": "None", "ports": null})),
    ]);
}

#[test]
fn what_is_not_served_is_refused_by_name() {
    service().refuses([
        (spec(json!({"type": "NodePort"})), "spec.type", UNSUPPORTED),
        (spec(json!({"type": "LoadBalancer"})), "spec.type", UNSUPPORTED),
        (spec(json!({"sessionAffinity": "Bogus"})), "spec.sessionAffinity", UNSUPPORTED),
        (
            spec(json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}})),
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
            INVALID,
        ),
        (spec(json!({"trafficDistribution": "Bogus"})), "spec.trafficDistribution", UNSUPPORTED),
        (spec(json!({"internalTrafficPolicy": "Bogus"})), "spec.internalTrafficPolicy", UNSUPPORTED),
        (spec(json!({"ipFamilyPolicy": "Bogus"})), "spec.ipFamilyPolicy", UNSUPPORTED),
        (spec(json!({"ipFamilyPolicy": "RequireDualStack"})), "spec.ipFamilyPolicy", INVALID),
        (spec(json!({"ipFamilies": ["IPv6"]})), "spec.ipFamilies[0]", INVALID),
        (spec(json!({"ipFamilies": ["IPv4", "IPv4"]})), "spec.ipFamilies[1]", DUPLICATE),
        (spec(json!({"ipFamilies": ["IPv5"]})), "spec.ipFamilies[0]", UNSUPPORTED),
        (spec(json!({"clusterIPs": ["10.0.0.1"]})), "spec.clusterIPs", INVALID),
        (spec(json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"]})), "spec.clusterIPs", INVALID),
        (spec(json!({"clusterIP": "x"})), "spec.clusterIPs[0]", INVALID),
        (spec(json!({"selector": {"a b": "c"}})), "spec.selector", INVALID),
        (spec(json!({"selector": {"a": "b c"}})), "spec.selector", INVALID),
        (json!({"metadata": {"name": "a.b"}}), "metadata.name", INVALID),
        (json!({"metadata": {"name": "x".repeat(64)}}), "metadata.name", INVALID),
        (json!({"status": {"loadBalancer": {"ingress": [{"ip": "x"}]}}}), "status.loadBalancer.ingress", FORBIDDEN),
    ]);
    let named = json!({"type": "ExternalName", "externalName": "example.com", "ports": null});
    let found = service().create(spec(named));
    assert!(
        found.contains(&("spec.type".to_owned(), UNSUPPORTED)) && !found.iter().any(|(field, _)| field == "spec.ports")
    );
    service().accepts([
        spec(json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}})),
        spec(json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4"]})),
        spec(json!({"internalTrafficPolicy": "Cluster"})),
        spec(json!({"internalTrafficPolicy": "Local"})),
        spec(json!({"trafficDistribution": "PreferSameZone"})),
        spec(json!({"clusterIP": "None", "selector": null, "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]})),
        spec(json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]})),
        spec(json!({"selector": null})),
        spec(json!({"publishNotReadyAddresses": true})),
        json!({"metadata": {"name": "0"}}),
    ]);
}

#[test]
fn omitted_fields_get_kubernetes_values() {
    let stored = service().stored(json!({}));
    assert_eq!(stored["spec"]["internalTrafficPolicy"], "Cluster");
    assert_eq!(stored["spec"]["ipFamilies"], json!(["IPv4"]));
    assert_eq!(stored["spec"]["ipFamilyPolicy"], "SingleStack");
    assert_eq!(stored["status"], json!({"loadBalancer": {}}));
    assert_eq!(service().stored(port(json!({"targetPort": 0})))["spec"]["ports"][0]["targetPort"], 80);
    let sticky = service().stored(spec(json!({"sessionAffinity": "ClientIP"})));
    assert_eq!(sticky["spec"]["sessionAffinityConfig"], json!({"clientIP": {"timeoutSeconds": 10_800}}));
    let loose = service().stored(spec(json!({"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}})));
    assert_eq!(loose["spec"].get("sessionAffinityConfig"), None);
}

#[test]
fn an_address_is_kept() {
    let at = |address: &str| spec(json!({"clusterIP": address, "clusterIPs": [address]}));
    let found = service().update(at("10.0.0.1"), at("10.0.0.2"));
    assert_eq!(found, [("spec.clusterIPs[0]".to_owned(), INVALID)]);
    assert_eq!(service().update(at("10.0.0.1"), port(json!({"port": 81}))), []);
}
