//! Endpoints packed into slices, so that few slices change when one endpoint does. Pure.

use std::collections::{BTreeMap, BTreeSet};

use api::{ObjectMeta, kinds::EndpointSlice, meta::NAME_MAX};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort};

use crate::{digest::hex_of, step::Step};

/// Most endpoints of a slice that this controller writes, as in Kubernetes.
pub(super) const ENDPOINTS_MAX: usize = 100;
/// Characters of a slice's name behind the name of the service.
const SUFFIX: usize = 8;

/// Endpoints of one address type that have the same ports: slices hold no others together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub(super) address_type: &'static str,
    pub(super) ports: Vec<EndpointPort>,
    pub(super) endpoints: Vec<Endpoint>,
}

/// What tells an endpoint from others: the object that it belongs to, and its address.
type Identity = (Option<String>, String);

/// The slices of one service.
pub(super) struct Slices<'a> {
    /// Namespace, labels, owners; annotations if others' are not kept.
    pub(super) template: ObjectMeta,
    /// Name of the service, and uid of what the endpoints are read from: the names of slices are made from both.
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
    /// The slices that are there.
    pub(super) found: Vec<&'a EndpointSlice>,
    /// Names of all slices in the namespace.
    pub(super) taken: BTreeSet<String>,
}

impl Slices<'_> {
    /// The steps after which the slices hold these groups. A group without endpoints is one empty slice.
    pub(super) fn plan(mut self, groups: Vec<Group>) -> Vec<Step> {
        let mut steps = Vec::new();
        self.found.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
        for group in groups {
            let fits = |slice: &&EndpointSlice| {
                slice.address_type == group.address_type && slice.ports.as_deref().unwrap_or_default() == group.ports
            };
            let (own, others) = std::mem::take(&mut self.found).into_iter().partition(fits);
            self.found = others;
            steps.extend(self.pack(group, own));
        }
        steps.extend(self.found.into_iter().map(Step::delete));
        steps
    }

    /// Each endpoint stays in the slice that has it; new ones fill up slices before another is made.
    fn pack(&mut self, group: Group, own: Vec<&EndpointSlice>) -> Vec<Step> {
        let placeholder = group.endpoints.is_empty();
        let mut waiting: BTreeMap<Identity, Endpoint> =
            group.endpoints.iter().map(|endpoint| (identity(endpoint), endpoint.clone())).collect();
        let mut kept: Vec<(&EndpointSlice, Vec<Endpoint>)> = Vec::new();
        for slice in own {
            let stay = slice.endpoints.iter().flatten().filter_map(|endpoint| waiting.remove(&identity(endpoint)));
            kept.push((slice, stay.collect()));
        }
        let mut waiting = waiting.into_values();
        let (mut steps, mut filled) = (Vec::new(), false);
        for (slice, mut endpoints) in kept {
            let room = ENDPOINTS_MAX.saturating_sub(endpoints.len());
            endpoints.extend(waiting.by_ref().take(room));
            if endpoints.is_empty() && (filled || !placeholder) {
                steps.push(Step::delete(slice));
                continue;
            }
            filled = true;
            let wanted = EndpointSlice {
                metadata: self.metadata(slice),
                address_type: slice.address_type.clone(),
                endpoints: Some(endpoints),
                ports: slice.ports.clone(),
            };
            steps.extend((wanted != *slice).then(|| Step::replace(&wanted)));
        }
        loop {
            let endpoints: Vec<_> = waiting.by_ref().take(ENDPOINTS_MAX).collect();
            if endpoints.is_empty() && (filled || !placeholder) {
                return steps;
            }
            filled = true;
            steps.push(Step::create(&EndpointSlice {
                metadata: self.fresh_metadata(),
                address_type: group.address_type.to_owned(),
                endpoints: Some(endpoints),
                ports: Some(group.ports.clone()),
            }));
        }
    }

    fn metadata(&self, slice: &EndpointSlice) -> ObjectMeta {
        let annotations = match &self.template.annotations {
            Some(own) => Some(own.clone()).filter(|own| !own.is_empty()),
            None => slice.metadata.annotations.clone(),
        };
        ObjectMeta {
            labels: self.template.labels.clone(),
            owner_references: self.template.owner_references.clone(),
            annotations,
            ..slice.metadata.clone()
        }
    }

    fn fresh_metadata(&mut self) -> ObjectMeta {
        let room = NAME_MAX - SUFFIX - 1;
        let base: String = self.name.chars().take(room).collect();
        let of_number = |number: u32| {
            let digest = hex_of([self.uid.as_bytes(), &number.to_be_bytes()]);
            format!("{base}-{}", digest.get(..SUFFIX).unwrap_or_default())
        };
        // A name is taken by few slices, each of another number.
        let name = (0..).map(of_number).find(|name| !self.taken.contains(name)).unwrap_or_default();
        self.taken.insert(name.clone());
        let annotations = self.template.annotations.clone().filter(|own| !own.is_empty());
        ObjectMeta { name: Some(name), generate_name: Some(format!("{base}-")), annotations, ..self.template.clone() }
    }
}

fn identity(endpoint: &Endpoint) -> Identity {
    let owner = endpoint.target_ref.as_ref().and_then(|target| target.uid.clone());
    (owner, endpoint.addresses.first().cloned().unwrap_or_default())
}
