//! JSON Patch (RFC 6902), as Kubernetes' API server takes it: a missing member may be replaced and counts as null in a
//! test, an operation without value is one with null, and indices below zero count from the end.
//!
//! Source: `Patch.Apply` of gopkg.in/evanphx/json-patch.v4, which kube-apiserver uses. Unlike there, what an operation
//! may cost is bounded: bytes copied, values looked at and moved, and how deep things nest.

use api::{FieldError, Kind, Reason};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    api_error::{ApiError, Result},
    document::{MAX_NESTING, nesting},
    limits::{MAX_JSON_PATCH_COPIED_BYTES, MAX_JSON_PATCH_OPERATIONS, MAX_JSON_PATCH_STEPS},
    object,
};

/// One operation.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(crate) enum Operation {
    Add {
        path: String,
        #[serde(default)]
        value: Value,
    },
    Remove {
        path: String,
    },
    Replace {
        path: String,
        #[serde(default)]
        value: Value,
    },
    Move {
        from: String,
        path: String,
    },
    Copy {
        from: String,
        path: String,
    },
    Test {
        path: String,
        #[serde(default)]
        value: Value,
    },
}

pub(super) fn parse(document: Value) -> Result<Vec<Operation>> {
    if let Some(count) = document.as_array().map(Vec::len).filter(|count| *count > MAX_JSON_PATCH_OPERATIONS) {
        let message = format!("{count} operations, at most {MAX_JSON_PATCH_OPERATIONS} are taken in one patch");
        return Err(ApiError::new(Reason::RequestEntityTooLarge, message).remedy("split the patch"));
    }
    serde_json::from_value(document)
        .map_err(|error| ApiError::bad_request(format!("the JSON patch cannot be read: {error}")))
}

/// The object after all operations, or the first that fails.
pub(super) fn apply(kind: &Kind, mut object: Value, operations: &[Operation]) -> Result<Value> {
    let name = object::name(&object).to_owned();
    let mut budget = Budget { bytes: MAX_JSON_PATCH_COPIED_BYTES, steps: MAX_JSON_PATCH_STEPS };
    for (index, operation) in operations.iter().enumerate() {
        step(&mut object, operation, &mut budget).map_err(|fault| match fault {
            Fault::Invalid(message) => {
                let error = FieldError::invalid(format!("patch[{index}]"), message);
                let mut failure = ApiError::invalid(kind, &name, &[error]);
                failure.status.code = failure.status.reason.code();
                failure
            }
            Fault::TooLarge(message) => {
                ApiError::new(Reason::RequestEntityTooLarge, format!("patch[{index}]: {message}"))
                    .remedy("split the patch")
            }
        })?;
    }
    Ok(object)
}

/// Why an operation is not done.
enum Fault {
    /// It does not fit the object.
    Invalid(String),
    /// The patch asks for more than one request may.
    TooLarge(String),
}

/// What the rest of the patch may cost.
struct Budget {
    bytes: usize,
    steps: usize,
}

impl Budget {
    /// Items moved to make room for one, or to close its gap, for the price of one step.
    const SHIFTED_PER_STEP: usize = 16;

    fn spend(&mut self, steps: usize) -> Result<(), Fault> {
        match self.steps.checked_sub(steps) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(too_long()),
        }
    }

    /// Pays for an insertion or removal among so many items.
    fn shift(&mut self, items: usize) -> Result<(), Fault> {
        self.spend(1 + items / Self::SHIFTED_PER_STEP)
    }

    /// Pays for a copy.
    fn copy(&mut self, value: &Value) -> Result<(), Fault> {
        measure(value, &mut self.bytes).ok_or_else(|| {
            Fault::TooLarge(format!("a patch may copy at most {MAX_JSON_PATCH_COPIED_BYTES} bytes in all"))
        })
    }

    /// Whether a value may be at the end of a path.
    fn nest(&mut self, path: &Path, value: &Value) -> Result<(), Fault> {
        let within = nesting(value, &mut self.steps).ok_or_else(too_long)?;
        if path.0.len() + within > MAX_NESTING {
            let message = format!("at most {MAX_NESTING} lists and maps may be within each other");
            return Err(Fault::Invalid(message));
        }
        Ok(())
    }
}

fn too_long() -> Fault {
    Fault::TooLarge(format!("its operations look at and move more than {MAX_JSON_PATCH_STEPS} values"))
}

