//! The part of JSONPath that Kubernetes takes in definitions: fields, items, `[*]` and one comparison as a filter.
//!
//! Source: `k8s.io/client-go/util/jsonpath`; printer columns and selectable fields show one value, the first.

use serde_json::Value;

/// Longest path, in bytes.
pub(crate) const PATH_MAX: usize = 1024;

/// A path to values of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    /// Below zero from the end.
    Item(i64),
    All,
    /// Items of which the value at this path is equal, or is not, to this one; or that have such a value.
    Where(JsonPath, Option<(bool, Value)>),
}

impl JsonPath {
    /// Reads a path such as `.status.conditions[?(@.type=="Ready")].status`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > PATH_MAX {
            return Err(format!("is longer than {PATH_MAX} bytes"));
        }
        let (path, rest) = steps(text)?;
        match rest {
            "" if !path.0.is_empty() => Ok(path),
            "" => Err("names no field; it begins with a dot".into()),
            rest => Err(format!("cannot be read from {rest:?} on")),
        }
    }

    /// The first value, if there is any.
    pub(crate) fn first<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        Self::find(&self.0, object)
    }

    fn find<'a>(steps: &[Step], value: &'a Value) -> Option<&'a Value> {
        let Some((step, rest)) = steps.split_first() else { return Some(value) };
        let all = |wanted: &dyn Fn(&Value) -> bool| match value {
            Value::Array(items) => items.iter().filter(|item| wanted(item)).find_map(|item| Self::find(rest, item)),
            Value::Object(fields) => fields.values().filter(|one| wanted(one)).find_map(|one| Self::find(rest, one)),
            _ => None,
        };
        match step {
            Step::Field(name) => Self::find(rest, value.get(name)?),
            Step::Item(index) => {
                let items = value.as_array()?;
                let from_end = usize::try_from(index.unsigned_abs()).ok()?;
                let at = if *index < 0 { items.len().checked_sub(from_end)? } else { from_end };
                Self::find(rest, items.get(at)?)
            }
            Step::All => all(&|_| true),
            Step::Where(path, wanted) => all(&|item| match (path.first(item), wanted) {
                (Some(found), Some((equal, value))) => (found == value) == *equal,
                (found, None) => found.is_some(),
                (None, _) => false,
            }),
        }
    }

    /// The fields, for a path of nothing else.
    pub(crate) fn fields(&self) -> Option<Vec<&str>> {
        let name = |step: &Step| if let Step::Field(_) = step { Some(()) } else { None };
        self.0.iter().map(name).collect::<Option<Vec<()>>>()?;
        let names =
            self.0.iter().filter_map(|step| if let Step::Field(name) = step { Some(name.as_str()) } else { None });
        Some(names.collect())
    }

    /// As a JSON pointer, for a path of fields alone.
    pub(crate) fn pointer(&self) -> Option<String> {
        let fields = self.fields()?;
        Some(fields.into_iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).collect())
    }
}

/// Reads steps as long as there are any; answers what follows.
fn steps(text: &str) -> Result<(JsonPath, &str), String> {
    let (mut found, mut rest) = (Vec::new(), text);
    loop {
        if let Some(after) = rest.strip_prefix('.') {
            if after.starts_with('.') {
                return Err("has \"..\", which is not supported".into());
            }
            if let Some(after) = after.strip_prefix('*') {
                found.push(Step::All);
                rest = after;
                continue;
            }
            let (name, after) = name(after);
            if name.is_empty() {
                return Err("has a dot without a field".into());
            }
            found.push(Step::Field(name));
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[') {
            let (step, after) = bracket(after)?;
            found.push(step);
            rest = after;
        } else {
            return Ok((JsonPath(found), rest));
        }
    }
}

/// A name up to the next step; a backslash takes the next character as it is.
fn name(text: &str) -> (String, &str) {
    let (mut name, mut letters) = (String::new(), text.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => name.extend(letters.next().map(|(_, letter)| letter)),
            '.' | '[' | ']' | ')' | '=' | '!' | '<' | '>' | ' ' => return (name, &text[at..]),
            letter => name.push(letter),
        }
    }
    (name, "")
}

