//! Label and field selectors, in the string form of query parameters.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as SelectorSpec;

use crate::{
    field_error::FieldError,
    meta::{is_label_value, is_qualified_name, label_errors},
};

/// Most conditions of one selector.
pub const EXPRESSIONS_MAX: usize = 256;
/// Most values of one condition.
pub const VALUES_MAX: usize = 1_000;

/// Why a selector cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("selector term {term:?} is not valid: {message}")]
pub struct SelectorError {
    /// The term that cannot be read.
    pub term: String,
    /// What would be right.
    pub message: &'static str,
}

/// One condition on labels.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// A conjunction of conditions on labels: `a=b,c!=d,e in (x,y),f notin (z),g,!h`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

impl LabelSelector {
    /// Reads the text of a `labelSelector` parameter; empty text selects everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        split_terms(text).into_iter().map(parse_requirement).collect::<Result<_, _>>().map(Self)
    }

    /// The selector that wants exactly these labels.
    pub fn equals(labels: &BTreeMap<String, String>) -> Self {
        Self(labels.iter().map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()])).collect())
    }

    /// The selector of a `matchLabels`/`matchExpressions` object.
    pub fn of(spec: &SelectorSpec) -> Result<Self, SelectorError> {
        let mut selector = spec.match_labels.as_ref().map(Self::equals).unwrap_or_default();
        for expression in spec.match_expressions.iter().flatten() {
            let (key, values) = (expression.key.clone(), expression.values.clone().unwrap_or_default());
            selector.0.push(match expression.operator.as_str() {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::Absent(key),
                other => {
                    return Err(SelectorError {
                        term: other.into(),
                        message: "operator must be In, NotIn, Exists or DoesNotExist",
                    });
                }
            });
        }
        Ok(selector)
    }

    /// Whether these labels satisfy every condition.
    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        let value = |key: &String| labels.and_then(|labels| labels.get(key));
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => value(key).is_some_and(|found| values.contains(found)),
            Requirement::NotIn(key, values) => value(key).is_none_or(|found| !values.contains(found)),
            Requirement::Exists(key) => value(key).is_some(),
            Requirement::Absent(key) => value(key).is_none(),
        })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match requirement {
                Requirement::In(key, values) if values.len() == 1 => write!(f, "{key}={}", values[0])?,
                Requirement::In(key, values) => write!(f, "{key} in ({})", values.join(","))?,
                Requirement::NotIn(key, values) => write!(f, "{key} notin ({})", values.join(","))?,
                Requirement::Exists(key) => f.write_str(key)?,
                Requirement::Absent(key) => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

/// What is wrong with a `matchLabels`/`matchExpressions` object in `field`.
pub fn selector_errors(spec: &SelectorSpec, field: &str) -> Vec<FieldError> {
    let labels = spec.match_labels.iter();
    let mut errors: Vec<_> = labels.flat_map(|labels| label_errors(labels, &format!("{field}.matchLabels"))).collect();
    let expressions = spec.match_expressions.as_deref().unwrap_or_default();
    if expressions.len() > EXPRESSIONS_MAX {
        let field = format!("{field}.matchExpressions");
        errors.push(FieldError::too_many(field, expressions.len(), EXPRESSIONS_MAX));
    }
    for (index, expression) in expressions.iter().enumerate() {
        let field = |name: &str| format!("{field}.matchExpressions[{index}].{name}");
        let values = expression.values.as_deref().unwrap_or_default();
        if !is_qualified_name(&expression.key) {
            let message = "must be [prefix/]name of letters, digits, '-', '_' or '.'";
            errors.push(FieldError::invalid(field("key"), message));
        }
        match expression.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                errors.push(FieldError::required(field("values"), "In and NotIn need values"));
            }
            "In" | "NotIn" if values.len() > VALUES_MAX => {
                errors.push(FieldError::too_many(field("values"), values.len(), VALUES_MAX));
            }
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.push(FieldError::forbidden(field("values"), "Exists and DoesNotExist take no values"));
            }
            "Exists" | "DoesNotExist" => {}
            _ => errors.push(FieldError::invalid(field("operator"), "must be In, NotIn, Exists or DoesNotExist")),
        }
        let odd = values.iter().enumerate().filter(|(_, value)| !is_label_value(value));
        errors.extend(odd.map(|(at, value)| {
            let message = format!("{value:?} must be at most 63 letters, digits, '-', '_' or '.'");
            FieldError::invalid(format!("{}[{at}]", field("values")), message)
        }));
    }
    errors
}

