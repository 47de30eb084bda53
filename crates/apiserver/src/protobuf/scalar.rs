//! Single values: those of protobuf itself, and messages that JSON writes as a text or a number. Pure.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Number, Value};

use super::{
    duration,
    table::Scalar,
    wire::{self, Fields, Message, Raw},
};
use crate::object;

/// Largest whole number that a double holds exactly.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// The JSON of a value but [`Scalar::Json`]; nothing for what JSON writes as `null`.
pub(super) fn read(scalar: Scalar, raw: Raw<'_>) -> Result<Option<Value>, String> {
    Ok(Some(match (scalar, raw) {
        (Scalar::Text, Raw::Bytes(bytes)) => wire::text(bytes)?.into(),
        (Scalar::Bytes, Raw::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        (Scalar::Flag, Raw::Number(number)) => (number != 0).into(),
        (Scalar::Int32, Raw::Number(number)) => wire::signed_32(number).into(),
        (Scalar::Int64, Raw::Number(number)) => wire::signed(number).into(),
        (Scalar::Double, Raw::Fixed(bytes)) => double(bytes)?,
        (Scalar::Quantity, Raw::Bytes(bytes)) => quantity(bytes)?,
        (Scalar::IntOrText, Raw::Bytes(bytes)) => int_or_text(bytes)?,
        (Scalar::Duration, Raw::Bytes(bytes)) => duration::text(time(bytes)?.map_or(0, |(nanos, _)| nanos)).into(),
        (Scalar::Time, Raw::Bytes(bytes)) => match time(bytes)? {
            Some((seconds, _)) => object::time(at(seconds, 0)?),
            None => return Ok(None),
        },
        (Scalar::MicroTime, Raw::Bytes(bytes)) => match time(bytes)? {
            Some((seconds, nanos)) => at(seconds, nanos)?.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string().into(),
            None => return Ok(None),
        },
        _ => return Err("the field is of another type".into()),
    }))
}

/// Writes a field; nothing when the JSON is of another type.
pub(super) fn write(out: &mut Message, number: u32, scalar: Scalar, value: &Value) -> Option<()> {
    match scalar {
        Scalar::Text => out.bytes(number, value.as_str()?.as_bytes()),
        Scalar::Bytes => out.bytes(number, &STANDARD.decode(value.as_str()?).ok()?),
        Scalar::Flag => out.number(number, value.as_bool()?.into()),
        Scalar::Int32 | Scalar::Int64 => out.signed(number, value.as_i64()?),
        Scalar::Double => out.double(number, value.as_f64()?),
        _ => out.message(number, &message(scalar, value)?),
    }
    Some(())
}

/// The message that JSON writes as one value.
fn message(scalar: Scalar, value: &Value) -> Option<Message> {
    let mut out = Message::default();
    match (scalar, value) {
        (Scalar::Quantity, Value::Number(number)) => out.bytes(1, number.to_string().as_bytes()),
        (Scalar::Quantity, text) => out.bytes(1, text.as_str()?.as_bytes()),
        (Scalar::IntOrText, Value::String(text)) => {
            out.number(1, 1);
            out.number(2, 0);
            out.bytes(3, text.as_bytes());
        }
        (Scalar::IntOrText, number) => {
            out.number(1, 0);
            out.signed(2, number.as_i64()?);
            out.bytes(3, b"");
        }
        (Scalar::Duration, text) => out.signed(1, duration::nanos(text.as_str()?)?),
        (Scalar::Time | Scalar::MicroTime, text) => {
            let at: Timestamp = text.as_str()?.parse().ok()?;
            out.signed(1, at.as_second());
            out.signed(2, if scalar == Scalar::Time { 0 } else { at.subsec_nanosecond().into() });
        }
        (_, value) => out.bytes(1, &object::to_json(value)),
    }
    Some(out)
}

/// JSON writes whole numbers without a point.
fn double(bytes: &[u8]) -> Result<Value, String> {
    let bytes = bytes.try_into().map_err(|_| "a number has another size")?;
    let number = f64::from_le_bytes(bytes);
    if number.fract() == 0.0 && number.abs() < MAX_EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within the bounds")]
        return Ok((number as i64).into());
    }
    Number::from_f64(number).map(Value::Number).ok_or_else(|| "a number is not finite".into())
}

/// `resource.Quantity`: text (1).
fn quantity(bytes: &[u8]) -> Result<Value, String> {
    let mut text = "0".to_owned();
    for field in Fields::of(bytes) {
        if let (1, Raw::Bytes(found)) = field? {
            text = wire::text(found)?;
        }
    }
    Ok(text.into())
}

/// `meta/v1 Time` and its like: seconds (1) and nanoseconds (2); and `Duration`: nanoseconds (1). An empty message is
/// no time.
fn time(bytes: &[u8]) -> Result<Option<(i64, i32)>, String> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields::of(bytes) {
        match field? {
            (1, Raw::Number(number)) => seconds = wire::signed(number),
            (2, Raw::Number(number)) => nanos = wire::signed_32(number),
            _ => {}
        }
    }
    Ok((!bytes.is_empty()).then_some((seconds, nanos)))
}

fn at(seconds: i64, nanos: i32) -> Result<Timestamp, String> {
    Timestamp::new(seconds, nanos).map_err(|_| "a time is out of range".into())
}

/// `intstr.IntOrString`: type (1), number (2), text (3).
fn int_or_text(bytes: &[u8]) -> Result<Value, String> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for field in Fields::of(bytes) {
        match field? {
            (1, Raw::Number(kind)) => is_text = kind == 1,
            (2, Raw::Number(value)) => number = wire::signed_32(value),
            (3, Raw::Bytes(value)) => text = wire::text(value)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}
