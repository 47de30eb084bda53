//! Discovery: which groups, versions and resources there are. Read from the kinds alone.

use std::collections::BTreeSet;

use api::{
    Kind, Kinds, Subresource,
    review::{self, Review},
};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    api_error::{Result, not_acceptable},
    endpoint::{Access, Endpoints},
    object,
    query::negotiate::{self, DiscoveryFormat},
    request::{context::RequestContext, response},
    route,
};

/// Verbs of a kind's objects, in the words of authorisation.
fn verbs(kind: &Kind) -> Vec<&'static str> {
    let all = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    all.into_iter().filter(|verb| kind.facts().deletes_collection || *verb != "deletecollection").collect()
}

/// Verbs of reviews.
const ASKED: [&str; 1] = ["create"];

/// What rules can be about: a resource or subresource, and the verbs it is served with.
pub(super) struct Target<'a> {
    pub(super) group: &'a str,
    pub(super) resource: &'a str,
    pub(super) subresource: &'static str,
    pub(super) verbs: Vec<&'static str>,
}

/// Every resource and subresource that is served: those of the kinds, and those of other endpoints.
pub(super) fn targets<'a>(kinds: &'a Kinds, endpoints: &Endpoints) -> Vec<Target<'a>> {
    let mut all = Vec::new();
    for kind in kinds.iter() {
        let (group, resource) = (kind.group(), kind.plural());
        all.push(Target { group, resource, subresource: "", verbs: verbs(kind) });
        let parts = kind.subresources();
        all.extend(parts.map(|part| Target { group, resource, subresource: part.name, verbs: part.verbs.to_vec() }));
    }
    for endpoint in endpoints.iter() {
        let Access::Resource { group, resource, subresource } = endpoint.access else { continue };
        let same = |known: &&mut Target<'_>| {
            (known.group, known.resource, known.subresource) == (group, resource, subresource)
        };
        match all.iter_mut().find(same) {
            Some(known) if known.verbs.contains(&endpoint.verb()) => {}
            Some(known) => known.verbs.push(endpoint.verb()),
            None => all.push(Target { group, resource, subresource, verbs: vec![endpoint.verb()] }),
        }
    }
    all
}

fn reviews(group: &str, version: &str) -> impl Iterator<Item = &'static Review> {
    review::all().iter().filter(move |review| review.group == group && review.version == version)
}

fn of<'a>(kinds: &'a Kinds, group: &str, version: &str) -> impl Iterator<Item = &'a Kind> {
    kinds.iter().filter(move |kind| kind.group() == group && kind.version() == version)
}

fn format(context: &RequestContext) -> Result<DiscoveryFormat> {
    negotiate::discovery(context.accept()).ok_or_else(|| not_acceptable("application/json"))
}

/// `/`: where to look on, as `RootPaths` of the Kubernetes API.
pub(super) async fn paths(context: RequestContext) -> Result<Response> {
    let fixed = context.state.endpoints.iter();
    let fixed = fixed.filter(|row| row.access == Access::Path && !row.is_pattern() && row.path != "/");
    let fixed = fixed.map(|row| row.path.clone().into_owned());
    let kinds = &context.served.kinds;
    let groups = names(kinds).into_iter().map(|group| format!("/apis/{group}"));
    let versions = route::groups(kinds).into_iter().map(|(group, version)| match group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    });
    let all: BTreeSet<String> = fixed.chain(groups).chain(versions).collect();
    Ok(response::document(StatusCode::OK, json!({"paths": all})))
}

/// `/api`.
pub(super) async fn core_versions(context: RequestContext) -> Result<Response> {
    match format(&context)? {
        DiscoveryFormat::Aggregated(version) => {
            Ok(aggregated(&context.served.kinds, version, |group| group.is_empty()))
        }
        DiscoveryFormat::Plain => Ok(response::document(
            StatusCode::OK,
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        )),
    }
}

