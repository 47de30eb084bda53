//! What the grammar cannot say about a label: every reference leads somewhere, secrets stay secret,
//! nothing depends on itself.

use std::collections::BTreeSet;

use crate::declaration::{Alternative, Declaration};
use crate::document::ProbeDocument;
use crate::expr::{Expression, Located, Macro, Reference, Span, Template};
use crate::key::Key;
use crate::kind::{Kind, MAX_VALUE_BYTES, is_absolute_path, is_quantity};
use crate::label_error::LabelError;
use crate::names::is_dns_label;
use crate::surface::Surface;

pub(crate) fn check(surface: &Surface) -> Result<(), LabelError> {
    for (at, declaration) in surface.options.values().enumerate() {
        // The index is that of the document: duplicates were refused.
        let text = &surface.document.options[at];
        option(surface, &Place { path: format!("options[{at}]"), text }, declaration)?;
    }
    cycles(surface)?;
    environment(surface)?;
    ports(surface)?;
    volumes_and_resources(surface)?;
    calls(surface)?;
    offers(surface)?;
    for (path, probe) in [("readiness", surface.probe(false)), ("liveness", surface.probe(true))] {
        if let Some(probe) = probe {
            check_probe(surface, path, probe)?;
        }
    }
    Ok(())
}

/// Where an error is reported.
struct Place<'a> {
    path: String,
    text: &'a str,
}

impl Place<'_> {
    fn error(&self, span: &Span, message: impl Into<String>) -> LabelError {
        LabelError::inside(&self.path, self.text, span.clone(), message)
    }
}

/// Whether a value may be a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrets {
    Refused,
    Whole,
}

fn option(surface: &Surface, place: &Place<'_>, declaration: &Declaration) -> Result<(), LabelError> {
    let single = declaration.alternatives.len() == 1;
    for (at, alternative) in declaration.alternatives.iter().enumerate() {
        match &alternative.value {
            Alternative::Nothing if !declaration.optional => {
                return Err(
                    place.error(&alternative.span, "an option without a default that may be absent begins with '?'")
                );
            }
            Alternative::Macro(Macro::Rand { .. }) if !single => {
                return Err(place.error(&alternative.span, "a generated secret cannot have other values"));
            }
            Alternative::Macro(_) if at > 0 => {
                return Err(
                    place.error(&alternative.span, "a macro is only possible as the default, in the first place")
                );
            }
            Alternative::Open(Kind::Secret) => {
                return Err(
                    place.error(&alternative.span, "<secret> is for parameters of offers; generate secrets with !rand")
                );
            }
            Alternative::Service(_) if declaration.services().count() != declared(declaration) => {
                return Err(place.error(&alternative.span, "an option that selects a service has no other values"));
            }
            Alternative::Macro(found @ (Macro::If(_) | Macro::Tls(_))) => {
                expression(surface, place, &Expression::Macro(found.clone()), Secrets::Refused)?;
            }
            Alternative::Text(template) => text_alternative(surface, place, alternative, template)?,
            _ => {}
        }
    }
    for dependency in &declaration.requires {
        let key = &dependency.value.key;
        known(surface, place, &dependency.span, key)?;
        if *key == declaration.key {
            return Err(place.error(&dependency.span, "an option cannot depend on itself"));
        }
        possible(surface, place, &dependency.span, key, dependency.value.equals.as_deref())?;
    }
    Ok(())
}

fn declared(declaration: &Declaration) -> usize {
    declaration.alternatives.iter().filter(|alternative| alternative.value != Alternative::Nothing).count()
}

fn text_alternative(
    surface: &Surface,
    place: &Place<'_>,
    alternative: &Located<Alternative>,
    text: &Template,
) -> Result<(), LabelError> {
    if text.as_literal().is_some_and(|literal| literal.len() > MAX_VALUE_BYTES) {
        return Err(place.error(&alternative.span, format!("a value has at most {MAX_VALUE_BYTES} bytes")));
    }
    template(surface, place, text, Secrets::Refused)
}

