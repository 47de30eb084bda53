//! Endpoints and EndpointSlice.

use super::*;

fn endpoints() -> Sample {
    let object = json!({"metadata": {"name": "e", "namespace": "d"},
        "subsets": [{"addresses": [{"ip": "10.9.8.7"}], "ports": [{"port": 80}]}]});
    Sample::new("endpoints", object)
}

fn slice() -> Sample {
    let object = json!({"metadata": {"name": "s", "namespace": "d"}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.9.8.7"]}], "ports": [{"name": "http", "port": 80}]});
    Sample::new("endpointslices", object)
}

fn subset(change: Value) -> Value {
    let mut subset = json!({"addresses": [{"ip": "10.9.8.7"}], "ports": [{"port": 80}]});
    merge(&mut subset, &change);
    json!({"subsets": [subset]})
}

fn endpoint(change: Value) -> Value {
    let mut endpoint = json!({"addresses": ["10.9.8.7"]});
    merge(&mut endpoint, &change);
    json!({"endpoints": [endpoint]})
}

#[test]
fn addresses_of_endpoints_are_of_machines_elsewhere() {
    let address = |change: Value| {
        let mut address = json!({"ip": "10.9.8.7"});
        merge(&mut address, &change);
        subset(json!({"addresses": [address]}))
    };
    let ip = |ip: &str| address(json!({"ip": ip}));
    let field = "subsets[0].addresses[0].ip";
    endpoints().refuses([
        (subset(json!({"addresses": null})), "subsets[0]", REQUIRED),
        (ip("x"), field, INVALID),
        (ip("0.0.0.0"), field, INVALID),
        (ip("127.0.0.1"), field, INVALID),
        (ip("169.254.1.1"), field, INVALID),
        (ip("224.0.0.1"), field, INVALID),
        (ip("fe80::1"), field, INVALID),
        (ip("ff02::1"), field, INVALID),
        (address(json!({"hostname": "A_B"})), "subsets[0].addresses[0].hostname", INVALID),
        (address(json!({"nodeName": "A_B"})), "subsets[0].addresses[0].nodeName", INVALID),
        (subset(json!({"ports": [{"port": 0}]})), "subsets[0].ports[0].port", INVALID),
        (subset(json!({"ports": [{"port": 1, "name": "A"}]})), "subsets[0].ports[0].name", INVALID),
        (subset(json!({"ports": [{"port": 1, "name": "a"}, {"port": 2}]})), "subsets[0].ports[1].name", REQUIRED),
        (subset(json!({"ports": [{"port": 1, "protocol": "ICMP"}]})), "subsets[0].ports[0].protocol", UNSUPPORTED),
        (subset(json!({"ports": [{"port": 1, "appProtocol": "a b"}]})), "subsets[0].ports[0].appProtocol", INVALID),
    ]);
    endpoints().accepts([
        json!({"subsets": null}),
        ip("2001:db8::1"),
        subset(json!({"addresses": null, "notReadyAddresses": [{"ip": "10.1.1.1"}]})),
        subset(json!({"ports": null})),
    ]);
    assert_eq!(endpoints().stored(json!({}))["subsets"][0]["ports"][0]["protocol"], "TCP");
}

#[test]
fn a_slice_has_addresses_of_its_type() {
    let addresses = |list: Value| endpoint(json!({"addresses": list}));
    let of_type = |kind: &str, address: &str| json!({"addressType": kind, "endpoints": [{"addresses": [address]}]});
    let field = "endpoints[0].addresses[0]";
    let many: Vec<_> = (0..1_001).map(|_| json!({"addresses": ["10.9.8.7"]})).collect();
    let zones: Vec<_> = (0..9).map(|n| json!({"name": format!("z{n}")})).collect();
    slice().refuses([
        (json!({"addressType": ""}), "addressType", REQUIRED),
        (json!({"addressType": "IPX"}), "addressType", UNSUPPORTED),
        (addresses(json!([])), "endpoints[0].addresses", REQUIRED),
        (addresses(json!(["2001:db8::1"])), field, INVALID),
        (addresses(json!(["127.0.0.1"])), field, INVALID),
        (of_type("IPv6", "10.9.8.7"), field, INVALID),
        (of_type("FQDN", "a_b"), field, INVALID),
        (json!({"endpoints": many}), "endpoints", TOO_MANY),
        (endpoint(json!({"hostname": "A"})), "endpoints[0].hostname", INVALID),
        (endpoint(json!({"nodeName": "A"})), "endpoints[0].nodeName", INVALID),
        (endpoint(json!({"deprecatedTopology": {"a b": "c"}})), "endpoints[0].deprecatedTopology", INVALID),
        (endpoint(json!({"hints": {"forZones": zones}})), "endpoints[0].hints.forZones", TOO_MANY),
        (json!({"ports": [{"port": 0}]}), "ports[0].port", INVALID),
        (json!({"ports": [{"name": "A"}]}), "ports[0].name", INVALID),
        (json!({"ports": [{"port": 1}, {"port": 2}]}), "ports[1].name", DUPLICATE),
        (json!({"ports": [{"protocol": "ICMP"}]}), "ports[0].protocol", UNSUPPORTED),
    ]);
    slice().accepts([
        json!({"endpoints": null, "ports": null}),
        of_type("IPv6", "2001:db8::1"),
        of_type("FQDN", "db.example.com"),
        endpoint(json!({"zone": "z", "conditions": {"ready": false}})),
    ]);
    assert_eq!(slice().update(json!({}), of_type("IPv6", "2001:db8::1")), [("addressType".to_owned(), INVALID)]);
    let stored = slice().stored(json!({"endpoints": null, "ports": [{}]}));
    assert_eq!((&stored["endpoints"], &stored["ports"]), (&json!([]), &json!([{"name": "", "protocol": "TCP"}])));
}

#[test]
fn tables_show_the_first_addresses() {
    let cells = |plural: &str, object: Value| {
        let kind = super::super::find(plural).unwrap();
        kind.row(&object, jiff::Timestamp::UNIX_EPOCH)
    };
    let addresses: Vec<_> = (1..=5).map(|n| json!({"ip": format!("10.0.0.{n}")})).collect();
    let object = endpoints().stored(subset(json!({"addresses": addresses})));
    assert_eq!(cells("endpoints", object)[1], "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...");
    assert_eq!(cells("endpoints", endpoints().stored(json!({"subsets": null})))[1], "<none>");
    assert_eq!(cells("endpointslices", slice().stored(json!({})))[1..4], ["IPv4", "80", "10.9.8.7"]);
    let empty = slice().stored(json!({"endpoints": null, "ports": null}));
    assert_eq!(cells("endpointslices", empty)[1..4], ["IPv4", "<unset>", "<unset>"]);
}
