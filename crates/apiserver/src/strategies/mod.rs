//! What is particular to the objects of one kind when they are written, deleted, selected, or reached by a node.
//!
//! The registry is the same for all kinds and asks a kind's [`Strategy`]; a kind without one of its own has nothing
//! particular. Strategies see other objects through [`Objects`] only. What discovery and routing need to know is no
//! strategy but a fact of the kind ([`api::Resource`]).

mod binding;
mod custom_resource;
mod custom_resource_definition;
mod event;
mod grants;
mod job;
mod limits;
mod namespace;
mod persistent_volume_claim;
mod pod;
mod secret;
mod service;
mod strategy;
mod token;

use api::{
    Kind, Resource,
    kinds::{
        Binding, ClusterRole, ClusterRoleBinding, CustomResourceDefinition, Event, Job, Namespace,
        PersistentVolumeClaim, Pod, Role, RoleBinding, Secret, Service, Token,
    },
};

pub(crate) use self::strategy::{NodeAccess, Objects, Strategy};

/// A kind without particularities.
struct Plain;

impl Strategy for Plain {}

/// The strategy of a kind.
pub(crate) fn of(kind: &Kind) -> &'static dyn Strategy {
    const fn is<R: Resource>() -> (&'static str, &'static str) {
        (R::GROUP, R::KIND)
    }
    let all: [((&str, &str), &'static dyn Strategy); 14] = [
        (is::<Namespace>(), &namespace::Namespaces),
        (is::<Pod>(), &pod::Pods),
        (is::<Service>(), &service::Services),
        (is::<Secret>(), &secret::Secrets),
        (is::<Event>(), &event::Events),
        (is::<PersistentVolumeClaim>(), &persistent_volume_claim::Claims),
        (is::<Binding>(), &binding::Bindings),
        (is::<Job>(), &job::Jobs),
        (is::<CustomResourceDefinition>(), &custom_resource_definition::Definitions),
        (is::<Token>(), &token::Tokens),
        (is::<Role>(), &grants::Roles),
        (is::<ClusterRole>(), &grants::Roles),
        (is::<RoleBinding>(), &grants::Bindings),
        (is::<ClusterRoleBinding>(), &grants::Bindings),
    ];
    if kind.facts().custom.is_some() {
        return &custom_resource::CustomResources;
    }
    all.into_iter().find(|(name, _)| *name == (kind.group(), kind.kind())).map_or(&Plain, |(_, strategy)| strategy)
}
