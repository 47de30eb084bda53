//! Manifests in YAML, as Kubernetes reads them.
//!
//! Manifests are written for YAML 1.1: `0644` is an octal number, as a file mode is meant. And a number without a
//! fraction is a whole one, however it is written (`1.0`, `1e3`). JSON bodies do not come here.

use std::borrow::Cow;

use serde_json::Value;
use serde_saphyr::{
    Error, ExternalMessageSource, MessageFormatter, UserMessageFormatter, budget::BudgetBreach,
    granit_parser::ErrorKind,
};

/// Why a text is no YAML.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct YamlError(String);

/// Most nested lists and maps of a document: reading them takes much more of a thread's stack than reading JSON, and no
/// manifest has half of them.
pub const MAX_NESTING: usize = 24;

impl YamlError {
    fn new(error: Error) -> Self {
        Self(error.render_with_formatter(&Words))
    }
}

/// The parser's errors in words about the text, where its own are about its settings.
struct Words;

impl MessageFormatter for Words {
    fn format_message<'a>(&self, error: &'a Error) -> Cow<'a, str> {
        match error {
            Error::WithSnippet { error, .. } => self.format_message(error),
            Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("the key {key} is in one map twice: remove one of them").into()
            }
            Error::DuplicateMappingKey { key: None, .. } => "a key is in one map twice: remove one of them".into(),
            Error::MultipleDocuments { .. } => "there is more than one document: send one at a time".into(),
            Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => too_deep(),
            Error::ExternalMessage { source, .. } if is_too_deep(source) => too_deep(),
            Error::Budget { .. }
            | Error::AliasReplayCounterOverflow { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasExpansionLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. } => {
                "the document has too many values, anchors or aliases: split it, or write aliases out".into()
            }
            other => UserMessageFormatter.format_message(other),
        }
    }
}

fn too_deep() -> Cow<'static, str> {
    format!("more than {MAX_NESTING} lists and maps are within each other").into()
}

/// Whether lists and maps in brackets are nested too deep: these the parser counts itself.
fn is_too_deep(source: &ExternalMessageSource) -> bool {
    matches!(source, ExternalMessageSource::Parser(error) if *error.kind() == ErrorKind::RecursionLimitExceeded)
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        legacy_octal_numbers: true,
        budget: serde_saphyr::budget! { max_depth: MAX_NESTING, flow_nesting_limit: MAX_NESTING },
    }
}

/// The one document of a text.
pub fn document(text: &str) -> Result<Value, YamlError> {
    let mut value: Value = serde_saphyr::from_str_with_options(text, options()).map_err(YamlError::new)?;
    make_whole(&mut value);
    Ok(value)
}

/// Every document of a text; those that are empty are left out.
pub fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    let found: Vec<Option<Value>> =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(YamlError::new)?;
    let mut values: Vec<_> = found.into_iter().flatten().filter(|value| !value.is_null()).collect();
    values.iter_mut().for_each(make_whole);
    Ok(values)
}

/// Turns numbers without a fraction into whole ones. The parser bounds how deep a document is.
fn make_whole(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|_| number.is_f64()).and_then(whole) {
                *value = Value::Number(whole.into());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_whole),
        Value::Object(fields) => fields.values_mut().for_each(make_whole),
        _ => {}
    }
}

/// The whole number that a float is, if it is one and small enough to be exact.
fn whole(float: f64) -> Option<i64> {
    /// Above, floats are further apart than whole numbers.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if float.fract() != 0.0 || float.abs() > EXACT {
        return None;
    }
    // Such a float prints as its digits.
    format!("{float:.0}").parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_those_that_manifests_mean() {
        for (text, wanted) in [
            ("0644", json!(420)),
            ("0400", json!(256)),
            ("012", json!(10)),
            ("0o17", json!(15)),
            ("0x1f", json!(31)),
            ("0", json!(0)),
            ("08", json!(8)),
            ("1.0", json!(1)),
            ("1e0", json!(1)),
            ("1e3", json!(1_000)),
            ("-2.0", json!(-2)),
            ("1.5", json!(1.5)),
            ("1e30", json!(1e30)),
            ("9007199254740993", json!(9_007_199_254_740_993_i64)),
            ("\"0644\"", json!("0644")),
            ("'1.0'", json!("1.0")),
            ("v1.0", json!("v1.0")),
        ] {
            assert_eq!(document(text).unwrap(), wanted, "{text}");
            assert_eq!(document(&format!("a: [{{b: {text}}}]")).unwrap(), json!({"a": [{"b": wanted}]}), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_words_about_the_text() {
        let deep = "[".repeat(MAX_NESTING + 1);
        let blocks: String = (0..=MAX_NESTING).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        let billion = (1..20).fold("a0: &a0 [x, x, x, x]\n".to_owned(), |text, n| {
            format!("{text}a{n}: &a{n} [*a{0}, *a{0}, *a{0}, *a{0}]\n", n - 1)
        });
        for (text, wanted) in [
            ("a: 1\na: 2", "the key a is in one map twice: remove one of them"),
            ("a: 1\n---\nb: 2", "there is more than one document: send one at a time"),
            (&blocks, "more than 24 lists and maps are within each other"),
            (&deep, "more than 24 lists and maps are within each other"),
            (&billion, "the document has too many values, anchors or aliases"),
        ] {
            let error = document(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
            for word in ["Policy", "Options", "breach", "replay", "Budget"] {
                assert!(!error.contains(word), "{error}");
            }
        }
    }

    #[test]
    fn a_file_holds_several_documents() {
        let found = documents("---\n# nothing\n---\nmode: 0644\n---\n{\"a\": 2.0}\n").unwrap();
        assert_eq!(found, [json!({"mode": 420}), json!({"a": 2})]);
        assert!(documents("").unwrap().is_empty());
        assert!(documents("a: [").is_err() && document("a: [").is_err());
    }
}