/// Splits at commas outside parentheses.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut terms) = (0_u32, 0, Vec::new());
    for (index, char) in text.char_indices() {
        match char {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                terms.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms.retain(|term| !term.trim().is_empty());
    terms
}

fn parse_requirement(term: &str) -> Result<Requirement, SelectorError> {
    let term = term.trim();
    let fail = |message| Err(SelectorError { term: term.into(), message });
    let requirement = if let Some(key) = term.strip_prefix('!') {
        Requirement::Absent(key.trim().into())
    } else if let Some((key, value)) = term.split_once("!=") {
        Requirement::NotIn(key.trim().into(), vec![value.trim().into()])
    } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        Requirement::In(key.trim().into(), vec![value.trim().into()])
    } else if let Some((head, list)) = term.split_once('(') {
        let Some(list) = list.strip_suffix(')') else {
            return fail("the list of values must end with ')'");
        };
        let values = list.split(',').map(|value| value.trim().to_owned()).collect();
        match head.split_whitespace().collect::<Vec<_>>()[..] {
            [key, "in"] => Requirement::In(key.into(), values),
            [key, "notin"] => Requirement::NotIn(key.into(), values),
            _ => return fail("a list of values follows 'in' or 'notin'"),
        }
    } else {
        Requirement::Exists(term.into())
    };
    let (key, values) = match &requirement {
        Requirement::In(key, values) | Requirement::NotIn(key, values) => (key, values.as_slice()),
        Requirement::Exists(key) | Requirement::Absent(key) => (key, [].as_slice()),
    };
    if !is_qualified_name(key) {
        return fail("the key must be [prefix/]name of letters, digits, '-', '_' or '.'");
    }
    if !values.iter().all(|value| is_label_value(value)) {
        return fail("a value must be at most 63 letters, digits, '-', '_' or '.'");
    }
    Ok(requirement)
}

/// A conjunction of comparisons of fields: `metadata.name=x,status.phase!=Running`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<(String, bool, String)>);

impl FieldSelector {
    /// Reads the text of a `fieldSelector` parameter; empty text selects everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for term in text.split(',').map(str::trim).filter(|term| !term.is_empty()) {
            let (field, wanted, value) =
                match (term.split_once("!="), term.split_once("==").or_else(|| term.split_once('='))) {
                    (Some((field, value)), _) => (field, false, value),
                    (None, Some((field, value))) => (field, true, value),
                    (None, None) => {
                        return Err(SelectorError {
                            term: term.into(),
                            message: "must be field=value or field!=value",
                        });
                    }
                };
            terms.push((field.trim().to_owned(), wanted, value.trim().to_owned()));
        }
        Ok(Self(terms))
    }

    /// Names of the fields it compares.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(field, _, _)| field.as_str())
    }

    /// The value a field must equal, if it must equal one.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(name, wanted, _)| name == field && *wanted).map(|(_, _, value)| value.as_str())
    }

    /// Whether an object with these field values satisfies every comparison.
    pub fn matches(&self, values: &[(Cow<'static, str>, String)]) -> bool {
        self.0.iter().all(|(field, wanted, value)| {
            let found = values.iter().find(|(name, _)| name == field).is_some_and(|(_, found)| found == value);
            found == *wanted
        })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn label_selectors_select_as_kubernetes_does() {
        let web = labels(&[("app", "web"), ("tier", "front")]);
        for (selector, wanted) in [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app!=web", false),
            ("other!=x", true),
            ("app in (web, db),tier", true),
            ("app notin (web)", false),
            ("other notin (x)", true),
            ("!other", true),
            ("!app", false),
        ] {
            assert_eq!(LabelSelector::parse(selector).unwrap().matches(Some(&web)), wanted, "{selector}");
        }
    }

    #[test]
    fn bad_selectors_name_the_term() {
        for bad in ["a in (b", "a b", "=x", "a=b c", "a/b/c=d"] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
        assert!(FieldSelector::parse("metadata.name").is_err());
    }

    #[test]
    fn printing_and_parsing_agree() {
        let text = "a=b,c in (d,e),f notin (g),h,!i";
        assert_eq!(LabelSelector::parse(text).unwrap().to_string(), text);
    }

    #[test]
    fn field_selectors_compare_known_fields() {
        let values = [("metadata.name".into(), "x".to_owned())];
        assert!(FieldSelector::parse("metadata.name=x").unwrap().matches(&values));
        assert!(!FieldSelector::parse("metadata.name!=x").unwrap().matches(&values));
        assert!(!FieldSelector::parse("status.phase=x").unwrap().matches(&values));
    }
}
