//! Sets of paths, and their form in `managedFields` (`FieldsV1`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::{Map, Value};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Step {
    /// A field of a map.
    Field(String),
    /// An item of a list, by its key: JSON text with sorted fields.
    Key(String),
    /// An item of a set, as JSON text.
    Item(String),
}

/// A way from the object to something in it.
pub(crate) type Path = Vec<Step>;

/// Fields of a manager.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(pub(super) BTreeSet<Path>);

/// A path as people read it: `.spec.containers[name="web"].image`.
pub(crate) struct Shown<'a>(pub(crate) &'a [Step]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in self.0 {
            match step {
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item(text) => write!(f, "[={text}]")?,
                Step::Key(text) => {
                    let fields: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
                    let parts: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    write!(f, "[{}]", parts.join(","))?;
                }
            }
        }
        Ok(())
    }
}

/// A step as `FieldsV1` writes it.
fn text(step: &Step) -> String {
    match step {
        Step::Field(name) => format!("f:{name}"),
        Step::Key(text) => format!("k:{text}"),
        Step::Item(text) => format!("v:{text}"),
    }
}

fn parse(text: &str) -> Option<Step> {
    let sorted = |text| serde_json::from_str::<BTreeMap<String, Value>>(text).ok();
    match text.split_once(':')? {
        ("f", name) => Some(Step::Field(name.to_owned())),
        ("k", key) => sorted(key).map(|key| Step::Key(serde_json::json!(key).to_string())),
        ("v", item) => serde_json::from_str::<Value>(item).ok().map(|item| Step::Item(item.to_string())),
        _ => None,
    }
}

impl Fields {
    /// Reads `FieldsV1`; nothing when the value is not in that form.
    pub(super) fn parse(value: &Value) -> Option<Self> {
        fn walk(value: &Value, at: &mut Path, found: &mut BTreeSet<Path>) -> Option<()> {
            let fields = value.as_object()?;
            if fields.is_empty() && !at.is_empty() {
                found.insert(at.clone());
            }
            for (name, value) in fields {
                if name == "." {
                    found.insert(at.clone());
                    continue;
                }
                at.push(parse(name)?);
                walk(value, at, found)?;
                at.pop();
            }
            Some(())
        }
        let mut found = BTreeSet::new();
        walk(value, &mut Path::new(), &mut found)?;
        Some(Self(found))
    }

    /// As `FieldsV1`.
    pub(super) fn to_value(&self) -> Value {
        #[derive(Default)]
        struct Node {
            member: bool,
            below: BTreeMap<String, Node>,
        }
        fn render(node: Node) -> Value {
            let own = (node.member && !node.below.is_empty()).then(|| (".".to_owned(), Value::Object(Map::new())));
            Value::Object(own.into_iter().chain(node.below.into_iter().map(|(k, v)| (k, render(v)))).collect())
        }
        let mut root = Node::default();
        for path in &self.0 {
            let mut node = &mut root;
            for step in path {
                node = node.below.entry(text(step)).or_default();
            }
            node.member = true;
        }
        render(root)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the path, or something below it, is in the set.
    pub(super) fn reaches(&self, path: &[Step]) -> bool {
        // Paths below another follow it in order.
        self.0.range(path.to_vec()..).next().is_some_and(|first| first.starts_with(path))
    }
}
