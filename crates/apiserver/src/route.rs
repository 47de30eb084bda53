//! What a request is about, read from method and path alone. Pure.

use api::{
    Kind, kinds,
    meta::DEFAULT_NAMESPACE,
    review::{self, Review},
};
use http::Method;

/// A part of an object with an endpoint of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subresource {
    Status,
    Scale,
    Finalize,
    Binding,
    Log,
    Exec,
    Attach,
    PortForward,
}

impl Subresource {
    const ALL: [(&'static str, Self); 8] = [
        ("status", Self::Status),
        ("scale", Self::Scale),
        ("finalize", Self::Finalize),
        ("binding", Self::Binding),
        ("log", Self::Log),
        ("exec", Self::Exec),
        ("attach", Self::Attach),
        ("portforward", Self::PortForward),
    ];

    /// The name in URLs and in rules.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, this)| *this == self).map_or("", |(name, _)| name)
    }

    fn of(kind: &Kind, name: &str) -> Option<Self> {
        let (_, found) = Self::ALL.iter().find(|(known, _)| *known == name)?;
        let served = match found {
            Self::Status => kind.has_status,
            Self::Scale => kind.kind == "StatefulSet",
            Self::Finalize => kind.kind == "Namespace",
            Self::Binding | Self::Log | Self::Exec | Self::Attach | Self::PortForward => kind.kind == "Pod",
        };
        served.then_some(*found)
    }

    /// Whether it is a conversation with a running pod.
    pub(crate) fn is_session(self) -> bool {
        matches!(self, Self::Exec | Self::Attach | Self::PortForward)
    }
}

/// What can be done to a bundle as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Start,
    Stop,
    Restart,
    Uninstall,
}

/// What there is to the keyspace itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyspacePart {
    Status,
    Snapshot,
    Compact,
    Defragment,
    Alarms,
}

impl KeyspacePart {
    const ALL: [(&'static str, Self); 5] = [
        ("", Self::Status),
        ("snapshot", Self::Snapshot),
        ("compact", Self::Compact),
        ("defragment", Self::Defragment),
        ("alarms", Self::Alarms),
    ];

    /// The name in URLs and in rules.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, this)| *this == self).map_or("", |(name, _)| name)
    }

    fn of(parts: &[&str]) -> Option<Self> {
        let name = match *parts {
            ["keyspace"] => "",
            ["keyspace", name] => name,
            _ => return None,
        };
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, this)| *this)
    }
}

/// What can be done to a member of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberAction {
    Promote,
    Remove,
    Lead,
}

impl MemberAction {
    /// The name in URLs and in rules.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Remove => "remove",
            Self::Lead => "lead",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Promote, Self::Remove, Self::Lead].into_iter().find(|action| action.name() == name)
    }
}

/// Health endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    Health,
    Live,
    Ready,
}

