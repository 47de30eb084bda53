//! Discovery: which groups, versions and resources there are. Read from the kinds alone.

use std::collections::BTreeSet;

use api::{
    Kind, kinds,
    review::{self, Review},
};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    api_error::{OWN_GROUP, Result, not_acceptable},
    query::negotiate::{self, DiscoveryFormat},
    request::{context::RequestContext, response},
    route,
};

const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Verbs of namespaces, which are deleted one by one.
const NAMESPACE_VERBS: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];

fn verbs(kind: &Kind) -> &'static [&'static str] {
    if kind.kind == "Namespace" { NAMESPACE_VERBS } else { VERBS }
}

/// Verbs of reviews.
const ASKED: &[&str] = &["create"];

/// A part of a kind with an endpoint of its own.
struct Part {
    name: &'static str,
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
}

/// The subresources of a kind.
fn parts(kind: &Kind) -> Vec<Part> {
    let own = |name, verbs| Part { name, group: kind.group, version: kind.version, kind: kind.kind, verbs };
    let mut all = Vec::new();
    if kind.has_status {
        all.push(own("status", &["get", "patch", "update"][..]));
    }
    match kind.kind {
        "Pod" => {
            all.push(Part { kind: "Binding", ..own("binding", &["create"]) });
            all.push(own("log", &["get"]));
            for (name, kind) in
                [("exec", "PodExecOptions"), ("attach", "PodAttachOptions"), ("portforward", "PodPortForwardOptions")]
            {
                all.push(Part { kind, ..own(name, &["create", "get"]) });
            }
        }
        "Namespace" => all.push(own("finalize", &["update"])),
        "StatefulSet" => all.push(Part {
            name: "scale",
            group: "autoscaling",
            version: "v1",
            kind: "Scale",
            verbs: &["get", "patch", "update"],
        }),
        "Bundle" => all.push(own("actions", &["create"])),
        _ => {}
    }
    all
}

/// Group, resource, subresource and verbs of an endpoint, in the words of authorisation.
pub(crate) type Endpoint = (&'static str, &'static str, &'static str, &'static [&'static str]);

/// The endpoints of a kind.
pub(crate) fn endpoints(kind: &'static Kind) -> impl Iterator<Item = Endpoint> {
    let parts = parts(kind).into_iter().map(|part| (kind.group, kind.plural, part.name, part.verbs));
    [(kind.group, kind.plural, "", verbs(kind))].into_iter().chain(parts)
}

/// Endpoints that belong to no kind that is stored.
pub(crate) fn other_endpoints() -> impl Iterator<Item = Endpoint> {
    const OURS: [Endpoint; 13] = [
        (OWN_GROUP, "certificates", "", &["create"]),
        (OWN_GROUP, "keyspace", "", &["get"]),
        (OWN_GROUP, "keyspace", "alarms", &["delete", "get"]),
        (OWN_GROUP, "keyspace", "compact", &["create"]),
        (OWN_GROUP, "keyspace", "defragment", &["create"]),
        (OWN_GROUP, "keyspace", "snapshot", &["get"]),
        (OWN_GROUP, "members", "", &["get"]),
        (OWN_GROUP, "members", "join", &["create"]),
        (OWN_GROUP, "members", "lead", &["create"]),
        (OWN_GROUP, "members", "promote", &["create"]),
        (OWN_GROUP, "members", "remove", &["create"]),
        (OWN_GROUP, "tokens", "exchange", &["create"]),
        (OWN_GROUP, "tokens", "issue", &["create"]),
    ];
    let reviews = review::all().iter().map(|review| (review.group, review.plural, "", ASKED));
    reviews.chain(OURS)
}

fn reviews(group: &str, version: &str) -> impl Iterator<Item = &'static Review> {
    review::all().iter().filter(move |review| review.group == group && review.version == version)
}

fn of(group: &str, version: &str) -> impl Iterator<Item = &'static Kind> {
    kinds::all().iter().filter(move |kind| kind.group == group && kind.version == version)
}

fn format(context: &RequestContext) -> Result<DiscoveryFormat> {
    negotiate::discovery(context.accept()).ok_or_else(|| not_acceptable("application/json"))
}

/// `/`: where to look on, as `RootPaths` of the Kubernetes API.
pub(crate) fn paths() -> Response {
    let one = ["/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];
    let groups = names().into_iter().map(|group| format!("/apis/{group}"));
    let versions = route::groups().map(|(group, version)| match group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    });
    let all: BTreeSet<String> = one.map(str::to_owned).into_iter().chain(groups).chain(versions).collect();
    response::json(StatusCode::OK, &json!({"paths": all}))
}

