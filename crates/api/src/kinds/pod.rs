//! `v1 Pod`.
//!
//! What a pod may be is checked by small functions, one file for each part of it: each takes a part and its path, and
//! answers what is wrong. What no node does is refused, or warned of, by the table of fields.

mod annotations;
mod changes;
mod columns;
mod container;
mod defaults;
mod dns;
mod env;
mod mounts;
mod ports;
mod probes;
mod resources;
mod rules;
mod scheduling;
mod security;
mod spec;
mod status;
mod volumes;
mod warnings;

#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::json;

pub use k8s_openapi::api::core::v1::Pod;

pub use self::{
    columns::summary,
    defaults::{GRACE_SECONDS, TERMINATION_MESSAGE_PATH},
    rules::{ARGUMENT_BYTES_BESIDE, ARGUMENT_BYTES_MAX, PROGRAM_BYTES_MAX, SECONDS_MAX},
    volumes::TOKEN_SECONDS,
};
pub(super) use self::{defaults::fill_template, spec::check_template, warnings::of_spec as spec_warnings};
use crate::{Column, FieldError, Path, Subresource, fields};

kubernetes_kind!(Pod, plural: "pods", singular: "pod", scope: Namespaced {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::POD;
    const SHORT_NAMES: &'static [&'static str] = &["po"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const HAS_STATUS: bool = true;
    const SHOWN_WHEN_DELETED: bool = true;
    const SUBRESOURCES: &'static [Subresource] = &[
        Subresource::core("binding", &["create"], "Binding"),
        Subresource::own("log", &["get"]),
        Subresource::core("exec", &["create", "get"], "PodExecOptions"),
        Subresource::core("attach", &["create", "get"], "PodAttachOptions"),
        Subresource::core("portforward", &["create", "get"], "PodPortForwardOptions"),
    ];

    fn apply_defaults(&mut self) {
        if let Some(spec) = &mut self.spec {
            defaults::fill(spec);
        }
        let status = self.status.get_or_insert_default();
        status.phase.get_or_insert_with(|| "Pending".into());
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let Some(spec) = &self.spec else { return vec![FieldError::required("spec", "a pod needs a spec")] };
        let path = Path::ROOT.field("spec");
        let annotations = Path::ROOT.field("metadata.annotations");
        let mut errors = annotations::check(self.metadata.annotations.as_ref(), &annotations);
        let reported = self.status.as_ref().filter(|status| old.is_none_or(|old| old.status.as_ref() != Some(status)));
        errors.extend(reported.iter().flat_map(|status| status::check(status, &Path::ROOT.field("status"))));
        let before = old.and_then(|old| old.spec.as_ref());
        if before == Some(spec) {
            return errors;
        }
        errors.extend(spec::check(spec, &[], &path));
        if let Some(mut before) = before.cloned() {
            // What an older version stored lacks newer defaults, and gets them now.
            defaults::fill(&mut before);
            errors.extend(changes::check(&before, spec, &path));
        }
        errors
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        match (&self.spec, old) {
            (Some(spec), None) => warnings::of_pod(&self.metadata, spec),
            _ => Vec::new(),
        }
    }

    fn columns() -> Vec<Column<Self>> {
        columns::all()
    }

    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        columns::selectable_fields(self)
    }
});

/// Fields by which a node is chosen; when a kubelet sees the pod, it is.
const CHOICE_OF_NODE: [&str; 4] =
    ["spec.affinity", "spec.topologySpreadConstraints", "spec.priority", "spec.preemptionPolicy"];

/// What no node does for a pod, whatever its owner allows. The API refuses such pods by the same rules; a kubelet asks
/// again and runs none that got past them, or that an older version took.
pub fn refusals(spec: &PodSpec) -> Vec<FieldError> {
    let mut errors = fields::POD.examine(&json!({ "spec": spec }), None).refused;
    errors.retain(|error| !CHOICE_OF_NODE.iter().any(|field| error.field.starts_with(field)));
    errors.extend(spec::check_for_node(spec, &Path::ROOT.field("spec")));
    errors
}
