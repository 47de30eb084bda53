//! The kinds of one server, as a value.

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::{Kind, custom};

/// The kinds that a server has. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Kinds(Arc<Vec<Kind>>);

impl Kinds {
    /// Every kind of this crate, in the order of its list.
    pub fn builtin() -> Self {
        Self(Arc::new(super::all().to_vec()))
    }

    /// These kinds and one more.
    #[must_use]
    pub fn with(mut self, kind: Kind) -> Self {
        Arc::make_mut(&mut self.0).push(kind);
        self
    }

    /// These kinds and those that definitions define, in an order in which clients prefer versions.
    #[must_use]
    pub fn with_custom(mut self, mut kinds: Vec<Kind>) -> Self {
        kinds.sort_by_cached_key(|kind| {
            (kind.group().to_owned(), custom::by_priority(kind.version()), kind.plural().to_owned())
        });
        Arc::make_mut(&mut self.0).extend(kinds);
        self
    }

    /// These kinds and those of the definitions that are established.
    #[must_use]
    pub fn with_definitions<'a>(self, definitions: impl IntoIterator<Item = &'a CustomResourceDefinition>) -> Self {
        self.with_custom(definitions.into_iter().flat_map(custom::kinds).collect())
    }

    /// One kind for all objects that are stored together: the preferred version of each resource.
    pub fn resources(&self) -> impl Iterator<Item = &Kind> {
        let mut seen = std::collections::BTreeSet::new();
        self.iter().filter(move |kind| seen.insert(kind.resource()))
    }

    /// Every kind.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.0.iter()
    }

    /// The kind of a URL.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Kind> {
        self.iter().find(|kind| (kind.plural(), kind.group(), kind.version()) == (plural, group, version))
    }

    /// Finds a kind by what a person types: plural, singular, kind, short name or `plural.group`.
    pub fn find(&self, name: &str) -> Option<&Kind> {
        let name = name.to_ascii_lowercase();
        self.iter().find(|kind| kind.is_called(&name))
    }
}

impl Default for Kinds {
    fn default() -> Self {
        Self::builtin()
    }
}