/// Takes the length of a value's JSON from `left`; nothing when it is longer.
fn measure(value: &Value, left: &mut usize) -> Option<()> {
    /// Most digits of a number, sign and point.
    const NUMBER: usize = 24;
    let own = match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => NUMBER,
        Value::String(text) => text.len() + 3,
        Value::Array(_) | Value::Object(_) => 3,
    };
    *left = left.checked_sub(own)?;
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| measure(item, left)),
        Value::Object(fields) => fields.iter().try_for_each(|(name, field)| {
            *left = left.checked_sub(name.len() + 4)?;
            measure(field, left)
        }),
        _ => Some(()),
    }
}

/// The unescaped parts of a path (RFC 6901); none are the whole object. What stands before the first slash does not
/// count.
struct Path(Vec<String>);

impl Path {
    fn parse(text: &str) -> Result<Self, Fault> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let (_, parts) = text.split_once('/').ok_or_else(|| Fault::Invalid(format!("{text:?} must begin with '/'")))?;
        Ok(Self(parts.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect()))
    }

    fn missing(&self) -> Fault {
        let escaped = |part: &String| part.replace('~', "~0").replace('/', "~1");
        Fault::Invalid(format!("there is no \"/{}\"", self.0.iter().map(escaped).collect::<Vec<_>>().join("/")))
    }

    /// What the last part is in, and that part; nothing for the whole object.
    fn parent<'a>(&'a self, object: &'a mut Value) -> Result<Option<(&'a mut Value, &'a str)>, Fault> {
        let Some((last, parts)) = self.0.split_last() else { return Ok(None) };
        let mut at = object;
        for part in parts {
            let below = match at {
                Value::Object(fields) => fields.get_mut(part),
                Value::Array(items) => place(part, items.len()).and_then(|index| items.get_mut(index)),
                _ => None,
            };
            at = below.ok_or_else(|| self.missing())?;
        }
        Ok(Some((at, last)))
    }

    /// The value at its end: none is a member that is not there, in a map that is.
    fn find<'a>(&'a self, object: &'a mut Value) -> Result<Option<&'a mut Value>, Fault> {
        // The whole object is its own end.
        if self.0.is_empty() {
            return Ok(Some(object));
        }
        match self.parent(object)? {
            Some((Value::Object(fields), last)) => Ok(fields.get_mut(last)),
            Some((Value::Array(items), last)) => {
                let at = place(last, items.len()).ok_or_else(|| self.missing())?;
                Ok(items.get_mut(at))
            }
            _ => Err(self.missing()),
        }
    }
}

/// The place an index means among so many items; below zero it counts from the end.
fn place(text: &str, items: usize) -> Option<usize> {
    let index: i64 = text.parse().ok()?;
    let items = i64::try_from(items).ok()?;
    let index = if index < 0 { index.checked_add(items)? } else { index };
    usize::try_from(index).ok().filter(|_| index < items)
}

fn step(object: &mut Value, operation: &Operation, budget: &mut Budget) -> Result<(), Fault> {
    match operation {
        Operation::Add { path, value } => add(object, &Path::parse(path)?, value.clone(), budget),
        Operation::Remove { path } => remove(object, &Path::parse(path)?, budget).map(drop),
        Operation::Replace { path, value } => {
            let path = Path::parse(path)?;
            match path.find(object)? {
                Some(found) => {
                    budget.nest(&path, value)?;
                    *found = value.clone();
                    Ok(())
                }
                None => add(object, &path, value.clone(), budget),
            }
        }
        Operation::Move { from, path } if path.starts_with(&format!("{from}/")) => {
            Err(Fault::Invalid(format!("{from:?} cannot be moved into itself")))
        }
        Operation::Move { from, path } => {
            let value = remove(object, &Path::parse(from)?, budget)?;
            add(object, &Path::parse(path)?, value, budget)
        }
        Operation::Copy { from, path } => {
            let from = Path::parse(from)?;
            let value = from.find(object)?.ok_or_else(|| from.missing())?;
            budget.copy(value)?;
            let value = value.clone();
            add(object, &Path::parse(path)?, value, budget)
        }
        Operation::Test { path, value } => {
            let target = Path::parse(path)?;
            let found = target.find(object)?;
            match found.as_deref().unwrap_or(&Value::Null) == value {
                true => Ok(()),
                false => Err(Fault::Invalid(format!("the test of {path:?} failed"))),
            }
        }
    }
}