/// `/apis`.
pub(super) async fn groups(context: RequestContext) -> Result<Response> {
    match format(&context)? {
        DiscoveryFormat::Aggregated(version) => {
            Ok(aggregated(&context.served.kinds, version, |group| !group.is_empty()))
        }
        DiscoveryFormat::Plain => {
            let kinds = &context.served.kinds;
            let groups: Vec<_> = names(kinds).into_iter().map(|group| describe(kinds, group)).collect();
            Ok(response::document(
                StatusCode::OK,
                json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}),
            ))
        }
    }
}

/// `/apis/{group}`.
pub(super) async fn group(context: RequestContext) -> Result<Response> {
    format(&context)?;
    let mut body = describe(&context.served.kinds, context.params.get("group"));
    body["kind"] = "APIGroup".into();
    body["apiVersion"] = "v1".into();
    Ok(response::document(StatusCode::OK, body))
}

/// `/api/v1` and `/apis/{group}/{version}`.
pub(super) async fn resources(context: RequestContext) -> Result<Response> {
    format(&context)?;
    let (group, version) = (context.params.get("group"), context.params.get("version"));
    let mut resources = Vec::new();
    for kind in of(&context.served.kinds, group, version) {
        resources.push(json!({
            "name": kind.plural(),
            "singularName": kind.singular(),
            "namespaced": kind.is_namespaced(),
            "kind": kind.kind(),
            "verbs": verbs(kind),
            "shortNames": kind.short_names(),
            "categories": kind.categories(),
        }));
        for part in kind.subresources() {
            let (group, version, shape) = shape(kind, &part);
            resources.push(json!({
                "name": format!("{}/{}", kind.plural(), part.name),
                "singularName": "",
                "namespaced": kind.is_namespaced(),
                "group": group,
                "version": version,
                "kind": shape,
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
    Ok(response::document(StatusCode::OK, body))
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn names(kinds: &Kinds) -> Vec<&str> {
    groups_of(kinds).into_iter().filter(|group| !group.is_empty()).collect()
}

/// Every group, once.
fn groups_of(kinds: &Kinds) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    route::groups(kinds).into_iter().map(|(group, _)| group).filter(|group| seen.insert(*group)).collect()
}

fn describe(kinds: &Kinds, group: &str) -> Value {
    let versions: Vec<_> = route::groups(kinds)
        .into_iter()
        .filter(|(name, _)| *name == group)
        .map(|(group, version)| json!({"groupVersion": group_version(group, version), "version": version}))
        .collect();
    json!({"name": group, "preferredVersion": versions[0], "versions": versions})
}

/// Every group that is wanted in one document (`apidiscovery.k8s.io`).
fn aggregated(kinds: &Kinds, format: &'static str, wanted: fn(&str) -> bool) -> Response {
    let items: Vec<_> = groups_of(kinds)
        .into_iter()
        .filter(|group| wanted(group))
        .map(|group| {
            let versions: Vec<_> = route::groups(kinds)
                .into_iter()
                .filter(|(name, _)| *name == group)
                .map(|(group, version)| {
                    let resources: Vec<_> =
                        of(kinds, group, version).map(resource).chain(reviews(group, version).map(asked)).collect();
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
    response::typed(StatusCode::OK, media_type, object::to_json(&body))
}

/// Group, version and kind of what a part is sent and answered as.
fn shape<'a>(kind: &'a Kind, part: &Subresource) -> (&'a str, &'a str, &'a str) {
    part.shape.unwrap_or((kind.group(), kind.version(), kind.kind()))
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

fn resource(kind: &Kind) -> Value {
    let parts: Vec<_> = kind
        .subresources()
        .map(|part| {
            let (group, version, shape) = shape(kind, &part);
            json!({
                "subresource": part.name,
                "responseKind": response_kind(group, version, shape),
                "verbs": part.verbs,
            })
        })
        .collect();
    json!({
        "resource": kind.plural(),
        "responseKind": response_kind(kind.group(), kind.version(), kind.kind()),
        "scope": if kind.is_namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular(),
        "verbs": verbs(kind),
        "shortNames": kind.short_names(),
        "categories": kind.categories(),
        "subresources": parts,
    })
}
