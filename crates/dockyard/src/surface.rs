//! The option surface of an image: its label, parsed and checked.

use indexmap::IndexMap;

use crate::check;
use crate::declaration::Declaration;
use crate::document::{LABEL_VERSION, LabelDocument, ProbeDocument};
use crate::expr::{Expression, Template};
use crate::grammar;
use crate::key::Key;
use crate::label_error::LabelError;
use crate::resolution::{BINDINGS_DIR, Protocol};

/// Name of the image label.
pub const LABEL: &str = "io.nanocloud.options";
/// Largest label, in bytes.
pub const MAX_LABEL_BYTES: usize = 64 * 1024;
/// Most options of one service.
pub const MAX_OPTIONS: usize = 128;

/// What a service can be told, what it needs and what it offers. Every reference in it is known to
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
    /// Reads and checks a label.
    ///
    /// # Errors
    /// The first thing that is wrong, with its path and, inside a string, its column.
    pub fn parse(label: &str) -> Result<Self, LabelError> {
        if label.len() > MAX_LABEL_BYTES {
            return Err(LabelError::at("$", format!("the label is longer than {MAX_LABEL_BYTES} bytes")));
        }
        let document: LabelDocument = serde_json::from_str(label).map_err(|error| {
            LabelError::at("$", format!("line {}, column {}: {}", error.line(), error.column(), plain(&error)))
        })?;
        Self::from_document(document)
    }

    /// Checks a label that is already taken apart, e.g. from a recipe.
    ///
    /// # Errors
    /// As [`Surface::parse`].
    pub fn from_document(document: LabelDocument) -> Result<Self, LabelError> {
        if document.version != LABEL_VERSION {
            let message = format!("version {} is not known; this build reads {LABEL_VERSION}", document.version);
            return Err(LabelError::at("version", message));
        }
        if document.options.len() > MAX_OPTIONS {
            return Err(LabelError::at("options", format!("more than {MAX_OPTIONS} options")));
        }
        let mut surface = Self::default();
        for (at, text) in document.options.iter().enumerate() {
            let path = format!("options[{at}]");
            declare(&mut surface.options, &path, text)?;
        }
        for (name, text) in &document.env {
            let path = format!("env.{name}");
            surface.env.insert(name.clone(), expression(&path, text)?);
        }
        for (at, volume) in document.volumes.iter().enumerate() {
            surface.volume_sizes.push(template(&format!("volumes[{at}].size"), &volume.size)?);
        }
        let quantity = |path: &str, text: &Option<String>| match text {
            Some(text) => template(path, text).map(Some),
            None => Ok(None),
        };
        surface.cpu = quantity("resources.cpu", &document.resources.cpu)?;
        surface.memory = quantity("resources.memory", &document.resources.memory)?;
        surface.bindings = calls(&document)?;
        surface.offers = offers(&document)?;
        surface.document = document;
        check::check(&surface)?;
        Ok(surface)
    }

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

/// serde_json's text without its own " at line L column C".
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

fn declare(into: &mut IndexMap<Key, Declaration>, path: &str, text: &str) -> Result<(), LabelError> {
    let declaration = grammar::declaration(text).map_err(|error| LabelError::syntax(path, text, error))?;
    let key = declaration.key.clone();
    if into.contains_key(&key) {
        return Err(LabelError::at(path, format!("{key} is declared twice")));
    }
    into.insert(key, declaration);
    Ok(())
}

fn expression(path: &str, text: &str) -> Result<Expression, LabelError> {
    grammar::expression(text).map_err(|error| LabelError::syntax(path, text, error))
}

fn template(path: &str, text: &str) -> Result<Template, LabelError> {
    match expression(path, text)? {
        Expression::Template(template) => Ok(template),
        Expression::Macro(_) => Err(LabelError::inside(path, text, 0..text.len(), "a macro is not possible here")
            .expecting(["a quantity such as 512Mi".to_owned(), "${option}".to_owned()])),
    }
}

fn calls(document: &LabelDocument) -> Result<IndexMap<Key, Vec<Call>>, LabelError> {
    let mut found = IndexMap::new();
    for (option, list) in &document.bindings {
        let key = Key::new(option).map_err(|error| LabelError::at(format!("bindings.{option}"), error.to_string()))?;
        let mut calls: Vec<Call> = Vec::new();
        for (at, call) in list.iter().enumerate() {
            let path = format!("bindings.{option}[{at}]");
            let Some(id) = call.run.strip_prefix("&bindings.").filter(|id| check::is_id(id)) else {
                return Err(LabelError::inside(
                    format!("{path}.run"),
                    &call.run,
                    0..call.run.len(),
                    "not a binding command",
                )
                .expecting(["&bindings.create_user".to_owned()]));
            };
            if calls.iter().any(|other| other.id == id) {
                return Err(LabelError::at(format!("{path}.run"), format!("&bindings.{id} is called twice")));
            }
            let mut with = IndexMap::new();
            for (name, text) in &call.with {
                with.insert(name.clone(), expression(&format!("{path}.with.{name}"), text)?);
            }
            calls.push(Call { id: id.to_owned(), with });
        }
        found.insert(key, calls);
    }
    Ok(found)
}

fn offers(document: &LabelDocument) -> Result<IndexMap<String, Offer>, LabelError> {
    let mut found = IndexMap::new();
    for (id, offer) in &document.offers {
        let path = format!("offers.{id}");
        if !check::is_id(id) {
            return Err(LabelError::at(path, "an id is a letter, then up to 62 of a-z, 0-9 and _"));
        }
        let mut parameters = IndexMap::new();
        for (at, text) in offer.parameters.iter().enumerate() {
            declare(&mut parameters, &format!("{path}.parameters[{at}]"), text)?;
        }
        found
            .insert(id.clone(), Offer { description: offer.description.clone(), parameters, undo: offer.undo.clone() });
    }
    Ok(found)
}
