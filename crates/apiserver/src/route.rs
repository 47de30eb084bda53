//! What a request is about, read from method and path alone. Pure.

use api::{Kind, Kinds, meta::DEFAULT_NAMESPACE, review};
use http::Method;

use crate::endpoint::{Endpoints, Found};

/// A part of an object with an endpoint of its own, as far as a handler is concerned; which kinds have it is said by
/// [`Kind::subresources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subresource {
    Status,
    Scale,
    Finalize,
    Binding,
    Token,
    Log,
    Exec,
    Attach,
    PortForward,
}

impl Subresource {
    const ALL: [(&'static str, Self); 9] = [
        ("status", Self::Status),
        ("scale", Self::Scale),
        ("finalize", Self::Finalize),
        ("binding", Self::Binding),
        ("token", Self::Token),
        ("log", Self::Log),
        ("exec", Self::Exec),
        ("attach", Self::Attach),
        ("portforward", Self::PortForward),
    ];

    /// The name in URLs and in rules.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, this)| *this == self).map_or("", |(name, _)| name)
    }

    /// The part of a kind that has this name and a handler of its own.
    pub(crate) fn of(kind: &Kind, name: &str) -> Option<Self> {
        kind.subresources().find(|part| part.name == name)?;
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, this)| *this)
    }

    /// Whether it is a conversation with a running pod.
    pub(crate) fn is_session(self) -> bool {
        matches!(self, Self::Exec | Self::Attach | Self::PortForward)
    }
}

/// What a request is for.
#[derive(Clone, Debug)]
pub(crate) enum Route<'a> {
    /// A row of the table of endpoints.
    Endpoint(Found<'a>),
    /// All objects of a kind, or those of one namespace.
    Collection { kind: &'a Kind, namespace: Option<String> },
    /// One object, or a part of it.
    Object { kind: &'a Kind, namespace: Option<String>, name: String, subresource: Option<Subresource> },
}

impl<'a> Route<'a> {
    /// Reads method and percent-decoded path; nothing when there is no such endpoint.
    ///
    /// A row for the method comes before objects of a kind (`POST tokens/issue` is no object), and these before a row
    /// for other methods.
    pub(crate) fn parse(kinds: &'a Kinds, endpoints: &'a Endpoints, method: &Method, path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_end_matches('/').split('/').skip(1).collect();
        let row = |method| endpoints.find(&parts, method).filter(|found| is_served(kinds, found)).map(Self::Endpoint);
        row(Some(method)).or_else(|| of_kind(kinds, &parts)).or_else(|| row(None))
    }

    /// The kind whose objects it is for.
    pub(crate) fn kind(&self) -> Option<&'a Kind> {
        match self {
            Self::Endpoint(_) => None,
            Self::Collection { kind, .. } | Self::Object { kind, .. } => Some(kind),
        }
    }

    /// Methods that are served.
    pub(crate) fn methods(&self, endpoints: &Endpoints) -> Vec<Method> {
        match self {
            Self::Endpoint(found) => endpoints.methods(found.endpoint),
            Self::Collection { kind, namespace } => {
                // What is in namespaces is deleted namespace by namespace.
                let deletes = kind.facts().deletes_collection && (namespace.is_some() || !kind.is_namespaced());
                let all = [Method::GET, Method::POST, Method::DELETE];
                all.into_iter().filter(|method| deletes || method != Method::DELETE).collect()
            }
            Self::Object { subresource: None, .. } => vec![Method::GET, Method::PUT, Method::PATCH, Method::DELETE],
            Self::Object { kind, subresource: Some(part), .. } => {
                let facts = kind.subresources().find(|facts| facts.name == part.name());
                facts.iter().flat_map(|facts| facts.verbs).filter_map(|verb| method(verb)).collect()
            }
        }
    }
}

/// The method by which a verb of authorisation is asked for.
fn method(verb: &str) -> Option<Method> {
    match verb {
        "get" => Some(Method::GET),
        "create" => Some(Method::POST),
        "update" => Some(Method::PUT),
        "patch" => Some(Method::PATCH),
        "delete" => Some(Method::DELETE),
        _ => None,
    }
}

/// Groups and versions served, each once, in the order of the kinds and then of the reviews.
pub(crate) fn groups(kinds: &Kinds) -> Vec<(&str, &str)> {
    let of_kinds = kinds.iter().map(|kind| (kind.group(), kind.version()));
    let of_reviews = review::all().iter().map(|review| (review.group, review.version));
    let mut all = Vec::new();
    for pair in of_kinds.chain(of_reviews) {
        if !all.contains(&pair) {
            all.push(pair);
        }
    }
    all
}

/// Whether the group and version that a row's path names are served; rows without such parameters always are.
fn is_served(kinds: &Kinds, found: &Found<'_>) -> bool {
    let (group, version) = (found.params.get("group"), found.params.get("version"));
    let names_any = found.endpoint.parameters().any(|name| matches!(name, "group" | "version"));
    !names_any || groups(kinds).into_iter().any(|known| known.0 == group && (version.is_empty() || known.1 == version))
}

/// A collection or object of a kind.
fn of_kind<'a>(kinds: &'a Kinds, parts: &[&str]) -> Option<Route<'a>> {
    let (group, version, rest) = match *parts {
        ["api", version, ref rest @ ..] => ("", version, rest),
        ["apis", group, version, ref rest @ ..] if !group.is_empty() => (group, version, rest),
        _ => return None,
    };
    if rest.iter().any(|part| part.is_empty()) {
        return None;
    }
    let find = |plural: &str| kinds.get(group, version, plural);
    match *rest {
        ["namespaces", namespace, plural, ref tail @ ..] if find(plural).is_some_and(Kind::is_namespaced) => {
            resource(find(plural)?, Some(namespace), tail)
        }
        [plural, ref tail @ ..] => resource(find(plural)?, None, tail),
        [] => None,
    }
}

