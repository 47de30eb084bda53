//! The commands to run in the selected bundles.

use indexmap::IndexMap;

use crate::declaration::{Alternative, Declaration};
use crate::field_error::Code;
use crate::kind::Kind;
use crate::request::Peer;
use crate::resolution::{BindingPlan, Requirement, Undo, Value};
use crate::resolve::options::{Resolver, State};
use crate::surface::{Call, Offer, offer_command};

impl<'a> Resolver<'a> {
    /// Checks every selected bundle and plans its commands.
    pub(super) fn bindings(&mut self, requires: &[Requirement]) -> Vec<BindingPlan> {
        let mut plans = Vec::new();
        for requirement in requires {
            let Some(peer) = self.peer(requirement) else { continue };
            let surface = self.surface;
            let calls = surface.bindings.get(requirement.option.as_str());
            for call in calls.into_iter().flatten() {
                plans.extend(self.plan(requirement, peer, call));
            }
        }
        plans
    }

    fn peer(&mut self, requirement: &Requirement) -> Option<&'a Peer> {
        let Requirement { option, service, bundle } = requirement;
        let request = self.request;
        let Some(peer) = request.peers.get(bundle.as_str()) else {
            let message = format!(
                "the bundle {bundle:?} is not installed in the namespace {:?}: install it first (nanocloud install {service})",
                request.namespace
            );
            self.refuse(option, Code::MissingBundle, message);
            return None;
        };
        if peer.service != *service {
            let message = format!("the bundle {bundle:?} is an instance of {:?}, not of {service:?}", peer.service);
            self.refuse(option, Code::IncompatibleBundle, message);
            return None;
        }
        Some(peer)
    }

    fn plan(&mut self, requirement: &Requirement, peer: &Peer, call: &Call) -> Option<BindingPlan> {
        let Some(offer) = peer.surface.offer(&call.id) else {
            let offered: Vec<String> = peer.surface.offers().map(|(id, _)| id.to_owned()).collect();
            let message = format!(
                "the service {:?} offers no binding {}; it offers: {}",
                requirement.service,
                call.id,
                if offered.is_empty() { "none".to_owned() } else { offered.join(", ") }
            );
            self.refuse(&requirement.option, Code::IncompatibleBundle, message);
            return None;
        };
        let parameters = self.parameters(requirement, offer, call)?;
        let undo = offer.undo.as_deref().and_then(|id| {
            let wanted = &peer.surface.offer(id)?.parameters;
            let parameters = parameters
                .iter()
                .filter(|(name, _)| wanted.contains_key(name.as_str()))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            Some(Undo { id: id.to_owned(), command: offer_command(id), parameters })
        });
        Some(BindingPlan {
            id: call.id.clone(),
            name: dashed(&format!("{}-{}", requirement.option, call.id)),
            option: requirement.option.clone(),
            target: requirement.bundle.clone(),
            command: offer_command(&call.id),
            undo,
            parameters,
        })
    }

    fn parameters(&mut self, requirement: &Requirement, offer: &Offer, call: &Call) -> Option<IndexMap<String, Value>> {
        let before = self.errors.len();
        let refuse = |resolver: &mut Self, message: String| {
            let message = format!("the binding {} of {:?}: {message}", call.id, requirement.service);
            resolver.refuse(&requirement.option, Code::IncompatibleBundle, message);
        };
        if let Some(name) = call.with.keys().find(|name| !offer.parameters.contains_key(name.as_str())) {
            refuse(self, format!("it has no parameter {name}"));
        }
        let mut found = IndexMap::new();
        for (name, declaration) in &offer.parameters {
            let state = match call.with.get(name.as_str()) {
                Some(expression) => self.expression(expression),
                None => State::Absent,
            };
            match state {
                State::Invalid => return None,
                State::Known(value) if fits(declaration, &value) => {
                    found.insert(name.to_string(), value);
                }
                State::Known(_) => {
                    refuse(self, format!("its parameter {name} takes {}", declaration.allowed().join(", ")))
                }
                State::Absent => match declaration.default_alternative() {
                    Some(Alternative::Text(text)) => {
                        let text = text.as_literal().unwrap_or_default().to_owned();
                        found.insert(name.to_string(), Value::Literal(text));
                    }
                    _ if declaration.optional => {}
                    _ => refuse(self, format!("its parameter {name} has no value")),
                },
            }
        }
        (self.errors.len() == before).then_some(found)
    }
}

fn fits(declaration: &Declaration, value: &Value) -> bool {
    declaration.alternatives.iter().any(|alternative| match (&alternative.value, value) {
        (Alternative::Open(Kind::Secret), Value::SecretRef(_)) => true,
        (Alternative::Open(kind), Value::Literal(text)) => kind.accepts(text),
        (Alternative::Text(expected), Value::Literal(text)) => expected.as_literal() == Some(text),
        _ => false,
    })
}

fn dashed(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}
