//! JSON documents, and the fields that are in them more than once. Pure.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, map::Entry};

/// Most duplicate fields that are reported.
const MAX_NAMED: usize = 32;
/// Most nested lists and maps of a document, below the 128 of the parser: whatever is stored can be read again, also
/// within a list or an event.
pub(crate) const MAX_NESTING: usize = 120;

/// A document as it was read; the last value of a duplicate field counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Document {
    pub(crate) value: Value,
    /// Paths of the fields that are given more than once, such as `spec.ports[0].port`.
    pub(crate) duplicates: Vec<String>,
}

impl From<Value> for Document {
    fn from(value: Value) -> Self {
        Self { value, duplicates: Vec::new() }
    }
}

impl Document {
    /// Reads JSON.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut duplicates = Vec::new();
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let value = Node { duplicates: &mut duplicates, depth: 0 }.deserialize(&mut reader)?;
        reader.end()?;
        Ok(Self { value, duplicates })
    }
}

/// One value of the document; the paths below it are relative to it.
struct Node<'a> {
    duplicates: &'a mut Vec<String>,
    depth: usize,
}

impl Node<'_> {
    /// Whether a list or map may be here.
    fn enter<E: Error>(&self) -> Result<(), E> {
        match self.depth {
            MAX_NESTING => Err(E::custom(format_args!("more than {MAX_NESTING} lists and maps within each other"))),
            _ => Ok(()),
        }
    }

    fn below(&mut self) -> Node<'_> {
        Node { duplicates: self.duplicates, depth: self.depth + 1 }
    }

    /// Prefixes the paths found below a value with the step that leads to it.
    fn lead(&mut self, from: usize, step: impl FnOnce() -> String) {
        let Some(found) = self.duplicates.get_mut(from..).filter(|found| !found.is_empty()) else { return };
        let step = step();
        for path in found {
            let dot = if path.starts_with('[') { "" } else { "." };
            path.insert_str(0, dot);
            path.insert_str(0, &step);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut items = Vec::new();
        loop {
            let from = self.duplicates.len();
            let Some(item) = access.next_element_seed(self.below())? else { break };
            self.lead(from, || format!("[{}]", items.len()));
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        self.enter()?;
        let own = self.duplicates.len();
        let mut fields = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let from = self.duplicates.len();
            let value = access.next_value_seed(self.below())?;
            self.lead(from, || name.clone());
            match fields.entry(name) {
                Entry::Vacant(entry) => drop(entry.insert(value)),
                Entry::Occupied(mut entry) => {
                    if self.duplicates.len() < MAX_NAMED && !self.duplicates[own..].contains(entry.key()) {
                        self.duplicates.push(entry.key().clone());
                    }
                    entry.insert(value);
                }
            }
        }
        Ok(Value::Object(fields))
    }
}

/// The depth of nested lists and maps; nothing when it takes more than `steps` values to find out.
pub(crate) fn nesting(value: &Value, steps: &mut usize) -> Option<usize> {
    *steps = steps.checked_sub(1)?;
    let mut deepest = 0;
    match value {
        Value::Array(items) => {
            for item in items {
                deepest = deepest.max(nesting(item, steps)?);
            }
        }
        Value::Object(fields) => {
            for field in fields.values() {
                deepest = deepest.max(nesting(field, steps)?);
            }
        }
        _ => return Some(0),
    }
    Some(deepest + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_given_twice_are_named_and_the_last_counts() {
        for (text, value, duplicates) in [
            (r#"{"a":1,"b":2}"#, json!({"a": 1, "b": 2}), vec![]),
            (r#"{"a":1,"a":2}"#, json!({"a": 2}), vec!["a"]),
            (r#"{"a":1,"a":2,"a":3}"#, json!({"a": 3}), vec!["a"]),
            (
                r#"{"s":{"p":[{"n":1},{"n":1,"n":2}]},"d":{"k":1,"k":1}}"#,
                json!({"s": {"p": [{"n": 1}, {"n": 2}]}, "d": {"k": 1}}),
                vec!["s.p[1].n", "d.k"],
            ),
            (r#"[[{"a":1,"a":2}]]"#, json!([[{"a": 2}]]), vec!["[0][0].a"]),
        ] {
            let read = Document::read(text.as_bytes()).unwrap();
            assert_eq!((read.value, read.duplicates), (value, duplicates.iter().map(|d| d.to_string()).collect()));
        }
        let many = format!("{{{}\"x\":0}}", (0..100).map(|n| format!("\"k{n}\":0,\"k{n}\":0,")).collect::<String>());
        assert_eq!(Document::read(many.as_bytes()).unwrap().duplicates.len(), MAX_NAMED);
        let twice = Document::read(br#"{"k":1,"k":2,"d":{"k":1,"k":1}}"#).unwrap();
        assert_eq!(twice.duplicates, ["k", "d.k"]);
    }

    #[test]
    fn what_is_no_document_or_too_deep_is_refused() {
        for text in ["", "{", "{}x", "{} {}", "[1,]", "{'a':1}"] {
            assert!(Document::read(text.as_bytes()).is_err(), "{text}");
        }
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let deepest = Document::read(nested(MAX_NESTING).as_bytes()).unwrap();
        assert_eq!(nesting(&deepest.value, &mut 1000), Some(MAX_NESTING));
        assert!(Document::read(nested(MAX_NESTING + 1).as_bytes()).is_err());
        assert!(Document::read(nested(100_000).as_bytes()).is_err());
        assert_eq!(nesting(&deepest.value, &mut 10), None, "looking is bounded, too");
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i32>().prop_map(|number| json!(f64::from(number) / 2.0)),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map("[a-z]{1,3}", inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_value_is_read_as_it_was_written(value in values()) {
            let text = value.to_string();
            let read = Document::read(text.as_bytes()).unwrap();
            prop_assert!(read.duplicates.is_empty());
            prop_assert_eq!(read.value.to_string(), text);
        }
    }
}
