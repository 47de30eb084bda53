//! The kinds of one server, as a value.

use std::sync::Arc;

use crate::Kind;

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
