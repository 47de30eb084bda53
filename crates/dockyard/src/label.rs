//! From the text of a label to the option surface.

use indexmap::IndexMap;

use crate::check;
use crate::declaration::Declaration;
use crate::document::{LABEL_VERSION, LabelDocument};
use crate::expr::{Expression, Template};
use crate::grammar;
use crate::key::Key;
use crate::label_error::LabelError;
use crate::names::is_id;
use crate::surface::{Call, MAX_LABEL_BYTES, MAX_OPTIONS, Offer, Surface};

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
            let Some(id) = call.run.strip_prefix("&bindings.").filter(|id| is_id(id)) else {
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
        if !is_id(id) {
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
