//! The environment of a container: image, envFrom, env, and `$(NAME)` expansion.

use api::kinds::Pod;
use k8s_openapi::api::core::v1::{Container, EnvVar};

use super::lookup::{Place, References, Source, field, resource};
use crate::error::{Error, Result};

/// An environment in order; later entries win. Kept apart from `Debug`, as values may be secret.
pub type Env = Vec<(String, String)>;

/// What the pod declares for a container: the variables of services, then `envFrom`, then `env`, each overriding what
/// came before. This alone can be referred to by `$(NAME)`; the image's variables are only below it, see [`over_image`].
///
/// # Errors
/// [`Error::Missing`], [`Error::Refused`].
pub fn declared(
    pod: &Pod,
    container: &Container,
    place: &Place,
    references: &References,
    services: Env,
) -> Result<Env> {
    let mut own = services;
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let (source, name, optional) = match (&from.secret_ref, &from.config_map_ref) {
            (Some(secret), _) => (Source::Secret, &secret.name, secret.optional),
            (None, Some(map)) => (Source::ConfigMap, &map.name, map.optional),
            (None, None) => continue,
        };
        for (key, value) in references.all(source, name, optional.unwrap_or(false))?.into_iter().flatten() {
            let name = format!("{prefix}{key}");
            // Kubernetes leaves out keys that, with the prefix, cannot be names of variables.
            if is_name(&name) {
                set(&mut own, name, text(&key, value)?);
            }
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(pod, container, variable, place, references, &own)? {
            set(&mut own, variable.name.clone(), value);
        }
    }
    Ok(own)
}

/// The environment of a program: the image's, overridden by what the pod declares.
#[must_use]
pub fn over_image(image: &[(String, String)], declared: Env) -> Env {
    let mut env: Env = image.to_vec();
    for (name, value) in declared {
        set(&mut env, name, value);
    }
    env
}

fn value(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    place: &Place,
    references: &References,
    known: &Env,
) -> Result<Option<String>> {
    let Some(from) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), known)));
    };
    if let Some(reference) = &from.field_ref {
        return field(pod, place, &reference.field_path).map(Some);
    }
    if let Some(reference) = &from.resource_field_ref {
        return resource(container, place, reference).map(Some);
    }
    let (source, name, key, optional) = match (&from.secret_key_ref, &from.config_map_key_ref) {
        (Some(r), _) => (Source::Secret, &r.name, &r.key, r.optional),
        (None, Some(r)) => (Source::ConfigMap, &r.name, &r.key, r.optional),
        (None, None) => {
            return Err(Error::refused(format!("env {}", variable.name), "valueFrom names no source"));
        }
    };
    let found = references.value(source, name, key, optional.unwrap_or(false))?;
    found.map(|bytes| text(&variable.name, bytes)).transpose()
}

/// Expands `$(NAME)` by the variables known so far; `$$(NAME)` stays `$(NAME)`, unknown names stay as they are
/// (Kubernetes API, `EnvVar.value`).
#[must_use]
pub fn expand(text: &str, known: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        if let Some(tail) = tail.strip_prefix('$') {
            out.push('$');
            rest = tail;
            continue;
        }
        let name = tail.strip_prefix('(').and_then(|inner| Some((&inner[..inner.find(')')?], inner)));
        match name.and_then(|(name, inner)| Some((lookup(known, name)?, &inner[name.len() + 1..]))) {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => {
                out.push('$');
                rest = tail;
            }
        }
    }
    out + rest
}

fn lookup<'a>(known: &'a [(String, String)], name: &str) -> Option<&'a str> {
    known.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn set(env: &mut Env, name: String, value: String) {
    match env.iter_mut().find(|(known, _)| *known == name) {
        Some(entry) => entry.1 = value,
        None => env.push((name, value)),
    }
}

/// Whether a text can be the name of a variable: printable ASCII without `=` (Kubernetes since 1.30).
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'=')
}