/// `/api`.
pub(crate) fn core_versions(context: &RequestContext) -> Result<Response> {
    match format(context)? {
        DiscoveryFormat::Aggregated(version) => Ok(aggregated(version, |group| group.is_empty())),
        DiscoveryFormat::Plain => Ok(response::json(
            StatusCode::OK,
            &json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        )),
    }
}

/// `/apis`.
pub(crate) fn groups(context: &RequestContext) -> Result<Response> {
    match format(context)? {
        DiscoveryFormat::Aggregated(version) => Ok(aggregated(version, |group| !group.is_empty())),
        DiscoveryFormat::Plain => {
            let groups: Vec<_> = names().into_iter().map(describe).collect();
            Ok(response::json(StatusCode::OK, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})))
        }
    }
}

/// `/apis/{group}`.
pub(crate) fn group(context: &RequestContext, group: &'static str) -> Result<Response> {
    format(context)?;
    let mut body = describe(group);
    body["kind"] = "APIGroup".into();
    body["apiVersion"] = "v1".into();
    Ok(response::json(StatusCode::OK, &body))
}

/// `/api/v1` and `/apis/{group}/{version}`.
pub(crate) fn resources(context: &RequestContext, group: &'static str, version: &'static str) -> Result<Response> {
    format(context)?;
    let mut resources = Vec::new();
    for kind in of(group, version) {
        resources.push(json!({
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.is_namespaced(),
            "kind": kind.kind,
            "verbs": verbs(kind),
            "shortNames": kind.short_names,
            "categories": kind.categories,
        }));
        for part in parts(kind) {
            resources.push(json!({
                "name": format!("{}/{}", kind.plural, part.name),
                "singularName": "",
                "namespaced": kind.is_namespaced(),
                "group": part.group,
                "version": part.version,
                "kind": part.kind,
                "verbs": part.verbs,
            }));
        }
    }
    for review in reviews(group, version) {
        resources.push(json!({
            "name": review.plural,
            "singularName": review.kind.to_ascii_lowercase(),
            "namespaced": false,
            "kind": review.kind,
            "verbs": ASKED,
        }));
    }
    let body = json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version(group, version),
        "resources": resources,
    });
    Ok(response::json(StatusCode::OK, &body))
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = route::groups().map(|(group, _)| group).filter(|group| !group.is_empty()).collect();
    names.dedup();
    names
}

fn describe(group: &'static str) -> Value {
    let versions: Vec<_> = route::groups()
        .filter(|(name, _)| *name == group)
        .map(|(group, version)| json!({"groupVersion": group_version(group, version), "version": version}))
        .collect();
    json!({"name": group, "preferredVersion": versions[0], "versions": versions})
}

/// Every group that is wanted in one document (`apidiscovery.k8s.io`).
fn aggregated(format: &'static str, wanted: fn(&str) -> bool) -> Response {
    let mut groups: Vec<&str> = route::groups().map(|(group, _)| group).filter(|group| wanted(group)).collect();
    groups.dedup();
    let items: Vec<_> = groups
        .into_iter()
        .map(|group| {
            let versions: Vec<_> = route::groups()
                .filter(|(name, _)| *name == group)
                .map(|(group, version)| {
                    let resources: Vec<_> =
                        of(group, version).map(resource).chain(reviews(group, version).map(asked)).collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions})
        })
        .collect();
    let body = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{format}"),
        "metadata": {},
        "items": items,
    });
    let media_type = match format {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    response::typed(StatusCode::OK, media_type, body.to_string())
}

fn response_kind(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

fn asked(review: &'static Review) -> Value {
    json!({
        "resource": review.plural,
        "responseKind": response_kind(review.group, review.version, review.kind),
        "scope": "Cluster",
        "singularResource": review.kind.to_ascii_lowercase(),
        "verbs": ASKED,
    })
}

fn resource(kind: &'static Kind) -> Value {
    let parts: Vec<_> = parts(kind)
        .into_iter()
        .map(|part| {
            json!({
                "subresource": part.name,
                "responseKind": response_kind(part.group, part.version, part.kind),
                "verbs": part.verbs,
            })
        })
        .collect();
    json!({
        "resource": kind.plural,
        "responseKind": response_kind(kind.group, kind.version, kind.kind),
        "scope": if kind.is_namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": verbs(kind),
        "shortNames": kind.short_names,
        "categories": kind.categories,
        "subresources": parts,
    })
}
