//! JSON as messages. Pure.

use serde_json::{Map, Value};

use super::{
    scalar,
    table::{Field, Holds, INLINE, Repeats, Scalar, Shape},
    wire::Message,
};

/// Writes the fields of an object. What the table does not name is left out, such as the kind, which stands beside the
/// message. The error names a field that is of another type than the table says.
pub(super) fn fields(out: &mut Message, shape: Shape, object: &Map<String, Value>) -> Result<(), String> {
    for field in shape {
        if field.name == INLINE {
            if let Holds::Message(shape) = field.holds() {
                let mut inner = Message::default();
                fields(&mut inner, shape, object)?;
                if !inner.is_empty() {
                    out.message(field.number, &inner);
                }
            }
        } else if let Some(value) = object.get(field.name).filter(|value| !value.is_null()) {
            whole(out, field, value)?;
        }
    }
    Ok(())
}

fn whole(out: &mut Message, field: &'static Field, value: &Value) -> Result<(), String> {
    let number = field.number;
    let holds = field.holds();
    let done = match (field.repeats, value) {
        (Repeats::Once, value) => one(out, number, holds, value),
        (Repeats::List, Value::Array(items)) => items.iter().try_for_each(|item| one(out, number, holds, item)),
        (Repeats::Map, Value::Object(entries)) => entries.iter().try_for_each(|(key, value)| {
            out.nested(number, |entry| {
                entry.bytes(1, key.as_bytes());
                one(entry, 2, holds, value)
            })
        }),
        _ => Err(String::new()),
    };
    done.map_err(|inner| if inner.is_empty() { field.name.into() } else { format!("{}.{inner}", field.name) })
}

fn one(out: &mut Message, number: u32, holds: Holds, value: &Value) -> Result<(), String> {
    match (holds, value) {
        // Such as no time, which is an empty message.
        (_, Value::Null) => out.nested(number, |_| Ok(())),
        (Holds::Scalar(scalar), value) => scalar::write(out, number, scalar, value).ok_or_else(String::new),
        (Holds::Message(shape), Value::Object(object)) => out.nested(number, |out| fields(out, shape, object)),
        (Holds::List(item), list) => out.nested(number, |out| whole(out, item, list)),
        (Holds::Either(shape), value) => {
            out.nested(number, |out| shape.iter().try_for_each(|field| either(out, field, value)))
        }
        _ => Err(String::new()),
    }
}

/// Writes the field of a union that a value is meant for.
fn either(out: &mut Message, field: &'static Field, value: &Value) -> Result<(), String> {
    match (field.repeats, field.holds(), value) {
        (Repeats::List, _, Value::Array(_))
        | (Repeats::Once, Holds::Message(_), Value::Object(_))
        | (Repeats::Once, Holds::Scalar(Scalar::Flag), Value::Bool(_)) => whole(out, field, value),
        // Beside an object, Kubernetes sets the flag, too.
        (Repeats::Once, Holds::Scalar(Scalar::Flag), Value::Object(_)) => {
            out.number(field.number, 1);
            Ok(())
        }
        _ => Ok(()),
    }
}
