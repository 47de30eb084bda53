//! The parameters of a query. Pure.

use crate::api_error::{ApiError, Result};

/// The decoded parameters of a query, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        Self(url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// First value of a parameter; an empty one is the same as none.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Every value of a parameter.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    /// Whether a flag is set: `true`, `1`, or the bare name.
    pub(crate) fn flag(&self, name: &str) -> Result<bool> {
        let found = self.0.iter().find(|(key, _)| key == name);
        match found.map(|(_, value)| value.as_str()) {
            None | Some("false" | "0" | "False" | "f") => Ok(false),
            Some("true" | "1" | "True" | "t" | "") => Ok(true),
            Some(other) => Err(ApiError::bad_request(format!("{name}={other:?} must be true or false"))),
        }
    }

    /// A number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>> {
        let fail = |text: &str| ApiError::bad_request(format!("{name}={text:?} must be a whole number, not negative"));
        self.get(name).map(|text| text.parse().map_err(|_| fail(text))).transpose()
    }
}
