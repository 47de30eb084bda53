//! Pods from templates.

use std::collections::BTreeSet;

use api::{ObjectMeta, Resource, kinds::Pod, meta::controller_reference};
use k8s_openapi::api::core::v1::PodTemplateSpec;

use crate::digest;

/// Characters that are put behind the name of a workload for a pod's name.
const SUFFIX_LEN: usize = 5;
/// Most characters of the part before them, so that the name of a pod is a host name.
const BASE_MAX: usize = 58;

/// A pod of this name, which the owner controls.
pub(crate) fn pod<O: Resource>(owner: &O, template: &PodTemplateSpec, base: &str, name: String) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            name: Some(name),
            generate_name: Some(base.to_owned()),
            namespace: owner.meta().namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_reference(owner)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Names that no other pod has, one after the other.
///
/// They follow from the owner and its version alone. When an answer of the server was lost, the same names come again,
/// and the server refuses the pod that is there already.
pub(crate) struct PodNames<'a> {
    version: &'a str,
    taken: BTreeSet<&'a str>,
    next: u64,
}

impl<'a> PodNames<'a> {
    pub(crate) fn new<O: Resource>(owner: &'a O, pods: &'a [Pod]) -> Self {
        let taken = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
        Self { version: owner.meta().resource_version.as_deref().unwrap_or_default(), taken, next: 0 }
    }

    /// A name that begins with `base`.
    pub(crate) fn next(&mut self, base: &str) -> String {
        let base: String = base.chars().take(BASE_MAX).collect();
        loop {
            let number = self.next.to_be_bytes();
            let parts = [base.as_bytes(), self.version.as_bytes(), &number];
            self.next += 1;
            let name = format!("{base}{}", digest::suffix_of(parts, SUFFIX_LEN));
            if !self.taken.contains(name.as_str()) {
                return name;
            }
        }
    }
}
