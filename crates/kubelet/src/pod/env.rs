//! The environment of a container: image, envFrom, env, and `$(NAME)` expansion.

use std::collections::HashMap;

use api::kinds::{
    Pod,
    pod::{ARGUMENT_BYTES_BESIDE, ARGUMENT_BYTES_MAX, PROGRAM_BYTES_MAX},
};
use k8s_openapi::api::core::v1::{Container, EnvVar};

use super::lookup::{Place, References, Source, field, resource};
use crate::error::{Error, Result};

/// An environment in order; later entries win. Kept apart from `Debug`, as values may be secret.
pub type Env = Vec<(String, String)>;

/// An environment that is put together: in order, each name once, and no larger than a program can be given.
#[derive(Default)]
struct Variables {
    env: Env,
    places: HashMap<String, usize>,
    bytes: usize,
}

impl Variables {
    fn get(&self, name: &str) -> Option<&str> {
        self.places.get(name).map(|place| self.env[*place].1.as_str())
    }

    /// Adds a variable, or gives it another value.
    fn set(&mut self, name: String, value: String) -> Result<()> {
        self.bytes += name.len() + value.len() + ARGUMENT_BYTES_BESIDE;
        match self.places.get(&name) {
            Some(place) => {
                let before = std::mem::replace(&mut self.env[*place].1, value);
                self.bytes -= name.len() + before.len() + ARGUMENT_BYTES_BESIDE;
            }
            None => {
                self.places.insert(name.clone(), self.env.len());
                self.env.push((name, value));
            }
        }
        if self.bytes > PROGRAM_BYTES_MAX {
            let problem = format!("the variables are more than {PROGRAM_BYTES_MAX} bytes in all");
            return Err(Error::refused("env", problem));
        }
        Ok(())
    }

    fn add(mut self, env: Env) -> Result<Self> {
        env.into_iter().try_for_each(|(name, value)| self.set(name, value))?;
        Ok(self)
    }
}

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
    let mut own = Variables::default().add(services)?;
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
                own.set(name, text(&key, value)?)?;
            }
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(pod, container, variable, place, references, &own)? {
            own.set(variable.name.clone(), value)?;
        }
    }
    Ok(own.env)
}

/// The environment of a program: the image's, overridden by what the pod declares.
///
/// # Errors
/// [`Error::Refused`] for more than a program can be given.
pub fn over_image(image: &[(String, String)], declared: Env) -> Result<Env> {
    Ok(Variables::default().add(image.to_vec())?.add(declared)?.env)
}

fn value(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    place: &Place,
    references: &References,
    known: &Variables,
) -> Result<Option<String>> {
    let Some(from) = &variable.value_from else {
        let text = expand(variable.value.as_deref().unwrap_or_default(), |name| known.get(name));
        return text.map(Some).ok_or_else(|| too_long(&format!("env {}", variable.name)));
    };
    if let Some(reference) = &from.field_ref {
        return field(pod, place, &reference.field_path).map(Some);
    }
    if let Some(reference) = &from.resource_field_ref {
        let named = reference.container_name.as_deref().filter(|name| !name.is_empty());
        let all = || pod.spec.iter().flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()));
        let other = named.map(|name| {
            let missing = || Error::Missing { kind: "container", name: name.to_owned() };
            all().find(|other| other.name == name).ok_or_else(missing)
        });
        return resource(other.transpose()?.unwrap_or(container), place, reference).map(Some);
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
/// (Kubernetes API, `EnvVar.value`). Nothing, when the text grows beyond what a program can be given.
pub fn expand<'a>(text: &str, known: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
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
        match name.and_then(|(name, inner)| Some((known(name)?, &inner[name.len() + 1..]))) {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => {
                out.push('$');
                rest = tail;
            }
        }
        if out.len() > ARGUMENT_BYTES_MAX {
            return None;
        }
    }
    out.push_str(rest);
    (out.len() <= ARGUMENT_BYTES_MAX).then_some(out)
}

/// The refusal of a text that [`expand`] makes too long.
pub(super) fn too_long(field: &str) -> Error {
    let problem =
        format!("it grows beyond {ARGUMENT_BYTES_MAX} bytes, the most that Linux gives a program in one text");
    Error::refused(field, problem)
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
            tokens: BTreeMap::new(),
        }
    }

    fn env_of(container: serde_json::Value) -> Result<Env> {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "web-0", "namespace": "shop", "labels": {"a/b": "c"}},
            "spec": {"containers": [{"name": "other", "resources": {"limits": {"memory": "8Mi"}}}]}}))
            .unwrap();
        let container: Container = serde_json::from_value(container).unwrap();
        let declared = declared(
            &pod,
            &container,
            &place(),
            &references(),
            vec![("DB_PORT".into(), "1".into()), ("B".into(), "2".into())],
        )?;
        over_image(&[("PATH".into(), "/bin".into()), ("A".into(), "image".into())], declared)
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
                {"name": "OTHER", "valueFrom": {"resourceFieldRef": {"containerName": "other", "resource": "limits.memory", "divisor": "1Mi"}}},
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
            ("OTHER", "8"),
            ("P_1x", "digit"),
            ("CPUS", "3"),
            ("ASKED", "0"),
        ] {
            assert_eq!(get(&env, name), Some(value), "{name}");
        }
        assert_eq!(get(&env, "GONE"), None);
    }

    #[test]
    fn variables_that_name_each_other_cannot_fill_the_memory() {
        let doubling = |n: u32| json!({"name": format!("V{n}"), "value": format!("$(V{})$(V{})", n - 1, n - 1)});
        let all = |count: u32| (1..count).map(doubling);
        let start = json!({"name": "V0", "value": "0123456789abcdef"});
        let env = |more: u32| [start.clone()].into_iter().chain(all(more)).collect::<serde_json::Value>();
        let error = env_of(json!({"name": "c", "env": env(64)})).unwrap_err().to_string();
        assert!(error.starts_with("env V13: it grows beyond 131071 bytes"), "{error}");
        assert!(env_of(json!({"name": "c", "env": env(10)})).is_ok());
        let wide = (0..64).map(|n| json!({"name": format!("W{n}"), "value": "$(V9)$(V9)"}));
        let wide: serde_json::Value = env(10).as_array().unwrap().iter().cloned().chain(wide).collect();
        let error = env_of(json!({"name": "c", "env": wide})).unwrap_err().to_string();
        assert!(error.starts_with("env: the variables are more than 1048576 bytes"), "{error}");
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
            prop_assert_eq!(expand(&text, |_| None), Some(text));
        }

        #[test]
        fn any_text_is_expanded_without_panic(text in ".{0,40}", value in ".{0,5}") {
            let _ = expand(&text, |name| (name == "A").then_some(value.as_str()));
        }
    }
}
