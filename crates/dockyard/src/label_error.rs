//! Errors of labels, pointing at the place.

use std::fmt;

use crate::expr::Span;
use crate::grammar::SyntaxError;

/// Why an `io.nanocloud.options` label was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelError {
    /// Path in the label's JSON document, e.g. `options[3]` or `bindings.database[0].with.username`.
    pub path: String,
    /// The string at that path, when the error is inside one.
    pub text: Option<String>,
    /// Byte range in [`LabelError::text`].
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// What could stand there instead.
    pub expected: Vec<String>,
}

impl LabelError {
    pub(crate) fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), text: None, span: 0..0, message: message.into(), expected: Vec::new() }
    }

    pub(crate) fn inside(path: impl Into<String>, text: &str, span: Span, message: impl Into<String>) -> Self {
        Self { text: Some(text.to_owned()), span, ..Self::at(path, message) }
    }

    pub(crate) fn syntax(path: impl Into<String>, text: &str, error: SyntaxError) -> Self {
        Self { expected: error.expected, ..Self::inside(path, text, error.span, error.message) }
    }

    pub(crate) fn expecting(mut self, expected: impl IntoIterator<Item = String>) -> Self {
        self.expected = expected.into_iter().collect();
        self
    }

    /// One-based column of the first wrong character, when the error is inside a string.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        let text = self.text.as_ref()?;
        let before = text.get(..self.span.start).unwrap_or(text);
        Some(before.chars().count() + 1)
    }

    /// The string with a row of carets under the wrong part; empty when there is no string.
    #[must_use]
    pub fn excerpt(&self) -> String {
        let (Some(text), Some(column)) = (&self.text, self.column()) else {
            return String::new();
        };
        let width = text.get(self.span.clone()).map_or(1, |part| part.chars().count().max(1));
        format!("  {text}\n  {}{}", " ".repeat(column - 1), "^".repeat(width))
    }
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path)?;
        if let Some(column) = self.column() {
            write!(f, ", column {column}")?;
        }
        write!(f, ": {}", self.message)?;
        if !self.expected.is_empty() {
            write!(f, "; expected {}", self.expected.join(", "))?;
        }
        Ok(())
    }
}

impl std::error::Error for LabelError {}
