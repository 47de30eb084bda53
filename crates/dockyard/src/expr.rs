//! Templates and macros: how a value is made. The syntax tree and its printer.

use std::fmt;
use std::ops::Range;

use crate::charset::Charset;
use crate::key::Key;

/// Byte range inside one string of the label.
pub type Span = Range<usize>;

/// A node with the place it was read from. Two nodes are equal when their values are.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// The node.
    pub value: T,
    /// Where it stood.
    pub span: Span,
}

impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Located<T> {}

/// A fact about the bundle itself: `${self host}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelfFact {
    /// `metadata.name`.
    Bundle,
    /// `spec.service`.
    Service,
    /// `metadata.namespace`.
    Namespace,
    /// Fully qualified DNS name of its Service.
    Host,
}

impl SelfFact {
    pub(crate) const ALL: [(&'static str, Self); 4] =
        [("bundle", Self::Bundle), ("service", Self::Service), ("namespace", Self::Namespace), ("host", Self::Host)];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, fact)| *fact == self).map_or("", |(word, _)| word)
    }
}

/// A fact about the bundle that a `&` option selected: `${peer database host}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerFact {
    /// Its `metadata.name`.
    Bundle,
    /// Its `spec.service`.
    Service,
    /// Fully qualified DNS name of its Service.
    Host,
    /// Number of the first port of its label.
    Port,
    /// The value of one of its options.
    Option(Key),
}

/// Something a template is filled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// `${name}`: the value of an option; for a secret the secret itself.
    Option(Key),
    /// `${file name}`: the path of the file that holds a secret.
    File(Key),
    /// `${self fact}`.
    Itself(SelfFact),
    /// `${peer option fact}`.
    Peer(Key, PeerFact),
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Text as it is.
    Text(String),
    /// Replaced at resolution.
    Reference(Located<Reference>),
}

/// Text with references. Adjacent texts are merged and empty ones left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template(pub(crate) Vec<Segment>);

impl Template {
    /// A template without references.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        let segments = if text.is_empty() { Vec::new() } else { vec![Segment::Text(text.to_owned())] };
        Self(segments)
    }

    /// The pieces.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The text, when there is no reference in it.
    #[must_use]
    pub fn as_literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Segment::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The only reference, when there is nothing else.
    #[must_use]
    pub fn as_reference(&self) -> Option<&Reference> {
        match self.0.as_slice() {
            [Segment::Reference(reference)] => Some(&reference.value),
            _ => None,
        }
    }

    pub(crate) fn references(&self) -> impl Iterator<Item = &Located<Reference>> {
        self.0.iter().filter_map(|segment| match segment {
            Segment::Reference(reference) => Some(reference),
            Segment::Text(_) => None,
        })
    }
}

/// Part of the service's TLS material.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsPart {
    /// The private key.
    Key,
    /// The certificate chain.
    Cert,
    /// The authority that peers are verified with.
    Ca,
}

impl TlsPart {
    pub(crate) const ALL: [(&'static str, Self, &'static str); 3] =
        [("key", Self::Key, "tls.key"), ("cert", Self::Cert, "tls.crt"), ("ca", Self::Ca, "ca.crt")];

    fn entry(self) -> &'static (&'static str, Self, &'static str) {
        Self::ALL.iter().find(|(_, part, _)| *part == self).unwrap_or(&Self::ALL[0])
    }

    /// Path of the file in the container.
    #[must_use]
    pub fn path(self) -> String {
        format!("{}/{}", crate::TLS_DIR, self.entry().2)
    }
}

/// A value made by the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Macro {
    /// `!dns`: the first resolver of the host.
    Dns,
    /// `!local_ip`: the first non-loopback IPv4 address of the host.
    LocalIp,
    /// `!rand <len> <charset>`: a generated secret.
    Rand {
        /// Characters, 1 to [`crate::MAX_RANDOM_LEN`].
        len: usize,
        /// Alphabet.
        charset: Charset,
    },
    /// `!tls <part>`: path of a TLS file; asks for a certificate.
    Tls(TlsPart),
    /// `!if key[=value] then else`.
    If(Box<Condition>),
}

/// The parts of `!if`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The option that decides.
    pub key: Located<Key>,
    /// The value it must have; `None`: it has any.
    pub equals: Option<String>,
    /// Taken when it holds.
    pub then: Expression,
    /// Taken otherwise.
    pub otherwise: Expression,
}

/// How a value is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// Text with references.
    Template(Template),
    /// A macro.
    Macro(Macro),
}

// === printing ===

/// Characters that end a bare word or have a meaning at its start.
pub(crate) fn needs_quotes(text: &str) -> bool {
    text.is_empty()
        || text.starts_with(['!', '&', '<', '*', '#', '?'])
        || text.contains(|c: char| c.is_whitespace() || matches!(c, '|' | '(' | ')' | '"' | '\\'))
}

/// Prints a literal as one word, quoted when it has to be.
pub(crate) fn write_word(f: &mut fmt::Formatter<'_>, template: &Template) -> fmt::Result {
    let quoted = template.0.is_empty()
        || template.0.iter().enumerate().any(|(at, segment)| match segment {
            Segment::Text(text) if at == 0 => needs_quotes(text),
            Segment::Text(text) => needs_quotes(&format!("x{text}")),
            Segment::Reference(_) => false,
        });
    if !quoted {
        return write!(f, "{template}");
    }
    f.write_str("\"")?;
    for segment in &template.0 {
        match segment {
            Segment::Text(text) => {
                let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$");
                f.write_str(&text)?;
            }
            Segment::Reference(reference) => write!(f, "{}", reference.value)?,
        }
    }
    f.write_str("\"")
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.0 {
            match segment {
                Segment::Text(text) => f.write_str(&text.replace('$', "$$"))?,
                Segment::Reference(reference) => write!(f, "{}", reference.value)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(key) => write!(f, "${{{key}}}"),
            Self::File(key) => write!(f, "${{file {key}}}"),
            Self::Itself(fact) => write!(f, "${{self {}}}", fact.word()),
            Self::Peer(key, fact) => {
                write!(f, "${{peer {key} ")?;
                match fact {
                    PeerFact::Bundle => f.write_str("bundle}"),
                    PeerFact::Service => f.write_str("service}"),
                    PeerFact::Host => f.write_str("host}"),
                    PeerFact::Port => f.write_str("port}"),
                    PeerFact::Option(option) => write!(f, "option {option}}}"),
                }
            }
        }
    }
}

impl fmt::Display for Macro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns => f.write_str("!dns"),
            Self::LocalIp => f.write_str("!local_ip"),
            Self::Rand { len, charset } => write!(f, "!rand {len} {charset}"),
            Self::Tls(part) => write!(f, "!tls {}", part.entry().0),
            Self::If(condition) => {
                write!(f, "!if {}", condition.key.value)?;
                if let Some(value) = &condition.equals {
                    f.write_str("=")?;
                    write_word(f, &Template::literal(value))?;
                }
                for operand in [&condition.then, &condition.otherwise] {
                    f.write_str(" ")?;
                    match operand {
                        Expression::Template(template) => write_word(f, template)?,
                        Expression::Macro(nested) => write!(f, "({nested})")?,
                    }
                }
                Ok(())
            }
        }
    }
}

/// Prints the form used for whole strings (`env`, `with`), not that of a word.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Macro(nested) => write!(f, "{nested}"),
            Self::Template(template) => {
                let bang = matches!(template.0.first(), Some(Segment::Text(text)) if text.starts_with(['!', '\\']));
                if bang {
                    f.write_str("\\")?;
                }
                write!(f, "{template}")
            }
        }
    }
}
