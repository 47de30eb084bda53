//! ConfigMap and Secret.

use super::*;

fn map() -> Sample {
    let object = json!({"metadata": {"name": "m", "namespace": "d"}, "data": {"k": "v"}, "binaryData": {"b": "AA=="}});
    Sample::new("configmaps", object)
}

fn secret() -> Sample {
    Sample::new("secrets", json!({"metadata": {"name": "s", "namespace": "d"}, "data": {"k": "dg=="}}))
}

#[test]
fn keys_are_file_names_and_sizes_are_bounded() {
    let big = "x".repeat(super::super::config_map::DATA_MAX_BYTES + 1);
    map().refuses([
        (json!({"data": {"a b": "v"}}), "data[a b]", INVALID),
        (json!({"data": {"..": "v"}}), "data[..]", INVALID),
        (json!({"data": {"a/b": "v"}}), "data[a/b]", INVALID),
        (json!({"binaryData": {"a b": "AA=="}}), "binaryData[a b]", INVALID),
        (json!({"data": {"b": "v"}}), "data[b]", INVALID),
        (json!({"data": {"k": big}}), "data", TOO_LONG),
        (json!({"metadata": {"name": "x".repeat(254)}}), "metadata.name", INVALID),
    ]);
    map().accepts([
        json!({"data": {"a.b_c-D": ""}}),
        json!({"data": null}),
        json!({"data": {"k": null}}),
        json!({"immutable": true}),
        json!({"metadata": {"name": "x".repeat(253)}}),
    ]);
    secret().refuses([(json!({"data": {"a b": ""}}), "data[a b]", INVALID)]);
}

#[test]
fn an_immutable_object_stays_as_it_is_on_every_road() {
    for sample in [map(), secret()] {
        let value = |text: &str| json!({"data": {"k": text}});
        for (after, field) in [
            (json!({"immutable": false}), "immutable"),
            (json!({"immutable": null}), "immutable"),
            (value("AAAA"), "data"),
            (json!({"data": null}), "data"),
            (json!({"data": {"new": "AAAA"}}), "data"),
        ] {
            let found = sample.update(json!({"immutable": true}), after.clone());
            assert_eq!(found, [(field.to_owned(), FORBIDDEN)], "{} {after}", sample.plural);
            assert_eq!(sample.update(json!({}), after.clone()), [], "{} {after}", sample.plural);
        }
        assert_eq!(sample.update(json!({"immutable": true}), json!({"metadata": {"labels": {"a": "b"}}})), []);
        assert_eq!(sample.update(json!({}), json!({"immutable": true, "data": {"k": "AAAA"}})), []);
        assert_eq!(sample.update(json!({"immutable": true, "data": null}), json!({"data": {}})), [], "none is empty");
    }
    let found = map().update(json!({"immutable": true}), json!({"binaryData": {"b": "AQ=="}}));
    assert_eq!(found, [("binaryData".to_owned(), FORBIDDEN)]);
}

#[test]
fn types_of_secrets_ask_for_their_keys() {
    let typed = |kind: &str, data: Value| json!({"type": format!("kubernetes.io/{kind}"), "stringData": data});
    secret().refuses([
        (typed("dockercfg", json!({})), "data[.dockercfg]", REQUIRED),
        (typed("dockercfg", json!({".dockercfg": "{"})), "data[.dockercfg]", INVALID),
        (typed("dockerconfigjson", json!({})), "data[.dockerconfigjson]", REQUIRED),
        (typed("dockerconfigjson", json!({".dockerconfigjson": "no"})), "data[.dockerconfigjson]", INVALID),
        (typed("ssh-auth", json!({})), "data[ssh-privatekey]", REQUIRED),
        (typed("ssh-auth", json!({"ssh-privatekey": ""})), "data[ssh-privatekey]", REQUIRED),
        (typed("tls", json!({"tls.crt": "c"})), "data[tls.key]", REQUIRED),
        (
            typed("service-account-token", json!({})),
            "metadata.annotations[kubernetes.io/service-account.name]",
            REQUIRED,
        ),
    ]);
    let both = [("data[username]".to_owned(), REQUIRED), ("data[password]".to_owned(), REQUIRED)];
    assert_eq!(secret().create(typed("basic-auth", json!({}))), both);
    secret().accepts([
        typed("dockercfg", json!({".dockercfg": "{}"})),
        typed("dockerconfigjson", json!({".dockerconfigjson": "{\"auths\": {}}"})),
        typed("basic-auth", json!({"username": "u"})),
        typed("basic-auth", json!({"password": "p"})),
        typed("ssh-auth", json!({"ssh-privatekey": "k"})),
        typed("tls", json!({"tls.crt": "", "tls.key": ""})),
        json!({"type": "example.com/own"}),
        json!({"type": ""}),
    ]);
    assert_eq!(secret().stored(json!({"type": ""}))["type"], "Opaque");
    assert_eq!(secret().update(json!({}), json!({"type": "example.com/own"})), [("type".to_owned(), INVALID)]);
    let error = super::super::find("secrets")
        .unwrap()
        .admit(secret().with(&typed("dockercfg", json!({".dockercfg": "hunter2"}))), None);
    assert!(!format!("{:?}", error.unwrap_err()).contains("hunter2"), "what is confidential is not repeated");
}
