//! Values along a schema, with the errors of Kubernetes.
//!
//! Source: `k8s.io/kube-openapi/pkg/validation/validate` and `pkg/apiserver/validation` of
//! `k8s.io/apiextensions-apiserver`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    format,
    schema::{List, Range, Rules, Schema, Type},
};
use crate::{field_error::FieldError, path::Path};

/// Most errors of one object that are reported.
const ERRORS_MAX: usize = 100;

/// What is wrong with a value.
pub(crate) fn validate(value: &Value, schema: &Schema, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    judge(value, schema, path, &mut errors);
    errors.truncate(ERRORS_MAX);
    errors
}

fn judge(value: &Value, schema: &Schema, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if errors.len() >= ERRORS_MAX || (value.is_null() && schema.nullable) {
        return;
    }
    if let Some(wanted) = mismatch(value, schema) {
        let found = word(value);
        errors.push(invalid(path, &found.into(), format!("{path} in body must be of type {wanted}: {found:?}")));
        return;
    }
    match value {
        Value::Object(fields) => {
            if schema.embeds {
                whole_object(value, path, errors);
            }
            for (name, value) in fields {
                if let Some(schema) = schema.field(name) {
                    judge(value, schema, &path.field(name), errors);
                }
            }
        }
        Value::Array(items) => {
            distinct(items, &schema.list, path, errors);
            if let Some(schema) = &schema.items {
                items.iter().enumerate().for_each(|(at, item)| judge(item, schema, &path.index(at), errors));
            }
        }
        _ => {}
    }
    schema.rules.judge(value, path, errors);
}

/// The type that a value should be of, if it is of another.
fn mismatch(value: &Value, schema: &Schema) -> Option<String> {
    if schema.int_or_string {
        let fits = value.is_string() || is_integer(value);
        return (!fits).then(|| "integer,string".to_owned());
    }
    let wanted = schema.kind?;
    let fits = match wanted {
        Type::Object => value.is_object(),
        Type::Array => value.is_array(),
        Type::String => value.is_string(),
        Type::Integer => is_integer(value),
        Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
    };
    (!fits).then(|| wanted.word().to_owned())
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => Type::Boolean.word(),
        Value::Number(_) if is_integer(value) => Type::Integer.word(),
        Value::Number(_) => Type::Number.word(),
        Value::String(_) => Type::String.word(),
        Value::Array(_) => Type::Array.word(),
        Value::Object(_) => Type::Object.word(),
    }
}

/// An error in the words of `field.Invalid`.
fn invalid(path: &Path<'_>, value: &Value, detail: impl AsRef<str>) -> FieldError {
    FieldError::invalid(path, format!("Invalid value: {value}: {}", detail.as_ref()))
}

/// What every object within an object must say of itself.
fn whole_object(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for name in ["apiVersion", "kind"] {
        if value.get(name).and_then(Value::as_str).is_none_or(str::is_empty) {
            errors.push(FieldError::required(path.field(name), "Required value: must not be empty"));
        }
    }
    if let Some(metadata) = value.get("metadata").filter(|metadata| !metadata.is_object()) {
        let detail = format!("must be of type object: {:?}", word(metadata));
        errors.push(invalid(&path.field("metadata"), metadata, detail));
    }
}

/// Items of sets and maps are there once.
fn distinct(items: &[Value], list: &List, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let key = |item: &Value| match list {
        List::Atomic => None,
        List::Set => Some(item.clone()),
        List::Map(keys) => {
            Some(keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone()))).collect::<Value>())
        }
    };
    let mut seen = BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        if let Some(key) = key(item)
            && !seen.insert(key.to_string())
        {
            errors.push(FieldError::duplicate(path.index(at), format!("Duplicate value: {key}")));
        }
    }
}