fn text(name: &str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or_else(|| Error::refused(format!("env {name}"), "the value is not text; mount it as a file instead"))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

    use api::kinds::{ConfigMap, Secret};
    use k8s_openapi::ByteString;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::pod::lookup::Allocatable;

    fn place() -> Place {
        Place {
            allocatable: Allocatable { cpu_millis: 2500, memory_bytes: 1 << 30, disk_bytes: 0 },
            node_name: "n1".into(),
            host_ip: Ipv4Addr::new(192, 0, 2, 1),
            pod_ip: Ipv4Addr::new(10, 88, 0, 2),
        }
    }

    fn references() -> References {
        let secret =
            Secret { data: Some(BTreeMap::from([("pw".into(), ByteString(b"s3".to_vec()))])), ..Default::default() };
        let data = BTreeMap::from([("LEVEL".to_owned(), "info".to_owned()), ("1x".to_owned(), "digit".to_owned())]);
        let map = ConfigMap { data: Some(data), ..Default::default() };
        References {
            secrets: BTreeMap::from([("db".into(), Some(Arc::new(secret))), ("none".into(), None)]),
            config_maps: BTreeMap::from([("cfg".into(), Some(Arc::new(map)))]),
        }
    }

    fn env_of(container: serde_json::Value) -> Result<Env> {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "web-0", "namespace": "shop", "labels": {"a/b": "c"}},
            "spec": {"containers": []}}))
            .unwrap();
        let container: Container = serde_json::from_value(container).unwrap();
        let declared = declared(
            &pod,
            &container,
            &place(),
            &references(),
            vec![("DB_PORT".into(), "1".into()), ("B".into(), "2".into())],
        )?;
        Ok(over_image(&[("PATH".into(), "/bin".into()), ("A".into(), "image".into())], declared))
    }

    fn get<'a>(env: &'a Env, name: &str) -> Option<&'a str> {
        env.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    #[test]
    fn sources_override_in_order_and_fields_resolve() {
        let env = env_of(json!({"name": "c", "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cfg"}}, {"secretRef": {"name": "db"}}],
            "env": [
                {"name": "A", "value": "own"},
                {"name": "B", "value": "$(A)-$(P_LEVEL)-$(NOPE)-$$(A)"},
                {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "db", "key": "pw"}}},
                {"name": "URL", "value": "db://$(PW)@h:$(DB_PORT)"},
                {"name": "NS", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a/b']"}}},
                {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
                {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "ASKED", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}},
                {"name": "GONE", "valueFrom": {"secretKeyRef": {"name": "none", "key": "x", "optional": true}}}
            ], "resources": {"limits": {"memory": "64Mi"}}}))
        .unwrap();
        for (name, value) in [
            ("PATH", "/bin"),
            ("A", "own"),
            ("P_LEVEL", "info"),
            ("pw", "s3"),
            ("B", "own-info-$(NOPE)-$(A)"),
            ("URL", "db://s3@h:1"),
            ("DB_PORT", "1"),
            ("NS", "shop"),
            ("IP", "10.88.0.2"),
            ("L", "c"),
            ("MEM", "64"),
            ("P_1x", "digit"),
            ("CPUS", "3"),
            ("ASKED", "0"),
        ] {
            assert_eq!(get(&env, name), Some(value), "{name}");
        }
        assert_eq!(get(&env, "GONE"), None);
    }

    #[test]
    fn missing_references_are_named_without_their_values() {
        for (source, wanted) in [
            (json!({"secretKeyRef": {"name": "none", "key": "x"}}), "secret \"none\" not found"),
            (json!({"secretKeyRef": {"name": "db", "key": "x"}}), "secret \"db key x\" not found"),
            (json!({"configMapKeyRef": {"name": "nope", "key": "x"}}), "configmap \"nope\" not found"),
        ] {
            let error = env_of(json!({"name": "c", "env": [{"name": "X", "valueFrom": source}]})).unwrap_err();
            assert_eq!(error.to_string(), wanted);
        }
        let bad = json!({"name": "c", "env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "spec.secret"}}}]});
        assert!(env_of(bad).unwrap_err().to_string().contains("spec.secret"));
    }

    #[test]
    fn names_are_printable_without_an_equals_sign() {
        for good in ["A", "1st", "a-b.c", "A B", "*"] {
            assert!(is_name(good), "{good:?}");
        }
        for bad in ["", "A=B", "A\n", "\0", "é", "\x7f"] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn text_without_dollars_is_left_alone(text in "[^$]{0,40}") {
            prop_assert_eq!(expand(&text, &[]), text);
        }

        #[test]
        fn any_text_is_expanded_without_panic(text in ".{0,40}", value in ".{0,5}") {
            let _ = expand(&text, &[("A".into(), value)]);
        }
    }
}
