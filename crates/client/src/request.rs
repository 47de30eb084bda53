//! Requests as values: URLs, methods and bodies, without sending anything.

use api::{Kind, Resource, Scope};
use bytes::Bytes;
use http::{Method, Request, header::CONTENT_TYPE};
use serde::Serialize;
use url::form_urlencoded;

use crate::{Error, Result};

/// Media type of a JSON merge patch (RFC 7386).
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";
const JSON: &str = "application/json";

/// Where objects of a kind are: the whole cluster, or one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    base: String,
}

impl Target {
    /// The objects of `R` in a namespace, or in all when `namespace` is `None`.
    pub fn of<R: Resource>(namespace: Option<&str>) -> Self {
        Self::of_kind(&Kind::of::<R>(), namespace)
    }

    /// The objects of a kind in a namespace, or in all when `namespace` is `None`.
    pub fn of_kind(kind: &Kind, namespace: Option<&str>) -> Self {
        let group = if kind.group().is_empty() { "/api".to_owned() } else { format!("/apis/{}", kind.group()) };
        let namespace = match (kind.facts().scope, namespace) {
            (Scope::Namespaced, Some(name)) => format!("/namespaces/{}", segment(name)),
            _ => String::new(),
        };
        Self { base: format!("{group}/{}{namespace}/{}", kind.version(), kind.plural()) }
    }

    /// Path of all of them.
    pub fn collection(&self) -> &str {
        &self.base
    }

    /// Path of one.
    pub fn object(&self, name: &str) -> String {
        format!("{}/{}", self.base, segment(name))
    }

    /// Path of a subresource of one, such as `status`.
    pub fn subresource(&self, name: &str, subresource: &str) -> String {
        format!("{}/{subresource}", self.object(name))
    }
}

/// A name as one segment of a path.
fn segment(name: &str) -> String {
    form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A request without a body.
pub(crate) fn plain(method: Method, path: &str, query: &[(&str, String)]) -> Result<Request<Bytes>> {
    build(method, path, query, None, Bytes::new())
}

/// A request with a JSON body.
pub(crate) fn json(
    method: Method,
    path: &str,
    query: &[(&str, String)],
    body: &impl Serialize,
) -> Result<Request<Bytes>> {
    let body = serde_json::to_vec(body).map_err(|error| Error::Request(error.to_string()))?;
    build(method, path, query, Some(JSON), body.into())
}

/// A merge patch.
pub(crate) fn patch(path: &str, query: &[(&str, String)], body: &impl Serialize) -> Result<Request<Bytes>> {
    let body = serde_json::to_vec(body).map_err(|error| Error::Request(error.to_string()))?;
    build(Method::PATCH, path, query, Some(MERGE_PATCH), body.into())
}

fn build(
    method: Method,
    path: &str,
    query: &[(&str, String)],
    media: Option<&str>,
    body: Bytes,
) -> Result<Request<Bytes>> {
    let mut uri = path.to_owned();
    if !query.is_empty() {
        let pairs = query.iter().map(|(name, value)| (*name, value.as_str()));
        uri = format!("{uri}?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish());
    }
    let mut request = Request::builder().method(method).uri(uri).header(http::header::ACCEPT, JSON);
    if let Some(media) = media {
        request = request.header(CONTENT_TYPE, media);
    }
    request.body(body).map_err(|error| Error::Request(error.to_string()))
}

#[cfg(test)]
mod tests {
    use api::kinds::{Bundle, Node, Pod};

    use super::*;

    #[test]
    fn paths_follow_the_kubernetes_api() {
        assert_eq!(Target::of::<Pod>(Some("a")).object("x"), "/api/v1/namespaces/a/pods/x");
        assert_eq!(Target::of::<Pod>(None).collection(), "/api/v1/pods");
        assert_eq!(Target::of::<Node>(Some("ignored")).object("n"), "/api/v1/nodes/n");
        let bundles = Target::of::<Bundle>(Some("a"));
        assert_eq!(bundles.subresource("x", "status"), "/apis/nanocloud.io/v1/namespaces/a/bundles/x/status");
    }

    #[test]
    fn names_cannot_leave_their_segment() {
        assert_eq!(Target::of::<Pod>(Some("a")).object("../x y"), "/api/v1/namespaces/a/pods/..%2Fx%20y");
    }

    #[test]
    fn queries_are_encoded() {
        let request = plain(Method::GET, "/x", &[("labelSelector", "a in (b, c)".into())]).unwrap();
        assert_eq!(request.uri(), "/x?labelSelector=a+in+%28b%2C+c%29");
    }
}
