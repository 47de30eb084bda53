//! Refusals that point at a field of the caller's object.

use std::fmt;

/// Why a field was refused. Stable: clients may match on [`Code::as_str`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The service has no such option.
    UnknownField,
    /// The key is not a valid option key (see [`crate::Key`]).
    InvalidKey,
    /// The value is not one of those the option accepts.
    InvalidValue,
    /// A required option was not given and has no default.
    Required,
    /// The option is only allowed together with another one.
    UnmetRequirement,
    /// The option is computed or generated and cannot be chosen by the caller.
    NotSettable,
    /// The option selects a bundle that is not installed in the namespace.
    MissingBundle,
    /// The selected bundle cannot do what the service asks of it.
    IncompatibleBundle,
    /// A fact of the host that a macro needs is not known.
    MissingFact,
    /// More options, or longer values, than the documented limits.
    LimitExceeded,
}

impl Code {
    /// The stable spelling, e.g. `UnknownField`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownField => "UnknownField",
            Self::InvalidKey => "InvalidKey",
            Self::InvalidValue => "InvalidValue",
            Self::Required => "Required",
            Self::UnmetRequirement => "UnmetRequirement",
            Self::NotSettable => "NotSettable",
            Self::MissingBundle => "MissingBundle",
            Self::IncompatibleBundle => "IncompatibleBundle",
            Self::MissingFact => "MissingFact",
            Self::LimitExceeded => "LimitExceeded",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One refusal. [`crate::resolve`] returns all of them at once, in a stable order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field in the Bundle, e.g. `spec.options.database`.
    pub field: String,
    /// Why.
    pub code: Code,
    /// One sentence for people: what is wrong and what to do. Never holds a secret.
    pub message: String,
    /// Values that would have been accepted; empty when they cannot be listed.
    pub allowed: Vec<String>,
}

impl FieldError {
    /// A refusal of `spec.options.<key>`.
    pub(crate) fn option(key: &str, code: Code, message: impl Into<String>) -> Self {
        Self { field: format!("spec.options.{key}"), code, message: message.into(), allowed: Vec::new() }
    }

    /// Adds the values that would have been accepted.
    #[must_use]
    pub(crate) fn allowing(mut self, allowed: impl IntoIterator<Item = String>) -> Self {
        self.allowed = allowed.into_iter().collect();
        self
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)?;
        if !self.allowed.is_empty() {
            write!(f, " (allowed: {})", self.allowed.join(", "))?;
        }
        Ok(())
    }
}
