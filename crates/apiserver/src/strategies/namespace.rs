//! Namespaces go when their contents are gone, and some always exist.

use api::names::{finalizer::NAMESPACE_CONTENTS, label, namespace::BUILT_IN};
use serde_json::{Value, json};

use super::strategy::Strategy;
use crate::{
    api_error::{ApiError, Result},
    object,
};

pub(super) struct Namespaces;

impl Strategy for Namespaces {
    /// A namespace is in itself, as far as roles are concerned.
    fn place<'a>(&self, _namespace: &'a str, name: &'a str) -> &'a str {
        name
    }

    /// Labels a namespace with its own name, so that selectors can name it.
    fn complete(&self, namespace: &mut Value) {
        let name = object::name(namespace).to_owned();
        if let Some(meta) = object::meta_mut(namespace) {
            let labels = meta.entry("labels").or_insert_with(|| json!({}));
            if let Some(labels) = labels.as_object_mut() {
                labels.insert(label::NAMESPACE_NAME.into(), name.into());
            }
        }
    }

    fn keep(&self, document: &mut Value, current: &Value) {
        copy_finalizers(document, current);
    }

    fn finalize(&self, namespace: &mut Value, document: &Value) {
        copy_finalizers(namespace, document);
    }

    fn all_finalizers<'a>(&self, namespace: &'a Value) -> Vec<&'a str> {
        let mut all = object::finalizers(namespace);
        all.extend(object::strings(namespace.pointer("/spec/finalizers")));
        all
    }

    fn check_delete(&self, name: &str) -> Result<()> {
        if BUILT_IN.contains(&name) {
            return Err(ApiError::forbidden(format!("namespace {name} always exists and cannot be deleted")));
        }
        Ok(())
    }

    fn begin_deletion(&self, namespace: &mut Value) {
        // Also one of an earlier version, which may lack it: the contents go first.
        let mut all = object::strings(namespace.pointer("/spec/finalizers"));
        if !all.contains(&NAMESPACE_CONTENTS.name()) {
            all.push(NAMESPACE_CONTENTS.name());
        }
        let all = json!(all);
        set_finalizers(namespace, all);
        namespace["status"]["phase"] = "Terminating".into();
    }
}

/// Gives a namespace the finalizers of another version of it.
fn copy_finalizers(namespace: &mut Value, other: &Value) {
    set_finalizers(namespace, other.pointer("/spec/finalizers").cloned().unwrap_or_else(|| json!([])));
}

fn set_finalizers(namespace: &mut Value, finalizers: Value) {
    if !namespace.get("spec").is_some_and(Value::is_object) {
        object::set(namespace, "spec", Some(json!({})));
    }
    namespace["spec"]["finalizers"] = finalizers;
}
