//! Requests as data, built without IO.

use bytes::Bytes;
use serde_json::Value;
use url::form_urlencoded;

use crate::error::Result;

/// A request, without server and credentials.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// HTTP method.
    pub method: &'static str,
    /// Path, percent-encoded, without the query.
    pub path: String,
    /// Parameters in order.
    pub query: Vec<(&'static str, String)>,
    /// Media type of the body.
    pub content_type: &'static str,
    /// JSON body.
    pub body: Option<Value>,
}

/// JSON.
pub const JSON: &str = "application/json";
/// Merge patch (RFC 7396).
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// Server-side apply; JSON is YAML.
pub const APPLY_PATCH: &str = "application/apply-patch+yaml";

impl Request {
    /// A request without body.
    pub fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: Vec::new(), content_type: JSON, body: None }
    }

    /// Reads.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    /// Creates, or acts.
    pub fn post(path: impl Into<String>, body: Value) -> Self {
        Self::new("POST", path).body(body)
    }

    /// Adds a parameter.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Adds a parameter that may be absent.
    #[must_use]
    pub fn maybe(self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Adds a flag when it is set.
    #[must_use]
    pub fn flag(self, name: &'static str, set: bool) -> Self {
        if set { self.query(name, "true") } else { self }
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// The request as the client sends it.
    pub fn http(&self) -> Result<http::Request<Bytes>> {
        let mut builder = http::Request::builder().method(self.method).uri(self.target());
        let mut bytes = Bytes::new();
        if let Some(body) = &self.body {
            builder = builder.header(http::header::CONTENT_TYPE, self.content_type);
            bytes = body.to_string().into();
        }
        builder.body(bytes).map_err(|error| client::Error::Request(error.to_string()).into())
    }

    /// Path and query, encoded.
    pub fn target(&self) -> String {
        if self.query.is_empty() {
            return self.path.clone();
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &self.query {
            query.append_pair(name, value);
        }
        format!("{}?{}", self.path, query.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded() {
        let request = Request::get("/x").query("labelSelector", "a in (b,c)").flag("watch", true).flag("no", false);
        assert_eq!(request.target(), "/x?labelSelector=a+in+%28b%2Cc%29&watch=true");
    }
}
