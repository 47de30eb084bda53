//! Bundle, Binding, Token.

use super::*;

#[test]
fn a_bundle_is_bounded() {
    let bundle =
        Sample::new("bundles", json!({"metadata": {"name": "b", "namespace": "d"}, "spec": {"service": "redis"}}));
    let spec = |change: Value| json!({"spec": change});
    let long = "x".repeat(4_097);
    let deep = ["a"; 100].join("/");
    let long_option = "o".repeat(129);
    let at_option = format!("spec.options.{long_option}");
    let options: serde_json::Map<_, _> = (0..257).map(|n| (format!("o{n}"), "v".into())).collect();
    let capabilities: Vec<_> = (0..65).map(|n| format!("CAP_NET_{n}")).collect();
    bundle.refuses([
        (json!({"metadata": {"name": "a.b"}}), "metadata.name", INVALID),
        (json!({"metadata": {"name": "x".repeat(53)}}), "metadata.name", INVALID),
        (spec(json!({"service": "a b"})), "spec.service", INVALID),
        (spec(json!({"service": deep})), "spec.service", INVALID),
        (spec(json!({"service": 1})), "spec.service", INVALID),
        (spec(json!({"start": "yes"})), "spec.start", INVALID),
        (json!({"spec": {"service": null}}), "spec.service", REQUIRED),
        (spec(json!({"image": long})), "spec.image", TOO_LONG),
        (spec(json!({"image": "a\nb"})), "spec.image", INVALID),
        (spec(json!({"snapshot": {"source": long}})), "spec.snapshot.source", TOO_LONG),
        (spec(json!({"options": {"A b": "v"}})), "spec.options.A b", INVALID),
        (spec(json!({"options": {"o": "x".repeat(64 * 1024 + 1)}})), "spec.options.o", INVALID),
        (spec(json!({"options": options})), "spec.options", INVALID),
        (spec(json!({"security": {"extraCapabilities": capabilities}})), "spec.security.extraCapabilities", TOO_MANY),
        (spec(json!({"resources": {"limits": {"cpu": "many"}}})), "spec.resources.limits[cpu]", INVALID),
    ]);
    assert_eq!(bundle.create(spec(json!({"options": {long_option: "v"}}))), [(at_option, INVALID)]);
    bundle.accepts([
        json!({"metadata": {"name": "x".repeat(52)}}),
        spec(json!({"service": "diagnostics/loopback", "image": "example.com/a/b:1@sha256:0"})),
        spec(json!({"resources": {"limits": {"cpu": "500m", "memory": "129e6"}}})),
    ]);
}

#[test]
fn a_binding_is_bounded() {
    let binding = Sample::new(
        "bindings",
        json!({"metadata": {"name": "b", "namespace": "d"}, "spec": {"bundle": "w", "bindingId": "create_user",
            "target": {"bundle": "m", "service": "mariadb"}, "command": ["/bin/true"]}}),
    );
    let spec = |change: Value| json!({"spec": change});
    let words = vec!["w"; 257];
    let parameters: serde_json::Map<_, _> = (0..257).map(|n| (format!("p{n}"), json!({"value": "v"}))).collect();
    let undo = |change: Value| {
        let mut undo = json!({"bindingId": "revoke", "command": ["/bin/true"]});
        merge(&mut undo, &change);
        spec(json!({"undo": undo}))
    };
    binding.refuses([
        (spec(json!({"command": []})), "spec.command", REQUIRED),
        (spec(json!({"command": words})), "spec.command", TOO_MANY),
        (spec(json!({"command": ["x".repeat(64 * 1024 + 1)]})), "spec.command", TOO_LONG),
        (spec(json!({"timeoutSeconds": 0})), "spec.timeoutSeconds", INVALID),
        (spec(json!({"timeoutSeconds": 3_601})), "spec.timeoutSeconds", INVALID),
        (spec(json!({"bundle": "a/b"})), "spec.bundle", INVALID),
        (spec(json!({"target": {"bundle": ""}})), "spec.target.bundle", INVALID),
        (spec(json!({"parameters": parameters})), "spec.parameters", TOO_MANY),
        (spec(json!({"parameters": {"a-b": {"value": "v"}}})), "spec.parameters.a-b", INVALID),
        (spec(json!({"parameters": {"a": {}}})), "spec.parameters.a", INVALID),
        (spec(json!({"parameters": {"a": {"value": "x".repeat(64 * 1024 + 1)}}})), "spec.parameters.a", TOO_LONG),
        (undo(json!({"command": []})), "spec.undo.command", REQUIRED),
        (undo(json!({"parameters": {"a": {}}})), "spec.undo.parameters.a", INVALID),
    ]);
    binding.accepts([spec(json!({"timeoutSeconds": 3_600})), undo(json!({}))]);
}

#[test]
fn a_token_is_bounded() {
    let token = Sample::new(
        "tokens",
        json!({"metadata": {"name": "t"}, "spec": {"user": "u", "expiresAt": "2030-01-01T00:00:00Z", "digest": "00"}}),
    );
    let spec = |change: Value| json!({"spec": change});
    let long = "x".repeat(257);
    token.refuses([
        (spec(json!({"user": " "})), "spec.user", REQUIRED),
        (spec(json!({"user": long})), "spec.user", TOO_LONG),
        (spec(json!({"digest": long})), "spec.digest", TOO_LONG),
        (spec(json!({"groups": [long, long]})), "spec.groups", TOO_LONG),
        (spec(json!({"scopes": vec!["s"; 65]})), "spec.scopes", TOO_MANY),
        (spec(json!({"expiresAt": "soon"})), "spec.expiresAt", INVALID),
    ]);
}