fn bracket(text: &str) -> Result<(Step, &str), String> {
    let close = |rest| end(rest, "]");
    if let Some(rest) = text.strip_prefix('*') {
        return Ok((Step::All, close(rest)?));
    }
    if let Some(rest) = text.strip_prefix("?(") {
        let rest = rest.trim_start().strip_prefix('@').ok_or("has a filter that does not begin with \"@\"")?;
        let (path, rest) = steps(rest)?;
        let rest = rest.trim_start();
        let (wanted, rest) = match (rest.strip_prefix("=="), rest.strip_prefix("!=")) {
            (Some(rest), _) => literal(rest.trim_start()).map(|(value, rest)| (Some((true, value)), rest))?,
            (_, Some(rest)) => literal(rest.trim_start()).map(|(value, rest)| (Some((false, value)), rest))?,
            _ => (None, rest),
        };
        return Ok((Step::Where(path, wanted), end(rest.trim_start(), ")]")?));
    }
    if text.starts_with(['\'', '"']) {
        let (name, rest) = quoted(text)?;
        return Ok((Step::Field(name), close(rest)?));
    }
    let (number, rest) = text.split_once(']').ok_or("has a \"[\" without \"]\"")?;
    let index = number.parse().map_err(|_| format!("has [{number}], which is no item, name or filter"))?;
    Ok((Step::Item(index), rest))
}

fn end<'a>(text: &'a str, wanted: &str) -> Result<&'a str, String> {
    text.strip_prefix(wanted).ok_or_else(|| format!("lacks {wanted:?} before {text:?}"))
}

fn quoted(text: &str) -> Result<(String, &str), String> {
    let (mut out, mut letters) = (String::new(), text.char_indices());
    let quote = letters.next().map(|(_, quote)| quote);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => out.extend(letters.next().map(|(_, letter)| letter)),
            letter if Some(letter) == quote => return Ok((out, &text[at + letter.len_utf8()..])),
            letter => out.push(letter),
        }
    }
    Err("has a quote that does not end".into())
}

/// A text in quotes, a number, true or false.
fn literal(text: &str) -> Result<(Value, &str), String> {
    if text.starts_with(['\'', '"']) {
        return quoted(text).map(|(text, rest)| (text.into(), rest));
    }
    let (word, _) = text.split_once(')').ok_or("has a filter that does not end")?;
    let value =
        serde_json::from_str(word.trim_end()).map_err(|_| format!("compares with {word:?}, which is no value"))?;
    Ok((value, &text[word.len()..]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_their_first_value() {
        let object = json!({
            "spec": {"replicas": 3, "list": [1, 2, 3], "a.b": {"c": true}},
            "metadata": {"labels": {"app.kubernetes.io/name": "x"}},
            "status": {"conditions": [{"type": "A", "status": "False"}, {"type": "Ready", "status": "True"}]},
        });
        for (path, wanted) in [
            (".spec.replicas", json!(3)),
            (".spec.list[0]", json!(1)),
            (".spec.list[-1]", json!(3)),
            (".spec.list[*]", json!(1)),
            (r".spec.a\.b.c", json!(true)),
            (".spec['a.b'].c", json!(true)),
            (r".metadata.labels.app\.kubernetes\.io/name", json!("x")),
            (r#".status.conditions[?(@.type=="Ready")].status"#, json!("True")),
            (".status.conditions[?(@.type != 'Ready')].status", json!("False")),
            (".status.conditions[?(@.status)].type", json!("A")),
            (".spec.none", Value::Null),
            (".spec.list[7]", Value::Null),
        ] {
            let found = JsonPath::parse(path).unwrap();
            assert_eq!(found.first(&object).cloned().unwrap_or_default(), wanted, "{path}");
        }
        assert_eq!(JsonPath::parse(r".spec.a\.b/c").unwrap().pointer().unwrap(), "/spec/a.b~1c");
        assert_eq!(JsonPath::parse(".spec[0]").unwrap().pointer(), None);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", "spec", ".", "..a", ".a..b", ".a[", ".a[x]", ".a['x", ".a[?(b)]", ".a[?(@.b==x)]", ".a b"] {
            assert!(JsonPath::parse(text).is_err(), "{text}");
        }
    }
}
