//! Filling templates and running macros.

use crate::expr::{Expression, Macro, PeerFact, Reference, Segment, SelfFact, Template};
use crate::key::Key;
use crate::names::service_host;
use crate::resolution::{SECRETS_DIR, Value};
use crate::resolve::options::{Resolver, State};
use crate::resolve::selection::Selection;

fn literal(text: impl Into<String>) -> State {
    State::Known(Value::Literal(text.into()))
}

impl Resolver<'_> {
    pub(super) fn expression(&mut self, expression: &Expression) -> State {
        match expression {
            Expression::Template(template) => self.template(template),
            Expression::Macro(Macro::Tls(part)) => {
                self.uses_tls = true;
                literal(part.path())
            }
            Expression::Macro(Macro::If(condition)) => {
                let key = &condition.key.value;
                let holds = match self.value_of(key) {
                    State::Invalid => return State::Invalid,
                    State::Absent => false,
                    State::Known(value) => self.equals(key, &value, condition.equals.as_deref()),
                };
                self.expression(if holds { &condition.then } else { &condition.otherwise })
            }
            // Only possible as defaults, where they are handled (see `check`).
            Expression::Macro(Macro::Dns | Macro::LocalIp | Macro::Rand { .. }) => State::Absent,
        }
    }

    /// Absent as soon as one reference is; a secret only as the whole.
    pub(super) fn template(&mut self, template: &Template) -> State {
        if let Some(reference) = template.as_reference() {
            return self.reference(reference);
        }
        let mut text = String::new();
        for segment in template.segments() {
            match segment {
                Segment::Text(part) => text.push_str(part),
                Segment::Reference(reference) => match self.reference(&reference.value) {
                    State::Known(Value::Literal(value)) => text.push_str(&value),
                    State::Known(Value::SecretRef(_)) | State::Absent => return State::Absent,
                    State::Invalid => return State::Invalid,
                },
            }
        }
        literal(text)
    }

    fn reference(&mut self, reference: &Reference) -> State {
        match reference {
            Reference::Option(key) => self.value_of(key),
            Reference::File(key) => match self.value_of(key) {
                State::Known(_) => literal(format!("{SECRETS_DIR}/{key}")),
                other => other,
            },
            Reference::Itself(fact) => literal(match fact {
                SelfFact::Bundle => self.request.bundle.to_owned(),
                SelfFact::Service => self.request.service.to_owned(),
                SelfFact::Namespace => self.request.namespace.to_owned(),
                SelfFact::Host => service_host(self.request.bundle, self.request.namespace),
            }),
            Reference::Peer(key, fact) => self.peer_fact(key, fact),
        }
    }

    fn peer_fact(&mut self, key: &Key, fact: &PeerFact) -> State {
        let value = match self.value_of(key) {
            State::Known(Value::Literal(value)) => value,
            State::Known(Value::SecretRef(_)) => return State::Absent,
            other => return other,
        };
        let selection = Selection::parse(&value);
        // A peer that is not there is refused once, with the bindings.
        let peer = self.request.peers.get(selection.bundle);
        match fact {
            PeerFact::Bundle => literal(selection.bundle),
            PeerFact::Service => literal(selection.service),
            PeerFact::Host => literal(service_host(selection.bundle, self.request.namespace)),
            PeerFact::Port => peer
                .and_then(|peer| peer.surface.ports().next())
                .map_or(State::Absent, |port| literal(port.port.to_string())),
            PeerFact::Option(option) => {
                peer.and_then(|peer| peer.options.get(option.as_str())).map_or(State::Absent, literal)
            }
        }
    }
}
