//! Resolving: from a label and a caller's wishes to a complete plan, or to every refusal at once.
//!
//! Rules, in order, for each option:
//! 1. A value the caller gave is checked and taken; giving it without what it `*requires` is refused.
//! 2. Without it, an option whose requirements are not met is absent.
//! 3. A secret exists or will be generated; its value never passes through here.
//! 4. A value stored in the profile is kept if the default was a plain value or a fact of the host
//!    (`!dns`, `!local_ip`) and the label still allows it: defaults once taken stay. Values made of
//!    other options are made again.
//! 5. Otherwise the default, or absent; a required one that is absent is refused.

mod bindings;
mod evaluate;
mod options;
mod selection;
mod workload;

use crate::field_error::{Code, FieldError};
use crate::request::Request;
use crate::resolution::{Requirement, Resolution};
use crate::surface::{MAX_OPTIONS, Surface};

use options::{Resolver, State};
use selection::Selection;

/// The bundles that the request selects, before anything is known about them. The caller fetches
/// them into [`Request::peers`] and goes on with [`resolve`].
///
/// # Errors
/// Every refusal that does not depend on the selected bundles.
pub fn requirements(surface: &Surface, request: &Request<'_>) -> Result<Vec<Requirement>, Vec<FieldError>> {
    let mut resolver = Resolver::new(surface, request);
    limits(request, &mut resolver.errors);
    resolver.unknown_options();
    resolver.all_options();
    let found = selected(surface, &resolver);
    resolver.finish().map(|()| found)
}

/// The complete plan for a bundle.
///
/// # Errors
/// Every refusal at once: unknown options, bad values, missing requirements, and selected bundles
/// that are not in [`Request::peers`] or do not offer what the label asks of them.
pub fn resolve(surface: &Surface, request: &Request<'_>) -> Result<Resolution, Vec<FieldError>> {
    let mut resolver = Resolver::new(surface, request);
    limits(request, &mut resolver.errors);
    resolver.unknown_options();
    resolver.all_options();
    let requires = selected(surface, &resolver);
    let bindings = resolver.bindings(&requires);
    let env = resolver.environment();
    let mut resolution = Resolution {
        requires,
        bindings,
        env,
        ports: resolver.ports(),
        volumes: resolver.volumes(),
        readiness: resolver.probe(false),
        liveness: resolver.probe(true),
        resources: resolver.resources(),
        tls: resolver.tls_request(),
        ..Resolution::default()
    };
    resolver.store(&mut resolution);
    resolver.finish().map(|()| resolution)
}

fn limits(request: &Request<'_>, errors: &mut Vec<FieldError>) {
    if request.options.len() > MAX_OPTIONS {
        errors.push(FieldError {
            field: "spec.options".to_owned(),
            code: Code::LimitExceeded,
            message: format!("more than {MAX_OPTIONS} options"),
            allowed: Vec::new(),
        });
    }
}

fn selected(surface: &Surface, resolver: &Resolver<'_>) -> Vec<Requirement> {
    let mut found = Vec::new();
    for declaration in surface.options().filter(|declaration| declaration.is_binding()) {
        if let State::Known(crate::Value::Literal(value)) = resolver.state(&declaration.key) {
            let selection = Selection::parse(value);
            found.push(Requirement {
                option: declaration.key.to_string(),
                service: selection.service.to_owned(),
                bundle: selection.bundle.to_owned(),
            });
        }
    }
    found
}