fn expression(surface: &Surface, place: &Place<'_>, found: &Expression, secrets: Secrets) -> Result<(), LabelError> {
    match found {
        Expression::Template(text) => template(surface, place, text, secrets),
        Expression::Macro(Macro::If(condition)) => {
            let key = &condition.key;
            known(surface, place, &key.span, &key.value)?;
            possible(surface, place, &key.span, &key.value, condition.equals.as_deref())?;
            expression(surface, place, &condition.then, secrets)?;
            expression(surface, place, &condition.otherwise, secrets)
        }
        Expression::Macro(Macro::Rand { .. }) => Err(place
            .error(&(0..place.text.len()), "!rand makes a secret, which is only possible as the value of an option")),
        Expression::Macro(found @ (Macro::Dns | Macro::LocalIp)) => Err(place.error(
            &(0..place.text.len()),
            format!("{found} is only possible as the default of an option, so that the profile keeps what it gave"),
        )),
        Expression::Macro(Macro::Tls(_)) => Ok(()),
    }
}

fn template(surface: &Surface, place: &Place<'_>, text: &Template, secrets: Secrets) -> Result<(), LabelError> {
    for reference in text.references() {
        let span = &reference.span;
        match &reference.value {
            Reference::Itself(_) => {}
            Reference::Option(key) => {
                let is_secret = known(surface, place, span, key)?.is_secret();
                if is_secret && (secrets == Secrets::Refused || text.as_reference().is_none()) {
                    let message =
                        format!("the secret {key} cannot be a part of other text; use ${{file {key}}} for its path");
                    return Err(place.error(span, message));
                }
            }
            Reference::File(key) => {
                if !known(surface, place, span, key)?.is_secret() {
                    return Err(place.error(span, format!("{key} is no secret and has no file")));
                }
            }
            // The fact itself is checked when resolving: the selected service's label is not known here.
            Reference::Peer(key, _) => {
                let declaration = known(surface, place, span, key)?;
                if !declaration.is_binding() {
                    return Err(place.error(span, format!("{key} does not select a service")));
                }
            }
        }
    }
    Ok(())
}

fn known<'a>(surface: &'a Surface, place: &Place<'_>, span: &Span, key: &Key) -> Result<&'a Declaration, LabelError> {
    surface.options.get(key).ok_or_else(|| {
        place
            .error(span, format!("there is no option {key}"))
            .expecting(surface.options.keys().map(ToString::to_string))
    })
}

/// A comparison must be able to hold.
fn possible(
    surface: &Surface,
    place: &Place<'_>,
    span: &Span,
    key: &Key,
    equals: Option<&str>,
) -> Result<(), LabelError> {
    let (Some(value), Some(declaration)) = (equals, surface.options.get(key)) else {
        return Ok(());
    };
    if declaration.is_secret() {
        return Err(place.error(span, format!("{key} is a secret and cannot be compared")));
    }
    let can = declaration.alternatives.iter().any(|alternative| match &alternative.value {
        Alternative::Nothing => false,
        Alternative::Macro(_) => true,
        Alternative::Service(service) => service == value,
        Alternative::Open(kind) => kind.accepts(value),
        Alternative::Text(text) => text.as_literal().is_none_or(|literal| literal == value),
    });
    if can {
        return Ok(());
    }
    Err(place.error(span, format!("{key} never has the value {value:?}")).expecting(declaration.allowed()))
}

// === cycles ===

fn cycles(surface: &Surface) -> Result<(), LabelError> {
    let mut done = BTreeSet::new();
    for key in surface.options.keys() {
        visit(surface, key, &mut Vec::new(), &mut done)?;
    }
    Ok(())
}

fn visit<'a>(
    surface: &'a Surface,
    key: &'a Key,
    trail: &mut Vec<&'a Key>,
    done: &mut BTreeSet<&'a Key>,
) -> Result<(), LabelError> {
    if done.contains(key) {
        return Ok(());
    }
    let Some((at, _, declaration)) = surface.options.get_full(key) else {
        return Ok(());
    };
    if let Some(start) = trail.iter().position(|other| *other == key) {
        let names: Vec<&str> = trail[start..].iter().chain([&key]).map(|key| key.as_str()).collect();
        let message = format!("these options depend on each other: {}", names.join(" -> "));
        return Err(LabelError::at(format!("options[{at}]"), message));
    }
    trail.push(key);
    for next in dependencies(declaration) {
        visit(surface, next, trail, done)?;
    }
    trail.pop();
    done.insert(key);
    Ok(())
}