/// The endpoint a request is for.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    Paths,
    CoreVersions,
    Groups,
    Group(&'static str),
    Resources { group: &'static str, version: &'static str },
    ServerVersion,
    Probe(Probe),
    Metrics,
    OpenApiV2,
    OpenApiIndex,
    OpenApi { group: &'static str, version: &'static str },
    Collection { kind: &'static Kind, namespace: Option<String> },
    Object { kind: &'static Kind, namespace: Option<String>, name: String, subresource: Option<Subresource> },
    BundleAction { kind: &'static Kind, namespace: String, name: String, action: Action },
    Review(&'static Review),
    Keyspace(KeyspacePart),
    IssueToken,
    ExchangeToken,
    SignCertificate,
    Members { status: bool },
    JoinMember,
    ChangeMember { name: String, action: MemberAction },
}

impl Route {
    /// Reads method and percent-decoded path; nothing when there is no such endpoint.
    pub(crate) fn parse(method: &Method, path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_end_matches('/').split('/').skip(1).collect();
        match parts[..] {
            [] => Some(Self::Paths),
            ["api"] => Some(Self::CoreVersions),
            ["apis"] => Some(Self::Groups),
            ["version"] => Some(Self::ServerVersion),
            ["healthz"] => Some(Self::Probe(Probe::Health)),
            ["livez"] => Some(Self::Probe(Probe::Live)),
            ["readyz"] => Some(Self::Probe(Probe::Ready)),
            ["metrics"] => Some(Self::Metrics),
            ["openapi", "v2"] => Some(Self::OpenApiV2),
            ["openapi", "v3"] => Some(Self::OpenApiIndex),
            ["openapi", "v3", "api", version] => open_api("", version),
            ["openapi", "v3", "apis", group, version] => open_api(group, version),
            ["api", version, ref rest @ ..] => in_group(method, "", version, rest),
            ["apis", group] => {
                groups().find(|(known, _)| *known == group && !group.is_empty()).map(|(g, _)| Self::Group(g))
            }
            ["apis", group, version, ref rest @ ..] if !group.is_empty() => in_group(method, group, version, rest),
            _ => None,
        }
    }

    /// Methods the endpoint takes.
    pub(crate) fn methods(&self) -> &'static [Method] {
        const READ: &[Method] = &[Method::GET];
        const POST: &[Method] = &[Method::POST];
        match self {
            // Namespaces go one by one, and what is in them goes namespace by namespace.
            Self::Collection { kind, namespace }
                if (kind.is_namespaced() && namespace.is_none()) || kind.kind == "Namespace" =>
            {
                &[Method::GET, Method::POST]
            }
            Self::Collection { .. } => &[Method::GET, Method::POST, Method::DELETE],
            Self::Object { subresource: None, .. } => &[Method::GET, Method::PUT, Method::PATCH, Method::DELETE],
            Self::Object { subresource: Some(sub), .. } => match sub {
                Subresource::Status | Subresource::Scale => &[Method::GET, Method::PUT, Method::PATCH],
                Subresource::Finalize => &[Method::PUT],
                Subresource::Binding => POST,
                Subresource::Log => READ,
                Subresource::Exec | Subresource::Attach | Subresource::PortForward => &[Method::GET, Method::POST],
            },
            Self::Keyspace(KeyspacePart::Alarms) => &[Method::GET, Method::DELETE],
            Self::Keyspace(KeyspacePart::Compact | KeyspacePart::Defragment) => POST,
            Self::BundleAction { .. } | Self::IssueToken | Self::ExchangeToken | Self::SignCertificate => POST,
            Self::JoinMember | Self::ChangeMember { .. } | Self::Review(_) => POST,
            _ => READ,
        }
    }
}

/// Groups and versions served, each once, in the order of the kinds and then of the reviews.
pub(crate) fn groups() -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = || {
        let kinds = kinds::all().iter().map(|kind| (kind.group, kind.version));
        kinds.chain(review::all().iter().map(|review| (review.group, review.version)))
    };
    all()
        .enumerate()
        .filter(move |(index, pair)| !all().take(*index).any(|earlier| earlier == *pair))
        .map(|(_, pair)| pair)
}

fn open_api(group: &str, version: &str) -> Option<Route> {
    let (group, version) = groups().find(|pair| *pair == (group, version))?;
    Some(Route::OpenApi { group, version })
}

fn in_group(method: &Method, group: &str, version: &str, rest: &[&str]) -> Option<Route> {
    let (group, version) = groups().find(|pair| *pair == (group, version))?;
    if rest.iter().any(|part| part.is_empty()) {
        return None;
    }
    let find = |plural: &str| {
        kinds::all().iter().find(|kind| (kind.group, kind.version, kind.plural) == (group, version, plural))
    };
    if group == crate::api_error::OWN_GROUP
        && let Some(part) = KeyspacePart::of(rest)
    {
        return Some(Route::Keyspace(part));
    }
    if group == crate::api_error::OWN_GROUP && method == Method::GET {
        match rest {
            ["members"] => return Some(Route::Members { status: false }),
            ["members", "status"] => return Some(Route::Members { status: true }),
            _ => {}
        }
    }
    if group == crate::api_error::OWN_GROUP && method == Method::POST {
        match rest {
            ["members", "join"] => return Some(Route::JoinMember),
            ["members", name, action] => {
                return Some(Route::ChangeMember { name: (*name).to_owned(), action: MemberAction::parse(action)? });
            }
            ["tokens", "issue"] => return Some(Route::IssueToken),
            ["tokens", "exchange"] => return Some(Route::ExchangeToken),
            ["certificates"] => return Some(Route::SignCertificate),
            ["namespaces", namespace, "bundles", name, "actions", action] => {
                let action = match *action {
                    "start" => Action::Start,
                    "stop" => Action::Stop,
                    "restart" => Action::Restart,
                    "uninstall" => Action::Uninstall,
                    _ => return None,
                };
                let (namespace, name) = ((*namespace).to_owned(), (*name).to_owned());
                return Some(Route::BundleAction { kind: find("bundles")?, namespace, name, action });
            }
            _ => {}
        }
    }
    let reviews = || review::all().iter().filter(|review| (review.group, review.version) == (group, version));
    match *rest {
        [] => Some(Route::Resources { group, version }),
        [plural] if reviews().any(|review| review.plural == plural) => {
            reviews().find(|review| review.plural == plural).map(Route::Review)
        }
        ["namespaces", namespace, plural, ref tail @ ..] if find(plural).is_some_and(Kind::is_namespaced) => {
            resource(find(plural)?, Some(namespace), tail)
        }
        [plural, ref tail @ ..] => resource(find(plural)?, None, tail),
    }
}

fn resource(kind: &'static Kind, namespace: Option<&str>, tail: &[&str]) -> Option<Route> {
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

    fn shape(method: &Method, path: &str) -> String {
        match Route::parse(method, path) {
            None => "none".into(),
            Some(Route::Collection { kind, namespace }) => format!("{} in {namespace:?}", kind.plural),
            Some(Route::Object { kind, namespace, name, subresource }) => {
                format!("{} {namespace:?} {name} {subresource:?}", kind.plural)
            }
            Some(Route::BundleAction { namespace, name, action, .. }) => format!("{action:?} {namespace}/{name}"),
            Some(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn paths_name_their_endpoint() {
        for (path, wanted) in [
            ("/api", "CoreVersions"),
            ("/apis/", "Groups"),
            ("/apis/apps", r#"Group("apps")"#),
            ("/apis/apps/v1", r#"Resources { group: "apps", version: "v1" }"#),
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
            ("/api/v1/nodes/n", "nodes None n None"),
            ("/api/v1/namespaces/a/nodes/n", "none"),
            ("/api/v2/pods", "none"),
            ("/apis//v1/pods", "none"),
            ("/apis/nanocloud.io/v1/tokens/issue", "tokens None issue None"),
            ("/apis/nanocloud.io/v1/keyspace", "Keyspace(Status)"),
            ("/apis/nanocloud.io/v1/keyspace/snapshot", "Keyspace(Snapshot)"),
            ("/apis/nanocloud.io/v1/keyspace/other", "none"),
            ("/apis/apps/v1/keyspace", "none"),
            ("/openapi/v3/apis/apps/v1", r#"OpenApi { group: "apps", version: "v1" }"#),
            ("/nothing", "none"),
            ("/", "Paths"),
        ] {
            assert_eq!(shape(&Method::GET, path), wanted, "{path}");
        }
        assert_eq!(shape(&Method::POST, "/apis/nanocloud.io/v1/tokens/issue"), "IssueToken");
        let action = "/apis/nanocloud.io/v1/namespaces/d/bundles/b/actions/stop";
        assert_eq!(shape(&Method::POST, action), "Stop d/b");
        assert_eq!(shape(&Method::GET, action), "none");
        let members = "/apis/nanocloud.io/v1/members";
        assert_eq!(shape(&Method::GET, members), "Members { status: false }");
        assert_eq!(shape(&Method::GET, &format!("{members}/status")), "Members { status: true }");
        assert_eq!(shape(&Method::POST, &format!("{members}/join")), "JoinMember");
        let lead = shape(&Method::POST, &format!("{members}/b/lead"));
        assert_eq!(lead, r#"ChangeMember { name: "b", action: Lead }"#);
        assert_eq!(shape(&Method::POST, &format!("{members}/b/vote")), "none");
    }
}
