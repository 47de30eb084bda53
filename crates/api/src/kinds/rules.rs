//! What each kind refuses and accepts: tables of changes of a valid object.

mod claims;
mod data;
mod definitions;
mod endpoints;
mod grants;
mod jobs;
mod limits;
mod nanocloud;
mod places;
mod services;
mod sets;
mod workloads;

use serde_json::{Value, json};

const INVALID: &str = "FieldValueInvalid";
const REQUIRED: &str = "FieldValueRequired";
const DUPLICATE: &str = "FieldValueDuplicate";
const FORBIDDEN: &str = "FieldValueForbidden";
const UNSUPPORTED: &str = "FieldValueNotSupported";
const TOO_LONG: &str = "FieldValueTooLong";
const TOO_MANY: &str = "FieldValueTooMany";

/// A kind, with a valid object of it.
struct Sample {
    plural: &'static str,
    object: Value,
}

/// What was found: fields and reasons.
type Findings = Vec<(String, &'static str)>;

impl Sample {
    fn new(plural: &'static str, object: Value) -> Self {
        let sample = Self { plural, object };
        assert_eq!(sample.create(json!({})), [], "the sample of {plural} is valid");
        sample
    }

    /// The object with a JSON merge patch.
    fn with(&self, patch: &Value) -> Value {
        let mut object = self.object.clone();
        merge(&mut object, patch);
        object
    }

    fn admit(&self, object: Value, old: Option<&Value>) -> Findings {
        let admitted = super::find(self.plural).unwrap().admit(object, old);
        let errors = admitted.err().unwrap_or_default();
        errors.into_iter().map(|error| (error.field, error.reason)).collect()
    }

    /// What is wrong with a new object that differs so from the valid one.
    fn create(&self, patch: Value) -> Findings {
        self.admit(self.with(&patch), None)
    }

    /// What is wrong with changing an object that was stored with `before` by `after`.
    fn update(&self, before: Value, after: Value) -> Findings {
        let stored = super::find(self.plural).unwrap().admit(self.with(&before), None).unwrap().object;
        let mut next = stored.clone();
        merge(&mut next, &after);
        self.admit(next, Some(&stored))
    }

    /// Each change of the valid object, and the one thing that is wrong with it.
    fn refuses(&self, table: impl IntoIterator<Item = (Value, &'static str, &'static str)>) {
        for (patch, field, reason) in table {
            let shown: String = patch.to_string().chars().take(200).collect();
            assert_eq!(self.create(patch), [(field.to_owned(), reason)], "{} {shown}", self.plural);
        }
    }

    /// Changes of the valid object that are as good.
    fn accepts(&self, table: impl IntoIterator<Item = Value>) {
        for patch in table {
            let shown: String = patch.to_string().chars().take(200).collect();
            assert_eq!(self.create(patch), [], "{} {shown}", self.plural);
        }
    }

    /// The stored form.
    fn stored(&self, patch: Value) -> Value {
        super::find(self.plural).unwrap().admit(self.with(&patch), None).unwrap().object
    }
}

/// A JSON merge patch (RFC 7396).
fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    for (key, change) in fields {
        if change.is_null() {
            value.as_object_mut().unwrap().shift_remove(key);
        } else {
            merge(value.as_object_mut().unwrap().entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}

/// An object that an earlier version took can still be labelled and reported on, but not made worse.
#[test]
fn what_was_wrong_before_does_not_hold_up_other_changes() {
    let kind = super::find("services").unwrap();
    let stored = json!({"metadata": {"name": "s", "namespace": "d"}, "spec": {"ports": [
        {"name": "a", "port": 80}, {"name": "a", "port": 81}]}});
    let labelled = || {
        let mut next = stored.clone();
        next["metadata"]["labels"] = json!({"a": "b"});
        next
    };
    assert!(kind.admit(stored.clone(), None).is_err());
    assert!(kind.admit(labelled(), Some(&stored)).is_ok());
    let mut worse = labelled();
    worse["spec"]["ports"][0]["targetPort"] = "A_B".into();
    let errors = kind.admit(worse, Some(&stored)).unwrap_err();
    assert_eq!(errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), ["spec.ports[0].targetPort"]);
    let mut mended = stored.clone();
    mended["spec"]["ports"][1]["name"] = "b".into();
    let mended = kind.admit(mended, Some(&stored)).unwrap().object;
    let mut again = mended.clone();
    again["spec"]["ports"][1]["name"] = "a".into();
    assert!(kind.admit(again, Some(&mended)).is_err(), "once it is right it stays right");
}