fn resource<'a>(kind: &'a Kind, namespace: Option<&str>, tail: &[&str]) -> Option<Route<'a>> {
    let (name, subresource) = match *tail {
        [] => return Some(Route::Collection { kind, namespace: namespace.map(str::to_owned) }),
        [name] => (name, None),
        [name, part] => (name, Some(Subresource::of(kind, part)?)),
        _ => return None,
    };
    let namespace = match (kind.is_namespaced(), namespace, subresource) {
        (true, None, Some(Subresource::Log | Subresource::Exec)) => Some(DEFAULT_NAMESPACE),
        (true, None, _) => return None,
        (_, namespace, _) => namespace,
    };
    Some(Route::Object { kind, namespace: namespace.map(str::to_owned), name: name.to_owned(), subresource })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;

    fn shape(method: &Method, path: &str) -> String {
        let own = |method, path, resource, part| {
            Endpoint::of_resource(method, path, ("nanocloud.io", resource, part)).does(part, "")
        };
        let endpoints = Endpoints::new(vec![
            Endpoint::of_path("/apis/{group}").does("group", ""),
            Endpoint::of_path("/apis/{group}/{version}").does("resources", ""),
            own(Method::POST, "/apis/nanocloud.io/v1/tokens/issue", "tokens", "issue"),
            own(Method::POST, "/apis/nanocloud.io/v1/members/{name}/lead", "members", "lead"),
        ]);
        match Route::parse(&Kinds::builtin(), &endpoints, method, path) {
            None => "none".into(),
            Some(Route::Collection { kind, namespace }) => format!("{} in {namespace:?}", kind.plural()),
            Some(Route::Object { kind, namespace, name, subresource }) => {
                format!("{} {namespace:?} {name} {subresource:?}", kind.plural())
            }
            Some(Route::Endpoint(found)) => format!("{} {}", found.endpoint.operation, found.params.get("name")),
        }
    }

    #[test]
    fn paths_name_their_endpoint() {
        for (path, wanted) in [
            ("/apis/apps", "group "),
            ("/apis/apps/v1", "resources "),
            ("/apis/odd", "none"),
            ("/apis/apps/v2", "none"),
            ("/api/v1/pods", "pods in None"),
            ("/api/v1/namespaces/a/pods", r#"pods in Some("a")"#),
            ("/api/v1/namespaces/a", "namespaces None a None"),
            ("/api/v1/namespaces/a/finalize", "namespaces None a Some(Finalize)"),
            ("/api/v1/namespaces/a/status", "namespaces None a Some(Status)"),
            ("/api/v1/namespaces/a/pods/p/log", r#"pods Some("a") p Some(Log)"#),
            ("/api/v1/namespaces/a/pods/p/binding", r#"pods Some("a") p Some(Binding)"#),
            ("/api/v1/namespaces/a/services/s/binding", "none"),
            ("/api/v1/pods/p/exec", r#"pods Some("default") p Some(Exec)"#),
            ("/api/v1/pods/p", "none"),
            ("/api/v1/namespaces/a/configmaps/c/status", "none"),
            ("/apis/apps/v1/namespaces/a/statefulsets/s/scale", r#"statefulsets Some("a") s Some(Scale)"#),
            ("/apis/nanocloud.io/v1/namespaces/a/bundles/b/actions", "none"),
            ("/api/v1/nodes/n", "nodes None n None"),
            ("/api/v1/namespaces/a/nodes/n", "none"),
            ("/api/v2/pods", "none"),
            ("/apis//v1/pods", "none"),
            ("/apis/nanocloud.io/v1/tokens/issue", "tokens None issue None"),
            ("/apis/nanocloud.io/v1/members/b/lead", "lead b"),
            ("/apis/nanocloud.io/v1/members/b/vote", "none"),
            ("/apis/apps/v1/keyspace", "none"),
            ("/nothing", "none"),
            ("/", "none"),
        ] {
            assert_eq!(shape(&Method::GET, path), wanted, "{path}");
        }
        assert_eq!(shape(&Method::POST, "/apis/nanocloud.io/v1/tokens/issue"), "issue ");
    }
}
