//! A config laid over the live object, and what goes because nobody wants it any more.

use serde_json::{Map, Value};

use super::{
    entry::{Entries, Operation, Writer},
    fields::{Fields, Step},
    leaves,
    shape::{self, Shape},
};

/// A config laid over an object.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    /// The object the manager wishes for.
    pub(crate) object: Value,
    /// What the config speaks of.
    pub(crate) fields: Fields,
}

/// Lays `config` over `live` and removes what this manager applied before, does not apply now, and nobody else owns.
pub(crate) fn merge(live: &Value, config: &Value, entries: &Entries, writer: &Writer) -> Merged {
    let fields = leaves::fields(config);
    let mut object = live.clone();
    lay_fields("", &mut object, config);
    let own = entries.find(writer, Operation::Apply);
    let wanted = |path: &[Step]| {
        fields.reaches(path)
            || entries
                .iter()
                .any(|entry| !own.is_some_and(|own| std::ptr::eq(own, entry)) && entry.fields.reaches(path))
    };
    let before = own.iter().flat_map(|entry| &entry.fields.0);
    // Items go before their fields: in order a path comes before those below it.
    for path in before.filter(|path| !wanted(path)) {
        Removal { path, wanted: &wanted }.fields("", &mut object, 0);
    }
    Merged { object, fields }
}

fn lay_fields(parent: &str, live: &mut Value, config: &Value) {
    let (Value::Object(live), Value::Object(config)) = (live, config) else { return };
    for (field, value) in config.iter().filter(|(_, value)| !value.is_null()) {
        match live.get_mut(field) {
            Some(live) => lay(parent, field, live, value),
            None => drop(live.insert(field.clone(), value.clone())),
        }
    }
}

fn lay(parent: &str, field: &str, live: &mut Value, config: &Value) {
    match (shape::declared(parent, field, config), &mut *live, config) {
        (Shape::Fields, Value::Object(_), _) => lay_fields(field, live, config),
        (Shape::Keyed(keys), Value::Array(items), Value::Array(wanted)) => {
            for item in wanted {
                let key = shape::name(keys, item);
                match items.iter_mut().find(|known| shape::name(keys, known) == key) {
                    Some(known) => lay_fields(field, known, item),
                    None => items.push(item.clone()),
                }
            }
        }
        (Shape::Set, Value::Array(items), Value::Array(wanted)) => {
            let missing: Vec<_> = wanted.iter().filter(|item| !items.contains(item)).cloned().collect();
            items.extend(missing);
        }
        _ => *live = config.clone(),
    }
}

/// A path on whose end something is removed.
struct Removal<'a> {
    path: &'a [Step],
    wanted: &'a dyn Fn(&[Step]) -> bool,
}

impl Removal<'_> {
    /// Removes what the path leads to from `depth` on, and maps and lists that are empty then, unless somebody wants
    /// them as they are. Keys of items stay as long as their items.
    fn fields(&self, parent: &str, value: &mut Value, depth: usize) {
        let (Value::Object(fields), Some(Step::Field(field))) = (value, self.path.get(depth)) else { return };
        let Some(below) = fields.get_mut(field) else { return };
        let next = depth + 1;
        let emptied = match self.path.get(next) {
            None => true,
            Some(Step::Field(_)) => {
                self.fields(field, below, next);
                below.as_object().is_some_and(Map::is_empty)
            }
            Some(Step::Key(key)) => {
                self.item(parent, field, below, key, next);
                below.as_array().is_some_and(Vec::is_empty)
            }
            Some(Step::Item(item)) => {
                if let Value::Array(items) = below {
                    items.retain(|known| {
                        let known = known.to_string();
                        known != *item
                    });
                }
                below.as_array().is_some_and(Vec::is_empty)
            }
        };
        if emptied && !(self.wanted)(&self.path[..next]) {
            fields.shift_remove(field);
        }
    }

    fn item(&self, parent: &str, field: &str, list: &mut Value, key: &str, depth: usize) {
        let Shape::Keyed(keys) = shape::of(parent, field, list) else { return };
        let Value::Array(items) = list else { return };
        let Some(at) = items.iter().position(|item| shape::name(keys, item).as_deref() == Some(key)) else { return };
        match &self.path[depth + 1..] {
            [] => drop(items.remove(at)),
            [Step::Field(name)] if keys.iter().any(|key| key.name == name) => {}
            _ => {
                if let Some(item) = items.get_mut(at) {
                    self.fields(field, item, depth + 1);
                }
            }
        }
    }
}