fn dependencies(declaration: &Declaration) -> Vec<&Key> {
    let mut keys: Vec<&Key> = declaration.requires.iter().map(|dependency| &dependency.value.key).collect();
    for alternative in &declaration.alternatives {
        match &alternative.value {
            Alternative::Macro(found) => of_macro(found, &mut keys),
            Alternative::Text(text) => of_template(text, &mut keys),
            Alternative::Nothing | Alternative::Service(_) | Alternative::Open(_) => {}
        }
    }
    keys
}

fn of_macro<'a>(found: &'a Macro, keys: &mut Vec<&'a Key>) {
    if let Macro::If(condition) = found {
        keys.push(&condition.key.value);
        for operand in [&condition.then, &condition.otherwise] {
            match operand {
                Expression::Template(text) => of_template(text, keys),
                Expression::Macro(nested) => of_macro(nested, keys),
            }
        }
    }
}

fn of_template<'a>(text: &'a Template, keys: &mut Vec<&'a Key>) {
    keys.extend(text.references().filter_map(|reference| match &reference.value {
        Reference::Option(key) | Reference::File(key) | Reference::Peer(key, _) => Some(key),
        Reference::Itself(_) => None,
    }));
}

// === the rest of the document ===

fn environment(surface: &Surface) -> Result<(), LabelError> {
    for (name, found) in &surface.env {
        let path = format!("env.{name}");
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(word) {
            return Err(LabelError::at(path, "an environment variable is made of letters, digits and _"));
        }
        let text = &surface.document.env[name];
        expression(surface, &Place { path, text }, found, Secrets::Whole)?;
    }
    Ok(())
}

fn ports(surface: &Surface) -> Result<(), LabelError> {
    let mut names = BTreeSet::new();
    for (at, port) in surface.document.ports.iter().enumerate() {
        let path = format!("ports[{at}]");
        if port.name.len() > 15 || !is_dns_label(&port.name) || !names.insert(&port.name) {
            return Err(LabelError::at(
                format!("{path}.name"),
                "a port name is unique and has at most 15 of a-z, 0-9 and inner '-'",
            ));
        }
        if port.port == 0 {
            return Err(LabelError::at(format!("{path}.port"), "a port is a number from 1 to 65535"));
        }
        let Some(option) = &port.publish else { continue };
        let path = format!("{path}.publish");
        let Some(declaration) = surface.options.get(option.as_str()) else {
            return Err(LabelError::at(path, format!("there is no option {option}"))
                .expecting(surface.options.keys().map(ToString::to_string)));
        };
        if !only_kind(declaration, Kind::Publish) {
            return Err(LabelError::at(path, format!("the option {option} has values that are no <publish>")));
        }
    }
    Ok(())
}

/// True if every value the option can have belongs to the kind.
fn only_kind(declaration: &Declaration, kind: Kind) -> bool {
    declaration.alternatives.iter().all(|alternative| match &alternative.value {
        Alternative::Nothing => true,
        Alternative::Open(open) => *open == kind || (kind == Kind::Publish && *open == Kind::Port),
        Alternative::Text(text) => text.as_literal().is_some_and(|literal| kind.accepts(literal)),
        Alternative::Service(_) | Alternative::Macro(_) => false,
    })
}

fn volumes_and_resources(surface: &Surface) -> Result<(), LabelError> {
    let mut names = BTreeSet::new();
    let mut paths = BTreeSet::new();
    for (at, (volume, size)) in surface.document.volumes.iter().zip(&surface.volume_sizes).enumerate() {
        let path = format!("volumes[{at}]");
        if !is_dns_label(&volume.name) || !names.insert(&volume.name) {
            return Err(LabelError::at(
                format!("{path}.name"),
                "a volume name is a unique DNS label (a-z, 0-9, inner '-')",
            ));
        }
        if !is_absolute_path(&volume.path) || volume.path == "/" || !paths.insert(&volume.path) {
            return Err(LabelError::at(format!("{path}.path"), "a mount path is unique, absolute and not the root"));
        }
        quantity(surface, &format!("{path}.size"), &volume.size, size)?;
    }
    let resources = &surface.document.resources;
    for (path, text, parsed) in
        [("resources.cpu", &resources.cpu, &surface.cpu), ("resources.memory", &resources.memory, &surface.memory)]
    {
        if let (Some(text), Some(parsed)) = (text, parsed) {
            quantity(surface, path, text, parsed)?;
        }
    }
    if resources.pids == Some(0) {
        return Err(LabelError::at("resources.pids", "a service needs at least one process"));
    }
    Ok(())
}

