//! JSON Patch (RFC 6902).

use api::{FieldError, Kind};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    failure::{Failure, Outcome},
    limits::MAX_JSON_PATCH_OPERATIONS,
    object,
};

/// One operation.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(crate) enum Operation {
    Add { path: String, value: Value },
    Remove { path: String },
    Replace { path: String, value: Value },
    Move { from: String, path: String },
    Copy { from: String, path: String },
    Test { path: String, value: Value },
}

pub(super) fn parse(body: &[u8]) -> Outcome<Vec<Operation>> {
    let operations: Vec<Operation> = serde_json::from_slice(body)
        .map_err(|error| Failure::bad_request(format!("the JSON patch cannot be read: {error}")))?;
    if operations.len() > MAX_JSON_PATCH_OPERATIONS {
        let message =
            format!("{} operations, at most {MAX_JSON_PATCH_OPERATIONS} are taken in one patch", operations.len());
        return Err(Failure::new(413, "RequestEntityTooLarge", message).remedy("split the patch"));
    }
    Ok(operations)
}

/// The object after all operations, or the first that fails.
pub(super) fn apply(kind: &Kind, mut object: Value, operations: &[Operation]) -> Outcome<Value> {
    let name = object::name(&object).to_owned();
    for (index, operation) in operations.iter().enumerate() {
        step(&mut object, operation).map_err(|message| {
            let error = FieldError::invalid(format!("patch[{index}]"), message);
            let mut failure = Failure::invalid(kind, &name, &[error]);
            failure.status.code = 422;
            failure
        })?;
    }
    Ok(object)
}

fn step(object: &mut Value, operation: &Operation) -> Result<(), String> {
    match operation {
        Operation::Add { path, value } => add(object, path, value.clone()),
        Operation::Remove { path } => remove(object, path).map(drop),
        Operation::Replace { path, value } => {
            *object.pointer_mut(path).ok_or_else(|| missing(path))? = value.clone();
            Ok(())
        }
        Operation::Move { from, path } if path.starts_with(&format!("{from}/")) => {
            Err(format!("{from:?} cannot be moved into itself"))
        }
        Operation::Move { from, path } => {
            let value = remove(object, from)?;
            add(object, path, value)
        }
        Operation::Copy { from, path } => {
            let value = object.pointer(from).cloned().ok_or_else(|| missing(from))?;
            add(object, path, value)
        }
        Operation::Test { path, value } => match object.pointer(path) {
            Some(found) if found == value => Ok(()),
            _ => Err(format!("the test of {path:?} failed")),
        },
    }
}

fn missing(path: &str) -> String {
    format!("there is no {path:?}")
}

/// The parent of a path and the unescaped last part (RFC 6901).
fn split<'a>(object: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), String> {
    let (parent, last) = path.rsplit_once('/').ok_or_else(|| format!("{path:?} must begin with '/'"))?;
    let parent = object.pointer_mut(parent).ok_or_else(|| missing(parent))?;
    Ok((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn index(text: &str, bound: usize) -> Option<usize> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|index| canonical && *index < bound)
}

fn add(object: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *object = value;
        return Ok(());
    }
    match split(object, path)? {
        (Value::Object(fields), last) => {
            fields.insert(last, value);
            Ok(())
        }
        (Value::Array(items), last) if last == "-" => {
            items.push(value);
            Ok(())
        }
        (Value::Array(items), last) => {
            let at = index(&last, items.len() + 1).ok_or_else(|| missing(path))?;
            items.insert(at, value);
            Ok(())
        }
        _ => Err(missing(path)),
    }
}

fn remove(object: &mut Value, path: &str) -> Result<Value, String> {
    match split(object, path)? {
        (Value::Object(fields), last) => fields.shift_remove(&last).ok_or_else(|| missing(path)),
        (Value::Array(items), last) => {
            let at = index(&last, items.len()).ok_or_else(|| missing(path))?;
            Ok(items.remove(at))
        }
        _ => Err(missing(path)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(object: Value, patch: Value) -> Option<Value> {
        let operations = parse(patch.to_string().as_bytes()).unwrap();
        apply(api::kinds::find("configmaps").unwrap(), object, &operations).ok()
    }

    #[test]
    fn operations_do_what_the_rfc_says() {
        for (object, patch, wanted) in [
            (json!({"a": 1}), json!([{"op": "add", "path": "/b", "value": 2}]), Some(json!({"a": 1, "b": 2}))),
            (json!({"a": [1, 3]}), json!([{"op": "add", "path": "/a/1", "value": 2}]), Some(json!({"a": [1, 2, 3]}))),
            (json!({"a": [1]}), json!([{"op": "add", "path": "/a/-", "value": 2}]), Some(json!({"a": [1, 2]}))),
            (json!({"a": [1]}), json!([{"op": "add", "path": "/a/2", "value": 2}]), None),
            (json!({"a": [1]}), json!([{"op": "add", "path": "/a/01", "value": 2}]), None),
            (json!({"a": 1}), json!([{"op": "remove", "path": "/b"}]), None),
            (json!({"a~/b": 1}), json!([{"op": "remove", "path": "/a~0~1b"}]), Some(json!({}))),
            (json!({"a": 1}), json!([{"op": "replace", "path": "/b", "value": 1}]), None),
            (json!({"a": 1}), json!([{"op": "test", "path": "/a", "value": 2}]), None),
            (json!({"a": {"b": 1}}), json!([{"op": "move", "from": "/a", "path": "/a/c"}]), None),
            (json!({"a": 1}), json!([{"op": "move", "from": "/a", "path": "/b"}]), Some(json!({"b": 1}))),
            (json!({"a": 1}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), Some(json!({"a": 1, "b": 1}))),
        ] {
            assert_eq!(patched(object, patch.clone()), wanted, "{patch}");
        }
        assert!(parse(b"{}").is_err() && parse(br#"[{"op":"fly","path":"/a"}]"#).is_err());
    }
}
