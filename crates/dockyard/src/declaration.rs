//! One option as the label declares it. The syntax tree and its printer.

use std::fmt;

use crate::expr::{Expression, Located, Macro, Template, write_word};
use crate::key::Key;
use crate::kind::Kind;

/// `?name=alternative|alternative *requires # about`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// `?`: may be absent.
    pub optional: bool,
    /// Its name.
    pub key: Key,
    /// The values it may have, the first being the default; never empty.
    pub alternatives: Vec<Located<Alternative>>,
    /// `*other[=value]`: only together with these.
    pub requires: Vec<Located<Dependency>>,
    /// `# text`: what it is for, one line.
    pub about: Option<String>,
}

/// One way for an option to have a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alternative {
    /// Empty, only as the first: there is no default although values are listed.
    Nothing,
    /// `&service`: a bundle of that service.
    Service(String),
    /// `!macro`: made by the platform.
    Macro(Macro),
    /// `<kind>`: the caller's choice.
    Open(Kind),
    /// This very value.
    Text(Template),
}

/// What must hold for an option to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The other option.
    pub key: Key,
    /// The value it must have; `None`: any.
    pub equals: Option<String>,
}

impl Declaration {
    /// True when the option is a generated secret.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.rand().is_some() || self.only_kind(Kind::Secret)
    }

    pub(crate) fn rand(&self) -> Option<(usize, &crate::Charset)> {
        match self.alternatives.as_slice() {
            [only] => match &only.value {
                Alternative::Macro(Macro::Rand { len, charset }) => Some((*len, charset)),
                _ => None,
            },
            _ => None,
        }
    }

    fn only_kind(&self, kind: Kind) -> bool {
        matches!(self.alternatives.as_slice(), [only] if only.value == Alternative::Open(kind))
    }

    /// The services the option can select; empty when it selects none.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.alternatives.iter().filter_map(|alternative| match &alternative.value {
            Alternative::Service(service) => Some(service.as_str()),
            _ => None,
        })
    }

    /// True when the option selects another service.
    #[must_use]
    pub fn is_binding(&self) -> bool {
        self.services().next().is_some()
    }

    /// True when the caller can choose a value at all.
    #[must_use]
    pub fn is_settable(&self) -> bool {
        self.alternatives
            .iter()
            .any(|alternative| !matches!(alternative.value, Alternative::Macro(_) | Alternative::Nothing))
    }

    /// How the default is made, if there is one.
    #[must_use]
    pub fn default_alternative(&self) -> Option<&Alternative> {
        match self.alternatives.first().map(|first| &first.value) {
            None | Some(Alternative::Nothing | Alternative::Open(_)) => None,
            Some(other) => Some(other),
        }
    }

    /// True when an install without it is refused.
    #[must_use]
    pub fn is_required(&self) -> bool {
        !self.optional && self.default_alternative().is_none()
    }

    /// The accepted values for people and error messages, e.g. `plain`, `mariadb`, `<port>`.
    #[must_use]
    pub fn allowed(&self) -> Vec<String> {
        self.alternatives
            .iter()
            .filter_map(|alternative| match &alternative.value {
                Alternative::Nothing | Alternative::Macro(_) => None,
                Alternative::Service(service) => Some(service.clone()),
                Alternative::Open(kind) => Some(format!("<{}>", kind.as_str())),
                Alternative::Text(template) => {
                    Some(template.as_literal().map_or_else(|| template.to_string(), str::to_owned))
                }
            })
            .collect()
    }
}

impl Alternative {
    /// The expression that makes the value, when the platform makes it.
    pub(crate) fn expression(&self) -> Option<Expression> {
        match self {
            Self::Macro(found) => Some(Expression::Macro(found.clone())),
            Self::Text(template) => Some(Expression::Template(template.clone())),
            Self::Nothing | Self::Service(_) | Self::Open(_) => None,
        }
    }
}

impl fmt::Display for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Service(service) => write!(f, "&{service}"),
            Self::Macro(found) => write!(f, "{found}"),
            Self::Open(kind) => write!(f, "<{}>", kind.as_str()),
            Self::Text(template) => write_word(f, template),
        }
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "*{}", self.key)?;
        if let Some(value) = &self.equals {
            f.write_str("=")?;
            write_word(f, &Template::literal(value))?;
        }
        Ok(())
    }
}

impl fmt::Display for Declaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}=", if self.optional { "?" } else { "" }, self.key)?;
        for (at, alternative) in self.alternatives.iter().enumerate() {
            if at > 0 {
                f.write_str("|")?;
            }
            write!(f, "{}", alternative.value)?;
        }
        for dependency in &self.requires {
            write!(f, " {}", dependency.value)?;
        }
        match &self.about {
            Some(about) => write!(f, " # {about}"),
            None => Ok(()),
        }
    }
}