impl Rules {
    fn judge(&self, value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
        if let Some(allowed) = self.one_of_values.as_ref().filter(|allowed| !allowed.contains(value)) {
            let list: Vec<String> = allowed.iter().map(Value::to_string).collect();
            let message = format!("Unsupported value: {value}: supported values: {}", list.join(", "));
            errors.push(FieldError::not_supported(path, message));
        }
        match value {
            Value::String(text) => self.text(text, path, errors),
            Value::Number(number) => self.number(value, number.as_f64().unwrap_or_default(), path, errors),
            Value::Array(items) => {
                count(items.len(), self.items, "items", value, path, errors);
            }
            Value::Object(fields) => {
                count(fields.len(), self.properties, "properties", value, path, errors);
                for name in self.required.iter().filter(|name| !fields.contains_key(*name)) {
                    errors.push(FieldError::required(path.field(name), "Required value"));
                }
            }
            _ => {}
        }
        self.alternatives(value, path, errors);
    }

    fn text(&self, text: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
        let (value, length) = (json!(text), i64::try_from(text.chars().count()).unwrap_or(i64::MAX));
        if let Some(most) = self.length.most.filter(|most| length > *most) {
            errors.push(FieldError::too_long(path, format!("Too long: may not be more than {most} bytes")));
        }
        if let Some(least) = self.length.least.filter(|least| length < *least) {
            let detail = format!("{path} in body should be at least {least} chars long");
            errors.push(invalid(path, &value, detail));
        }
        if let Some((pattern, regex)) = &self.pattern {
            match regex {
                Some(regex) if regex.is_match(text) => {}
                Some(_) => errors.push(invalid(path, &value, format!("{path} in body should match '{pattern}'"))),
                None => errors.push(invalid(path, &value, format!("the pattern '{pattern}' of the schema is invalid"))),
            }
        }
        if let Some(name) = &self.format
            && format::fits(name, text) == Some(false)
        {
            errors.push(invalid(path, &value, format!("{path} in body must be of type {name}: {value}")));
        }
    }

    fn number(&self, value: &Value, number: f64, path: &Path<'_>, errors: &mut Vec<FieldError>) {
        let mut wrong = |words: &str, bound: f64| {
            errors.push(invalid(path, value, format!("{path} in body should be {words} {bound}")));
        };
        match self.minimum {
            Some((least, true)) if number <= least => wrong("greater than", least),
            Some((least, false)) if number < least => wrong("greater than or equal to", least),
            _ => {}
        }
        match self.maximum {
            Some((most, true)) if number >= most => wrong("less than", most),
            Some((most, false)) if number > most => wrong("less than or equal to", most),
            _ => {}
        }
        if let Some(factor) = self.multiple_of.filter(|factor| (number / factor).fract() != 0.0) {
            wrong("a multiple of", factor);
        }
    }

    fn alternatives(&self, value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
        let fits = |schema: &&Schema| validate(value, schema, path).is_empty();
        let mut wrong = |detail: String| errors.push(invalid(path, value, format!("\"{path}\" {detail}")));
        if !self.any_of.is_empty() && !self.any_of.iter().any(|schema| fits(&schema)) {
            wrong("must validate at least one schema (anyOf)".into());
        }
        let found = self.one_of.iter().filter(fits).count();
        match found {
            0 if !self.one_of.is_empty() => {
                wrong("must validate one and only one schema (oneOf). Found none valid".into());
            }
            2.. => wrong(format!("must validate one and only one schema (oneOf). Found {found} valid alternatives")),
            _ => {}
        }
        if self.not.as_deref().is_some_and(|schema| fits(&schema)) {
            wrong("must not validate the schema (not)".into());
        }
        // Each of all schemas says itself what is wrong, too. It is looked at once, however deep they nest.
        let inner: Vec<_> = self.all_of.iter().flat_map(|schema| validate(value, schema, path)).collect();
        if !inner.is_empty() {
            wrong("must validate all the schemas (allOf)".into());
        }
        errors.extend(inner);
    }
}

fn count(found: usize, range: Range, what: &str, value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let count = i64::try_from(found).unwrap_or(i64::MAX);
    if let Some(most) = range.most.filter(|most| count > *most) {
        let message = format!("Too many: {found}: must have at most {most} {what}");
        errors.push(FieldError { field: path.into(), reason: "FieldValueTooMany", message });
    }
    if let Some(least) = range.least.filter(|least| count < *least) {
        errors.push(invalid(path, value, format!("{path} in body should have at least {least} {what}")));
    }
}
