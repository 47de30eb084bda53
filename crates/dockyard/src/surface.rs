//! The option surface of an image: what its label says.

use indexmap::IndexMap;

use crate::declaration::Declaration;
use crate::document::{LabelDocument, ProbeDocument};
use crate::expr::{Expression, Template};
use crate::key::Key;
use crate::resolution::{BINDINGS_DIR, Protocol};

/// Name of the image label.
pub const LABEL: &str = "io.nanocloud.options";
/// Largest label, in bytes.
pub const MAX_LABEL_BYTES: usize = 64 * 1024;
/// Most options of one service.
pub const MAX_OPTIONS: usize = 128;

/// The options of a service, what it needs and what it offers. Every reference in it is known to
/// lead somewhere and no option depends on itself, so that resolving can only fail for the caller's
/// reasons.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surface {
    pub(crate) document: LabelDocument,
    pub(crate) options: IndexMap<Key, Declaration>,
    pub(crate) env: IndexMap<String, Expression>,
    pub(crate) volume_sizes: Vec<Template>,
    pub(crate) cpu: Option<Template>,
    pub(crate) memory: Option<Template>,
    pub(crate) bindings: IndexMap<Key, Vec<Call>>,
    pub(crate) offers: IndexMap<String, Offer>,
}

/// A command to run in the bundle that an option selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) with: IndexMap<String, Expression>,
}

/// A binding command that an image offers to those that bind to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What it does, one line; may be empty.
    pub description: String,
    /// Its parameters by name.
    pub parameters: IndexMap<Key, Declaration>,
    /// Id of the offer that takes it back.
    pub undo: Option<String>,
}

/// Absolute path of the command behind an offer.
#[must_use]
pub fn offer_command(id: &str) -> String {
    format!("{BINDINGS_DIR}/{id}")
}

/// A port as the label declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortSpec<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its number in the container.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

impl Surface {
    /// The label text: canonical JSON in the document's order. [`Surface::parse`] of it gives an equal surface.
    #[must_use]
    pub fn to_label(&self) -> String {
        let canonical = LabelDocument {
            options: self.options.values().map(ToString::to_string).collect(),
            ..self.document.clone()
        };
        // A struct of strings and numbers with string keys always serialises.
        serde_json::to_string(&canonical).unwrap_or_default()
    }

    /// What the service is, one line; may be empty.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.document.description
    }

    /// The options in the label's order.
    pub fn options(&self) -> impl Iterator<Item = &Declaration> {
        self.options.values()
    }

    /// The option of that name.
    #[must_use]
    pub fn option(&self, key: &str) -> Option<&Declaration> {
        self.options.get(key)
    }

    /// The ports in the label's order.
    pub fn ports(&self) -> impl Iterator<Item = PortSpec<'_>> {
        self.document.ports.iter().map(|port| PortSpec { name: &port.name, port: port.port, protocol: port.protocol })
    }

    /// What the image offers to those that bind to it, by id.
    pub fn offers(&self) -> impl Iterator<Item = (&str, &Offer)> {
        self.offers.iter().map(|(id, offer)| (id.as_str(), offer))
    }

    /// The offer of that id.
    #[must_use]
    pub fn offer(&self, id: &str) -> Option<&Offer> {
        self.offers.get(id)
    }

    pub(crate) fn port_number(&self, name: &str) -> Option<u16> {
        self.document.ports.iter().find(|port| port.name == name).map(|port| port.port)
    }

    pub(crate) fn probe(&self, liveness: bool) -> Option<&ProbeDocument> {
        if liveness { self.document.liveness.as_ref() } else { self.document.readiness.as_ref() }
    }
}
