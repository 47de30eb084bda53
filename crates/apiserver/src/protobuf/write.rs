//! JSON as messages. Pure.

use serde_json::{Map, Value};

use super::{
    scalar,
    table::{Field, Holds, INLINE, Repeats, Scalar, Shape},
    wire::Message,
};

/// The message of an object. What the table does not name is left out, such as the kind, which stands beside the message.
/// The error names a field that is of another type than the table says.
pub(super) fn message(shape: Shape, object: &Map<String, Value>) -> Result<Message, String> {
    let mut out = Message::default();
    for field in shape {
        if field.name == INLINE {
            if let Holds::Message(shape) = field.holds() {
                let inner = message(shape, object)?;
                if !inner.is_empty() {
                    out.message(field.number, &inner);
                }
            }
        } else if let Some(value) = object.get(field.name).filter(|value| !value.is_null()) {
            whole(&mut out, field, value)?;
        }
    }
    Ok(out)
}

fn whole(out: &mut Message, field: &'static Field, value: &Value) -> Result<(), String> {
    let number = field.number;
    let holds = field.holds();
    let done = match (field.repeats, value) {
        (Repeats::Once, value) => one(out, number, holds, value),
        (Repeats::List, Value::Array(items)) => items.iter().try_for_each(|item| one(out, number, holds, item)),
        (Repeats::Map, Value::Object(entries)) => entries.iter().try_for_each(|(key, value)| {
            let mut entry = Message::default();
            entry.bytes(1, key.as_bytes());
            one(&mut entry, 2, holds, value)?;
            out.message(number, &entry);
            Ok(())
        }),
        _ => Err(String::new()),
    };
    done.map_err(|inner| if inner.is_empty() { field.name.into() } else { format!("{}.{inner}", field.name) })
}

fn one(out: &mut Message, number: u32, holds: Holds, value: &Value) -> Result<(), String> {
    match (holds, value) {
        // Such as no time, which is an empty message.
        (_, Value::Null) => {
            out.message(number, &Message::default());
            Ok(())
        }
        (Holds::Scalar(scalar), value) => scalar::write(out, number, scalar, value).ok_or_else(String::new),
        (Holds::Message(shape), Value::Object(object)) => {
            out.message(number, &message(shape, object)?);
            Ok(())
        }
        (Holds::List(item), list) => {
            let mut inner = Message::default();
            whole(&mut inner, item, list)?;
            out.message(number, &inner);
            Ok(())
        }
        (Holds::Either(shape), value) => {
            let mut inner = Message::default();
            for field in shape {
                let is_meant = match (field.repeats, field.holds(), value) {
                    (Repeats::List, _, Value::Array(_)) | (Repeats::Once, Holds::Message(_), Value::Object(_)) => true,
                    (Repeats::Once, Holds::Scalar(Scalar::Flag), Value::Bool(_)) => true,
                    // Beside an object, Kubernetes sets the flag, too.
                    (Repeats::Once, Holds::Scalar(Scalar::Flag), Value::Object(_)) => {
                        inner.number(field.number, 1);
                        false
                    }
                    _ => false,
                };
                if is_meant {
                    whole(&mut inner, field, value)?;
                }
            }
            out.message(number, &inner);
            Ok(())
        }
        _ => Err(String::new()),
    }
}
