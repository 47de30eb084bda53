//! An object as paths to its leaves.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    fields::{Fields, Path, Step},
    shape::{self, Place, Shape},
};

/// Leaves and their values; items of lists have a path of their own, without a value.
pub(super) type Leaves<'a> = BTreeMap<Path, Option<&'a Value>>;

/// Fields that name the object or belong to the server: no manager owns them.
const NOBODYS: [&str; 11] = [
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "selfLink",
    "clusterName",
    "managedFields",
];

/// The leaves of an object; `root` is where it begins.
pub(super) fn leaves<'a>(root: Place<'_>, object: &'a Value) -> Leaves<'a> {
    let mut found = Leaves::new();
    let fields = object.as_object().into_iter().flatten();
    for (field, value) in fields.filter(|(field, _)| !matches!(field.as_str(), "apiVersion" | "kind")) {
        let place = root.below(field);
        if field == "metadata" {
            let all = value.as_object().into_iter().flatten();
            for (name, value) in all.filter(|(name, _)| !NOBODYS.contains(&name.as_str())) {
                let mut at = vec![Step::Field(field.clone()), Step::Field(name.clone())];
                walk(place.below(name), value, &mut at, &mut found);
            }
        } else {
            walk(place, value, &mut vec![Step::Field(field.clone())], &mut found);
        }
    }
    found
}

/// The fields of an object that a manager may own.
pub(crate) fn fields(root: Place<'_>, object: &Value) -> Fields {
    Fields(leaves(root, object).into_keys().collect())
}

fn walk<'a>(place: Place<'_>, value: &'a Value, at: &mut Path, found: &mut Leaves<'a>) {
    match (shape::of(place, value), value) {
        (Shape::Fields, Value::Object(fields)) => below(place, fields, at, found),
        (Shape::Keyed(keys), Value::Array(items)) => {
            for item in items {
                let Some(key) = shape::name(&keys, item) else { continue };
                at.push(Step::Key(key));
                found.insert(at.clone(), None);
                if let Value::Object(fields) = item {
                    below(place.item(), fields, at, found);
                }
                at.pop();
            }
        }
        (Shape::Set, Value::Array(items)) => {
            for item in items {
                at.push(Step::Item(item.to_string()));
                found.insert(at.clone(), None);
                at.pop();
            }
        }
        // A null is not a value.
        (_, Value::Null) => {}
        _ => {
            found.insert(at.clone(), Some(value));
        }
    }
}

fn below<'a>(place: Place<'_>, fields: &'a serde_json::Map<String, Value>, at: &mut Path, found: &mut Leaves<'a>) {
    for (field, value) in fields {
        at.push(Step::Field(field.clone()));
        walk(place.below(field), value, at, found);
        at.pop();
    }
}