fn add(object: &mut Value, path: &Path, value: Value, budget: &mut Budget) -> Result<(), Fault> {
    budget.nest(path, &value)?;
    match path.parent(object)? {
        None => *object = value,
        Some((Value::Object(fields), last)) => drop(fields.insert(last.to_owned(), value)),
        Some((Value::Array(items), "-")) => items.push(value),
        Some((Value::Array(items), last)) => {
            let at = place(last, items.len() + 1).ok_or_else(|| path.missing())?;
            budget.shift(items.len() - at)?;
            items.insert(at, value);
        }
        Some(_) => return Err(path.missing()),
    }
    Ok(())
}

fn remove(object: &mut Value, path: &Path, budget: &mut Budget) -> Result<Value, Fault> {
    match path.parent(object)? {
        Some((Value::Object(fields), last)) => {
            budget.shift(fields.len())?;
            fields.shift_remove(last).ok_or_else(|| path.missing())
        }
        Some((Value::Array(items), last)) => {
            let at = place(last, items.len()).ok_or_else(|| path.missing())?;
            budget.shift(items.len() - at)?;
            Ok(items.remove(at))
        }
        _ => Err(path.missing()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome(object: Value, patch: Value) -> Result<Value> {
        apply(api::kinds::find("configmaps").unwrap(), object, &parse(patch)?)
    }

    fn patched(object: Value, patch: Value) -> Option<Value> {
        outcome(object, patch).ok()
    }

    #[test]
    fn operations_do_what_the_rfc_says() {
        for (object, patch, wanted) in [
            (json!({"a": 1}), json!([{"op": "add", "path": "/b", "value": 2}]), Some(json!({"a": 1, "b": 2}))),
            (json!({"a": [1, 3]}), json!([{"op": "add", "path": "/a/1", "value": 2}]), Some(json!({"a": [1, 2, 3]}))),
            (json!({"a": [1]}), json!([{"op": "add", "path": "/a/-", "value": 2}]), Some(json!({"a": [1, 2]}))),
            (json!({"a": [1]}), json!([{"op": "add", "path": "/a/2", "value": 2}]), None),
            (json!({"a": 1}), json!([{"op": "remove", "path": "/b"}]), None),
            (json!({"a": [1]}), json!([{"op": "remove", "path": "/a/-"}]), None),
            (json!({"a~/b": 1}), json!([{"op": "remove", "path": "/a~0~1b"}]), Some(json!({}))),
            (json!({"a": 1}), json!([{"op": "replace", "path": "/a", "value": 2}]), Some(json!({"a": 2}))),
            (json!({"a": 1}), json!([{"op": "replace", "path": "", "value": {"b": 1}}]), Some(json!({"b": 1}))),
            (json!({"a": 1}), json!([{"op": "test", "path": "/a", "value": 2}]), None),
            (json!({"a": {"b": 1}}), json!([{"op": "move", "from": "/a", "path": "/a/c"}]), None),
            (json!({"a": 1}), json!([{"op": "move", "from": "/a", "path": "/b"}]), Some(json!({"b": 1}))),
            (json!({"a": 1}), json!([{"op": "move", "from": "/c", "path": "/b"}]), None),
            (json!({"a": 1}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), Some(json!({"a": 1, "b": 1}))),
        ] {
            assert_eq!(patched(object, patch.clone()), wanted, "{patch}");
        }
        assert!(parse(json!({})).is_err() && parse(json!([{"op": "fly", "path": "/a"}])).is_err());
    }

    #[test]
    fn operations_are_taken_as_kubernetes_takes_them() {
        let list = || json!({"a": [1, 2, 3]});
        for (object, patch, wanted) in [
            // A missing member is replaced, as long as there is something it could be in.
            (json!({"d": {}}), json!([{"op": "replace", "path": "/d/k", "value": 1}]), Some(json!({"d": {"k": 1}}))),
            (json!({}), json!([{"op": "replace", "path": "/d/k", "value": 1}]), None),
            (list(), json!([{"op": "replace", "path": "/a/3", "value": 4}]), None),
            // A missing member is null.
            (json!({"d": {}}), json!([{"op": "test", "path": "/d/k", "value": null}]), Some(json!({"d": {}}))),
            (json!({"d": {}}), json!([{"op": "test", "path": "/d/k"}]), Some(json!({"d": {}}))),
            (json!({"d": {"k": 1}}), json!([{"op": "test", "path": "/d/k", "value": null}]), None),
            (json!({}), json!([{"op": "test", "path": "/d/k", "value": null}]), None),
            // Indices.
            (list(), json!([{"op": "remove", "path": "/a/-1"}]), Some(json!({"a": [1, 2]}))),
            (list(), json!([{"op": "replace", "path": "/a/-3", "value": 0}]), Some(json!({"a": [0, 2, 3]}))),
            (list(), json!([{"op": "add", "path": "/a/-1", "value": 4}]), Some(json!({"a": [1, 2, 3, 4]}))),
            (list(), json!([{"op": "add", "path": "/a/-4", "value": 0}]), Some(json!({"a": [0, 1, 2, 3]}))),
            (list(), json!([{"op": "add", "path": "/a/-5", "value": 0}]), None),
            (list(), json!([{"op": "remove", "path": "/a/-4"}]), None),
            (list(), json!([{"op": "add", "path": "/a/01", "value": 0}]), Some(json!({"a": [1, 0, 2, 3]}))),
            (list(), json!([{"op": "test", "path": "/a/-1", "value": 3}]), Some(list())),
            // Without value, and with a path that begins oddly.
            (json!({"d": {}}), json!([{"op": "add", "path": "/d/k"}]), Some(json!({"d": {"k": null}}))),
            (json!({}), json!([{"op": "add", "path": "x/k", "value": 1}]), Some(json!({"k": 1}))),
            (json!({}), json!([{"op": "add", "path": "k", "value": 1}]), None),
        ] {
            assert_eq!(patched(object.clone(), patch.clone()), wanted, "{object} {patch}");
        }
    }

    /// `fieldValidation=Strict` asks of the patch itself only that no field is there twice: the library that reads it
    /// (`evanphx/json-patch`) looks at the members it knows.
    #[test]
    fn unknown_members_of_an_operation_are_ignored_as_kubernetes_does() {
        let patch = json!([{"op": "add", "path": "/b", "value": 2, "from": "/x", "comment": "why"}]);
        assert_eq!(patched(json!({}), patch), Some(json!({"b": 2})));
    }

    #[test]
    fn copies_that_double_the_object_are_refused() {
        let doubling = |n: usize| json!({"op": "copy", "from": "/metadata", "path": format!("/metadata/x{n}")});
        let object = json!({"metadata": {"name": "a", "labels": {"k": "v"}}});
        let failure = outcome(object.clone(), (0..35).map(doubling).collect()).unwrap_err();
        assert_eq!(failure.status.code, 413, "{failure}");
        assert!(failure.status.message.contains("copy at most"), "{failure}");
        assert!(patched(object, (0..3).map(doubling).collect()).is_some());
    }

    #[test]
    fn nothing_nests_deeper_than_what_can_be_read() {
        let deep = (0..100).fold(json!({}), |value, _| json!({"a": value}));
        let down = "/a".repeat(100);
        let adds = (1..10_000).map(|n| json!({"op": "add", "path": format!("{down}{}", "/a".repeat(n)), "value": {}}));
        let added = outcome(json!({"metadata": {"name": "x"}, "a": deep["a"]}), adds.take(100).collect());
        let added = added.unwrap_err();
        assert_eq!(added.status.code, 422, "{added}");
        assert!(added.status.message.contains("within each other"), "{added}");
        // Each value is moved below another one, by 50 levels each time.
        let start = json!({"metadata": {"name": "x"}, "p": (0..50).fold(json!({}), |value, _| json!({"a": value}))});
        let moves = (0..100).flat_map(|n| {
            [
                json!({"op": "copy", "from": "/p", "path": format!("/q{n}")}),
                json!({"op": "move", "from": "/p", "path": format!("/q{n}{}/b", "/a".repeat(50))}),
                json!({"op": "move", "from": format!("/q{n}"), "path": "/p"}),
            ]
        });
        let moved = outcome(start, moves.collect()).unwrap_err();
        assert_eq!(moved.status.code, 422, "{moved}");
        assert!(moved.status.message.contains("within each other"), "{moved}");
    }

    #[test]
    fn what_is_looked_at_and_moved_is_bounded() {
        let many = Value::Array(vec![json!(0); 500_000]);
        let object = json!({"metadata": {"name": "x"}, "a": many});
        let shifts = vec![json!({"op": "add", "path": "/a/0", "value": 0}); MAX_JSON_PATCH_OPERATIONS];
        assert_eq!(outcome(object.clone(), shifts.into()).unwrap_err().status.code, 413);
        let there = json!({"op": "move", "from": "/a", "path": "/b"});
        let back = json!({"op": "move", "from": "/b", "path": "/a"});
        let moves = [there, back].into_iter().cycle().take(MAX_JSON_PATCH_OPERATIONS).collect();
        assert_eq!(outcome(object, moves).unwrap_err().status.code, 413);
    }
}
