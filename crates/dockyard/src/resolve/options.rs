//! The value of every option.

use indexmap::IndexMap;

use crate::declaration::{Alternative, Declaration, Dependency};
use crate::expr::Macro;
use crate::field_error::{Code, FieldError};
use crate::key::{Key, KeyError};
use crate::names::is_dns_label;
use crate::request::Request;
use crate::resolution::{Resolution, SecretPlan, SecretRecipe, TlsRequest, Value};
use crate::resolve::selection::Selection;
use crate::surface::Surface;

/// What is known of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// It has no value, and that is fine.
    Absent,
    /// It has one.
    Known(Value),
    /// It was refused; what depends on it is not reported as well.
    Invalid,
}

/// One resolution in the making.
pub(super) struct Resolver<'a> {
    pub(super) surface: &'a Surface,
    pub(super) request: &'a Request<'a>,
    pub(super) errors: Vec<FieldError>,
    pub(super) uses_tls: bool,
    states: IndexMap<&'a Key, State>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(surface: &'a Surface, request: &'a Request<'a>) -> Self {
        Self { surface, request, errors: Vec::new(), uses_tls: false, states: IndexMap::new() }
    }

    pub(super) fn finish(self) -> Result<(), Vec<FieldError>> {
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors) }
    }

    pub(super) fn refuse(&mut self, key: &str, code: Code, message: impl Into<String>) -> State {
        self.errors.push(FieldError::option(key, code, message));
        State::Invalid
    }

    /// Refuses keys that no option has.
    pub(super) fn unknown_options(&mut self) {
        for key in self.request.options.keys() {
            match Key::new(key) {
                Err(
                    error @ (KeyError::UpperCase
                    | KeyError::Character
                    | KeyError::Edge
                    | KeyError::Empty
                    | KeyError::TooLong),
                ) => {
                    self.refuse(key, Code::InvalidKey, error.to_string());
                }
                Ok(_) if self.surface.option(key).is_none() => {
                    let settable = self.surface.options().filter(|declaration| declaration.is_settable());
                    let message = format!("unknown field: the service {:?} has no such option", self.request.service);
                    let error = FieldError::option(key, Code::UnknownField, message)
                        .allowing(settable.map(|declaration| declaration.key.to_string()));
                    self.errors.push(error);
                }
                Ok(_) => {}
            }
        }
    }

    /// Works out every option, in the label's order.
    pub(super) fn all_options(&mut self) {
        for key in self.surface.options.keys() {
            self.value_of(key);
        }
    }

    /// What is known of an option after [`Resolver::all_options`].
    pub(super) fn state(&self, key: &Key) -> &State {
        self.states.get(key).unwrap_or(&State::Absent)
    }

    /// The value of an option, worked out at the first call. The surface has no cycles.
    pub(super) fn value_of(&mut self, key: &Key) -> State {
        if let Some(state) = self.states.get(key) {
            return state.clone();
        }
        let Some((key, declaration)) = self.surface.options.get_key_value(key) else {
            return State::Absent;
        };
        let state = self.work_out(declaration);
        self.states.insert(key, state.clone());
        state
    }

    fn work_out(&mut self, declaration: &'a Declaration) -> State {
        let key = declaration.key.as_str();
        let request = self.request;
        let given = request.options.get(key);
        let unmet =
            declaration.requires.iter().map(|dependency| &dependency.value).find(|dependency| !self.is_met(dependency));
        match (given, unmet) {
            (Some(_), Some(dependency)) => {
                let wanted = dependency.to_string();
                let message = format!("only possible together with {}", wanted.trim_start_matches('*'));
                self.refuse(key, Code::UnmetRequirement, message)
            }
            (None, Some(_)) => State::Absent,
            (Some(value), None) => self.chosen(declaration, value),
            (None, None) => self.not_chosen(declaration),
        }
    }

    fn is_met(&mut self, dependency: &Dependency) -> bool {
        match self.value_of(&dependency.key) {
            State::Absent => false,
            State::Invalid => true,
            State::Known(value) => self.equals(&dependency.key, &value, dependency.equals.as_deref()),
        }
    }

    /// Compares an option's value; of a selected service its service counts, not the bundle's name.
    pub(super) fn equals(&self, key: &Key, value: &Value, wanted: Option<&str>) -> bool {
        let Some(wanted) = wanted else { return true };
        let Value::Literal(value) = value else { return false };
        let selects = self.surface.options.get(key).is_some_and(Declaration::is_binding);
        let value = if selects { Selection::parse(value).service } else { value };
        value == wanted
    }

    fn chosen(&mut self, declaration: &'a Declaration, value: &str) -> State {
        let key = declaration.key.as_str();
        if declaration.is_secret() {
            let message = format!(
                "generated, cannot be given: a value in the Bundle would be kept in clear; the Secret {}-profile holds it",
                self.request.bundle
            );
            return self.refuse(key, Code::NotSettable, message);
        }
        if !declaration.is_settable() {
            return self.refuse(key, Code::NotSettable, "made by the platform, cannot be given");
        }
        if self.accepts(declaration, value) {
            return State::Known(Value::Literal(value.to_owned()));
        }
        // `&mariadb` is how labels write the choice of a service; both forms are taken.
        if let Some(plain) = value.strip_prefix('&')
            && declaration.alternatives.iter().any(|alternative| self.selects(&alternative.value, plain))
        {
            return State::Known(Value::Literal(plain.to_owned()));
        }
        let described: Vec<&str> = declaration
            .alternatives
            .iter()
            .filter_map(|alternative| match alternative.value {
                Alternative::Open(kind) => Some(kind.describe()),
                _ => None,
            })
            .collect();
        let message = match described.as_slice() {
            [] => "not an accepted value".to_owned(),
            some => format!("not an accepted value; it takes {}", some.join(" or ")),
        };
        let error = FieldError::option(key, Code::InvalidValue, message).allowing(declaration.allowed());
        self.errors.push(error);
        State::Invalid
    }

    fn accepts(&mut self, declaration: &'a Declaration, value: &str) -> bool {
        declaration.alternatives.iter().any(|alternative| match &alternative.value {
            Alternative::Nothing | Alternative::Macro(_) => false,
            Alternative::Open(kind) => kind.accepts(value),
            selection @ Alternative::Service(_) => self.selects(selection, value),
            Alternative::Text(text) => match text.as_literal() {
                Some(literal) => literal == value,
                None => self.template(text) == State::Known(Value::Literal(value.to_owned())),
            },
        })
    }

    /// Whether the value selects the service that the alternative names.
    fn selects(&self, alternative: &Alternative, value: &str) -> bool {
        let Alternative::Service(service) = alternative else { return false };
        let selection = Selection::parse(value);
        selection.service == service && is_dns_label(selection.bundle) && selection.bundle != self.request.bundle
    }

    fn not_chosen(&mut self, declaration: &'a Declaration) -> State {
        let key = declaration.key.as_str();
        if declaration.rand().is_some() {
            return State::Known(Value::SecretRef(key.to_owned()));
        }
        if let Some(stored) = self.stored(declaration) {
            return State::Known(Value::Literal(stored));
        }
        match declaration.default_alternative() {
            None if declaration.optional => State::Absent,
            None => {
                let message = match declaration.about.as_deref() {
                    Some(about) => format!("required: {about}"),
                    None => "required".to_owned(),
                };
                let error = FieldError::option(key, Code::Required, message).allowing(declaration.allowed());
                self.errors.push(error);
                State::Invalid
            }
            Some(Alternative::Service(service)) => State::Known(Value::Literal(service.clone())),
            Some(Alternative::Macro(Macro::Dns)) => {
                let fact = self.request.facts.dns;
                self.fact(declaration, fact, "no resolver the workload could use is known (see /etc/resolv.conf)")
            }
            Some(Alternative::Macro(Macro::LocalIp)) => {
                let fact = self.request.facts.local_ip;
                self.fact(declaration, fact, "the host has no IPv4 address besides loopback")
            }
            Some(alternative) => match alternative.expression() {
                Some(expression) => self.expression(&expression),
                None => State::Absent,
            },
        }
    }

    /// The value of an earlier resolution, if it is one that stays (rule 4).
    fn stored(&mut self, declaration: &'a Declaration) -> Option<String> {
        let stored = self.request.profile.options.get(declaration.key.as_str())?;
        let stays = match declaration.default_alternative() {
            Some(Alternative::Macro(Macro::Dns | Macro::LocalIp)) => return Some(stored.clone()),
            Some(Alternative::Macro(_)) => false,
            Some(Alternative::Text(text)) => text.as_literal().is_some(),
            Some(Alternative::Service(_) | Alternative::Nothing | Alternative::Open(_)) | None => true,
        };
        (stays && self.accepts(declaration, stored)).then(|| stored.clone())
    }

    fn fact(&mut self, declaration: &Declaration, fact: Option<std::net::IpAddr>, missing: &str) -> State {
        match fact {
            Some(address) => State::Known(Value::Literal(address.to_string())),
            None if declaration.optional => State::Absent,
            None => self.refuse(declaration.key.as_str(), Code::MissingFact, missing),
        }
    }

    /// Splits what is known into options and secrets, in the label's order.
    pub(super) fn store(&self, resolution: &mut Resolution) {
        for (key, declaration) in &self.surface.options {
            match self.state(key) {
                State::Known(Value::Literal(value)) => {
                    resolution.options.insert(key.to_string(), value.clone());
                }
                State::Known(Value::SecretRef(_)) => {
                    if let Some((len, charset)) = declaration.rand() {
                        let plan = SecretPlan {
                            recipe: SecretRecipe::Random { len, charset: charset.clone() },
                            exists: self.request.profile.secrets.contains(key.as_str()),
                        };
                        resolution.secrets.insert(key.to_string(), plan);
                    }
                }
                State::Absent | State::Invalid => {}
            }
        }
    }

    /// The certificate to issue, if `!tls` was used anywhere.
    pub(super) fn tls_request(&self) -> Option<TlsRequest> {
        self.uses_tls.then(|| {
            let san = crate::names::service_names(self.request.bundle, self.request.namespace);
            TlsRequest { common_name: crate::names::service_host(self.request.bundle, self.request.namespace), san }
        })
    }
}