fn quantity(surface: &Surface, path: &str, text: &str, parsed: &Template) -> Result<(), LabelError> {
    let place = Place { path: path.to_owned(), text };
    let fits = match (parsed.as_literal(), parsed.as_reference()) {
        (Some(literal), _) => is_quantity(literal),
        (None, Some(Reference::Option(key))) => {
            let declaration = known(surface, &place, &(0..text.len()), key)?;
            only_kind(declaration, Kind::Size)
        }
        _ => false,
    };
    if fits {
        return Ok(());
    }
    Err(place
        .error(&(0..text.len()), "not a quantity")
        .expecting(["512Mi".to_owned(), "${option} of an option of <size>".to_owned()]))
}

fn calls(surface: &Surface) -> Result<(), LabelError> {
    for (option, list) in &surface.bindings {
        let path = format!("bindings.{option}");
        if !surface.options.get(option).is_some_and(Declaration::is_binding) {
            return Err(LabelError::at(path, format!("{option} is not an option that selects a service")));
        }
        for (at, call) in list.iter().enumerate() {
            for (name, found) in &call.with {
                let path = format!("{path}[{at}].with.{name}");
                let text = &surface.document.bindings[option.as_str()][at].with[name];
                expression(surface, &Place { path, text }, found, Secrets::Whole)?;
            }
        }
    }
    Ok(())
}

fn offers(surface: &Surface) -> Result<(), LabelError> {
    for (id, offer) in &surface.offers {
        for (at, declaration) in offer.parameters.values().enumerate() {
            let path = format!("offers.{id}.parameters[{at}]");
            let plain = declaration.alternatives.iter().all(|alternative| match &alternative.value {
                Alternative::Nothing | Alternative::Open(_) => true,
                Alternative::Text(text) => text.as_literal().is_some(),
                Alternative::Service(_) | Alternative::Macro(_) => false,
            });
            if !plain || !declaration.requires.is_empty() {
                return Err(LabelError::at(path, "a parameter has literal values and kinds only, and no dependencies"));
            }
        }
        let Some(undo) = &offer.undo else { continue };
        let path = format!("offers.{id}.undo");
        let Some(other) = surface.offers.get(undo) else {
            return Err(
                LabelError::at(path, format!("there is no offer {undo}")).expecting(surface.offers.keys().cloned())
            );
        };
        let missing = other
            .parameters
            .values()
            .find(|parameter| parameter.is_required() && !offer.parameters.contains_key(&parameter.key));
        if let Some(missing) = missing {
            return Err(LabelError::at(path, format!("{undo} needs {}, which {id} is not given", missing.key)));
        }
    }
    Ok(())
}

fn check_probe(surface: &Surface, path: &str, probe: &ProbeDocument) -> Result<(), LabelError> {
    let checks = [probe.http.is_some(), probe.tcp.is_some(), probe.exec.is_some()];
    if checks.iter().filter(|given| **given).count() != 1 {
        return Err(LabelError::at(path, "exactly one of http, tcp and exec is given"));
    }
    let port = probe.http.as_ref().map(|http| &http.port).or(probe.tcp.as_ref());
    if let Some(port) = port
        && surface.port_number(port).is_none()
    {
        return Err(LabelError::at(path, format!("there is no port {port}"))
            .expecting(surface.ports().map(|port| port.name.to_owned())));
    }
    if probe.http.as_ref().is_some_and(|http| !http.path.starts_with('/')) {
        return Err(LabelError::at(format!("{path}.http.path"), "a path begins with '/'"));
    }
    if probe.exec.as_ref().is_some_and(|command| command.first().is_none_or(String::is_empty)) {
        return Err(LabelError::at(format!("{path}.exec"), "the command is empty"));
    }
    let ranges = [
        ("periodSeconds", probe.period_seconds, 1, 3600),
        ("timeoutSeconds", probe.timeout_seconds, 1, 3600),
        ("failureThreshold", probe.failure_threshold, 1, 1000),
        ("initialDelaySeconds", probe.initial_delay_seconds, 0, 3600),
    ];
    match ranges.iter().find(|(_, value, min, max)| value < min || value > max) {
        Some((name, _, min, max)) => {
            Err(LabelError::at(format!("{path}.{name}"), format!("a number from {min} to {max}")))
        }
        None => Ok(()),
    }
}
