//! Objects that the schemas of the kinds allow.

use api::{Kind, kinds, names::group::NANOCLOUD, review};
use proptest::prelude::*;
use schemars::SchemaGenerator;
use serde_json::Map;

use super::*;

/// How deep objects nest, so that schemas that hold themselves end.
const DEEPEST: usize = 14;

/// Makes objects of a schema. Nothing is empty or zero, which JSON writes in two ways.
struct Sampler {
    definitions: Map<String, Value>,
    seed: u64,
    /// Of a hundred fields, how many are there.
    share: u64,
    /// Types around the value, so that those that hold themselves do so once.
    around: Vec<String>,
}

impl Sampler {
    fn random(&mut self, below: u64) -> u64 {
        // Knuth's linear congruential generator, of which the high bits are good.
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % below
    }

    fn text(&mut self, format: &str, name: &str) -> Value {
        let number = self.random(1_000_000);
        match (format, name.rsplit('.').next()) {
            (_, Some("MicroTime")) => format!("2020-09-13T12:26:40.{number:06}Z").into(),
            ("date-time", _) => format!("2020-09-13T12:26:{:02}Z", number % 60).into(),
            ("byte", _) => "AP8=".into(),
            _ => format!("t{number}").into(),
        }
    }

    fn value(&mut self, schema: &Value, name: &str, depth: usize) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap();
            let schema = self.definitions[name].clone();
            self.around.push(name.to_owned());
            let value = self.value(&schema, name, depth);
            self.around.pop();
            return value;
        }
        if schema["x-kubernetes-int-or-string"] == true {
            let is_number = !name.ends_with("Quantity") && self.random(2) == 0;
            return if is_number { (self.random(100) + 1).into() } else { self.text("", name) };
        }
        for several in ["allOf", "anyOf", "oneOf"] {
            if let Some(parts) = schema[several].as_array() {
                let meant: Vec<_> = parts.iter().filter(|part| part.get("enum").is_none()).collect();
                let chosen = self.random(meant.len() as u64);
                return self.value(meant[usize::try_from(chosen).unwrap()], name, depth);
            }
        }
        match schema["type"].as_str() {
            Some("string") => self.text(schema["format"].as_str().unwrap_or_default(), name),
            Some("integer") => (self.random(1_000) + 1).into(),
            Some("number") => [json!(1), json!(0.5)][usize::try_from(self.random(2)).unwrap()].clone(),
            Some("boolean") => true.into(),
            Some("array") => (0..=self.random(2)).map(|_| self.value(&schema["items"], "", depth + 1)).collect(),
            _ => self.object(schema, depth),
        }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let mut out = Map::new();
        if schema["additionalProperties"].is_object() {
            for _ in 0..=self.random(2) {
                let key = format!("k{}", self.random(100));
                out.insert(key, self.value(&schema["additionalProperties"], "", depth + 1));
            }
            return Value::Object(out);
        }
        let Some(properties) = schema["properties"].as_object() else {
            let has_fields = self.around.last().is_none_or(|name| !name.ends_with(".CustomResourceSubresourceStatus"));
            return if has_fields { json!({"any": ["thing", null]}) } else { json!({}) };
        };
        for (name, schema) in properties {
            // Whole objects say what they are only where nothing else does.
            if self.around.iter().any(|around| leads_to(schema, around)) {
                continue;
            }
            let is_type = properties.contains_key("metadata") && (name == "apiVersion" || name == "kind");
            if !is_type && depth < DEEPEST && self.random(100) < self.share {
                out.insert(name.clone(), self.value(schema, "", depth + 1));
            }
        }
        Value::Object(out)
    }
}

/// Whether values of a schema may be of a type, or hold such.
fn leads_to(schema: &Value, name: &str) -> bool {
    match schema {
        Value::String(text) => text.rsplit('/').next().is_some_and(|last| last.starts_with(name)),
        Value::Array(parts) => parts.iter().any(|part| leads_to(part, name)),
        Value::Object(parts) => parts
            .iter()
            .any(|(field, part)| !matches!(field.as_str(), "description" | "properties") && leads_to(part, name)),
        _ => false,
    }
}

/// An object of a kind.
pub(super) fn of(kind: &Kind, seed: u64, share: u64) -> Value {
    let mut generator = SchemaGenerator::default();
    let schema = kind.schema(&mut generator).to_value();
    object(&kind.api_version(), kind.kind(), schema, generator, seed, share)
}

fn object(api_version: &str, kind: &str, schema: Value, generator: SchemaGenerator, seed: u64, share: u64) -> Value {
    let mut sampler = Sampler { definitions: generator.definitions().clone(), seed, share, around: Vec::new() };
    let mut sample = sampler.value(&schema, "", 0);
    sample["apiVersion"] = api_version.into();
    sample["kind"] = kind.into();
    sample
}

#[test]
fn every_field_of_every_kind_of_kubernetes_is_in_the_table() {
    for kind in kinds::all().iter().filter(|kind| kind.group() != NANOCLOUD) {
        assert!(has(kind), "{kind:?} has no message");
        let whole = of(kind, 1, 100);
        assert_eq!(again(&whole), whole, "{}", kind.kind());
        let list = json!({
            "apiVersion": kind.api_version(), "kind": format!("{}List", kind.kind()), "metadata": {"continue": "c"},
            "items": [{"metadata": {"name": "a"}}],
        });
        assert_eq!(again(&list), list);
    }
    for review in review::all() {
        let mut generator = SchemaGenerator::default();
        let schema = review.schema(&mut generator).to_value();
        let api_version = format!("{}/{}", review.group, review.version);
        let whole = object(&api_version, review.kind, schema, generator, 1, 100);
        assert_eq!(again(&whole), whole, "{}", review.kind);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_object_is_read_as_it_was_written(seed in any::<u64>()) {
        for kind in kinds::all().iter().filter(|kind| has(kind)) {
            let sample = of(kind, seed, 60);
            prop_assert_eq!(again(&sample), sample);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let body = [MAGIC, b"\x0a\x09\x0a\x02v1\x12\x03Pod\x12", &[u8::try_from(bytes.len()).unwrap()], &bytes].concat();
        let _ = document(&body);
    }
}
