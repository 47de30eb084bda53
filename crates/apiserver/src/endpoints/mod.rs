//! The handlers, one file for each family of endpoints, and the table of all endpoints that belong to no stored kind.
//!
//! A new endpoint is a row here and its handler. Routing, `405` with `Allow`, the attributes of authorisation, discovery,
//! self-review, metrics and OpenAPI follow from the row. Collections and objects of kinds are served generically.

pub(crate) mod account_token;
mod bundle_actions;
mod certificates;
pub(crate) mod collection;
mod discovery;
mod exec;
mod exec_spdy;
mod health;
mod keyspace;
mod logs;
mod members;
pub(crate) mod object;
mod openapi;
pub(crate) mod pod_binding;
pub(crate) mod pod_streams;
mod portforward;
mod relay;
mod review;
pub(crate) mod scale;
mod tokens;
pub(crate) mod watch;

use std::future::Future;

use api::names::group::{NANOCLOUD, NANOCLOUD_V1};
use axum::response::Response;
use futures::{FutureExt, future::BoxFuture};
use http::Method;

use self::{bundle_actions::Action, health::Probe, members::Change};
use crate::{
    api_error::Result,
    endpoint::{Endpoint, Endpoints, Field, Load},
    request::context::RequestContext,
};

/// What serves a request.
pub(crate) type Handler = Box<dyn Fn(RequestContext) -> BoxFuture<'static, Result<Response>> + Send + Sync>;

/// An endpoint and what serves it.
type Row = (Endpoint, Handler);

/// All rows, and their handlers in the same order.
pub(crate) fn table() -> (Endpoints, Vec<Handler>) {
    let rows = [server(), discovery(), reviews(), credentials(), members(), keyspace(), bundles()];
    let (endpoints, handlers) = rows.into_iter().flatten().unzip();
    (Endpoints::new(endpoints), handlers)
}

fn row<H, F>(endpoint: Endpoint, handler: H) -> Row
where
    H: Fn(RequestContext) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response>> + Send + 'static,
{
    (endpoint, Box::new(move |context| handler(context).boxed()))
}

/// An endpoint of our own group, by its path below the group's.
fn own(method: Method, path: &str, resource: &'static str, subresource: &'static str) -> Endpoint {
    Endpoint::of_resource(method, format!("/apis/{NANOCLOUD_V1}/{path}"), (NANOCLOUD, resource, subresource))
}

const TEXT: &str = "text/plain";
const VERBOSE: &[(&str, &str)] = &[("verbose", "boolean")];

/// Health, version and metrics.
fn server() -> Vec<Row> {
    let probe = |path, operation, summary| {
        Endpoint::of_path(path).does(operation, summary).query(VERBOSE).answers(200, TEXT).load(Load::Probe)
    };
    vec![
        row(probe("/healthz", "getHealth", "Whether requests can be served."), |c| health::probe(c, Probe::Health)),
        row(probe("/livez", "getLiveness", "Whether the server runs."), |c| health::probe(c, Probe::Live)),
        row(probe("/readyz", "getReadiness", "Whether requests can be served and the keyspace has no damage."), |c| {
            health::probe(c, Probe::Ready)
        }),
        row(Endpoint::of_path("/version").does("getVersion", "Version of the server."), health::version),
        row(
            Endpoint::of_path("/metrics").does("getMetrics", "Metrics for Prometheus.").answers(200, TEXT),
            health::metrics,
        ),
    ]
}

/// Discovery and OpenAPI.
fn discovery() -> Vec<Row> {
    let path = |path, operation, summary| Endpoint::of_path(path).does(operation, summary);
    vec![
        row(path("/", "getPaths", "Paths of the other endpoints."), discovery::paths),
        row(path("/api", "getCoreVersions", "Versions of the core group."), discovery::core_versions),
        row(path("/apis", "getGroups", "Groups and their versions."), discovery::groups),
        row(path("/apis/{group}", "getGroup", "Versions of a group."), discovery::group),
        row(path("/api/{version}", "getCoreResources", "Resources of the core group."), discovery::resources),
        row(path("/apis/{group}/{version}", "getResources", "Resources of a group."), discovery::resources),
        row(path("/openapi/v2", "getOpenApiV2", "This description, as OpenAPI 2.0."), openapi::v2),
        row(path("/openapi/v3", "getOpenApiIndex", "Where the descriptions of the groups are."), openapi::index),
        row(
            path("/openapi/v3/api/{version}", "getCoreOpenApi", "Description of the core group, as OpenAPI 3."),
            openapi::document,
        ),
        row(
            path("/openapi/v3/apis/{group}/{version}", "getOpenApi", "Description of a group, as OpenAPI 3."),
            openapi::document,
        ),
    ]
}

/// Questions about who may do what.
fn reviews() -> Vec<Row> {
    let all = api::review::all().iter();
    all.map(|asked| row(Endpoint::of_review(asked), move |context| review::answer(context, asked))).collect()
}

/// Tokens and certificates.
fn credentials() -> Vec<Row> {
    vec![
        row(
            own(Method::POST, "tokens/issue", "tokens", "issue")
                .does("issueToken", "Issues a token that can be exchanged once.")
                .fields([
                    Field::required("user", "string", "User that the token is for."),
                    Field::optional("groups", "array", "Groups of that user."),
                    Field::optional("scopes", "array", "What it is limited to."),
                    Field::optional("ttlSeconds", "integer", "How long it can be exchanged."),
                ])
                .answers(201, "application/json"),
            tokens::issue,
        ),
        row(
            own(Method::POST, "tokens/exchange", "tokens", "exchange")
                .does("exchangeToken", "Exchanges the token of the Authorization header, once.")
                .fields([
                    Field::optional(
                        "csr",
                        "string",
                        "PKCS #10 in PEM: the answer is a certificate; without it a bearer token.",
                    ),
                    Field::optional("ttlSeconds", "integer", "How long the credential is valid."),
                ])
                .answers(201, "application/json")
                .takes_single_use_token(),
            tokens::exchange,
        ),
        row(
            own(Method::POST, "certificates", "certificates", "")
                .does("signCertificate", "Signs a client certificate.")
                .fields([
                    Field::required("csr", "string", "PKCS #10 in PEM."),
                    Field::optional("user", "string", "User of the certificate; administrators only, else the caller."),
                    Field::optional("groups", "array", "Groups; administrators only, else the caller's."),
                    Field::optional("names", "array", "DNS names and addresses it carries; administrators only."),
                    Field::optional("ttlSeconds", "integer", "How long it is valid."),
                ])
                .answers(201, "application/json"),
            certificates::sign,
        ),
    ]
}

/// The members of the cluster.
fn members() -> Vec<Row> {
    let change = |path, part, operation, summary| own(Method::POST, path, "members", part).does(operation, summary);
    vec![
        row(own(Method::GET, "members", "members", "").does("listMembers", "Lists the members."), members::list),
        row(
            own(Method::GET, "members/status", "members", "status")
                .does("getMemberStatus", "Lists the members, and the progress of the one that answers."),
            members::status,
        ),
        row(
            own(Method::POST, "members/join", "members", "join")
                .does("joinMember", "Adds the bearer of a join token as a learner.")
                .fields([
                    Field::required("name", "string", "Name of the node."),
                    Field::required("peerAddress", "string", "HOST:PORT at which the other members reach it."),
                    Field::required("apiUrl", "string", "Where its API will be."),
                    Field::required("version", "string", "Version of its program, which has to be the members'."),
                    Field::optional(
                        "key",
                        "string",
                        "Random text that the server keeps: with it, it may join again with the same token.",
                    ),
                ])
                .answers(201, "application/json")
                .takes_single_use_token(),
            members::join,
        ),
        row(change("members/{name}/promote", "promote", "promoteMember", "Makes a learner a voter."), |context| {
            members::change(context, Change::Promote)
        }),
        row(
            change("members/{name}/remove", "remove", "removeMember", "Removes a member.").fields([Field::optional(
                "force",
                "boolean",
                "Whether even when it cannot be reached.",
            )]),
            |context| members::change(context, Change::Remove),
        ),
        row(change("members/{name}/lead", "lead", "leadMember", "Makes a voter the leader."), |context| {
            members::change(context, Change::Lead)
        }),
    ]
}

/// The keyspace itself, for its operators.
fn keyspace() -> Vec<Row> {
    let of = |method, path, part, operation, summary| own(method, path, "keyspace", part).does(operation, summary);
    vec![
        row(of(Method::GET, "keyspace", "", "getKeyspace", "State of the keyspace."), keyspace::status),
        row(
            of(
                Method::GET,
                "keyspace/snapshot",
                "snapshot",
                "getKeyspaceSnapshot",
                "One revision of the whole keyspace, under a digest.",
            )
            .answers(200, "application/octet-stream")
            .load(Load::Download),
            keyspace::snapshot,
        ),
        row(
            of(
                Method::POST,
                "keyspace/compact",
                "compact",
                "compactKeyspace",
                "Forgets history before a revision, the newest if none is given.",
            )
            .query(&[("revision", "integer")]),
            keyspace::compact,
        ),
        row(
            of(
                Method::POST,
                "keyspace/defragment",
                "defragment",
                "defragmentKeyspace",
                "Gives free room of the keyspace back to the disk.",
            ),
            keyspace::defragment,
        ),
        row(
            of(Method::GET, "keyspace/alarms", "alarms", "getKeyspaceAlarms", "State, with the alarms."),
            keyspace::status,
        ),
        row(
            of(Method::DELETE, "keyspace/alarms", "alarms", "clearKeyspaceAlarms", "Clears all alarms."),
            keyspace::clear_alarms,
        ),
    ]
}

/// What can be done to a bundle as a whole.
fn bundles() -> Vec<Row> {
    let act = |name, operation, summary, action| {
        let path = format!("namespaces/{{namespace}}/bundles/{{name}}/actions/{name}");
        let endpoint = own(Method::POST, &path, "bundles", "actions").does(operation, summary);
        row(endpoint.answers(202, "application/json"), move |context| bundle_actions::run(context, action))
    };
    vec![
        act("start", "startBundle", "Starts a bundle.", Action::Start),
        act("stop", "stopBundle", "Stops a bundle.", Action::Stop),
        act("restart", "restartBundle", "Restarts a bundle, and starts one that was stopped.", Action::Restart),
        act("uninstall", "uninstallBundle", "Uninstalls a bundle.", Action::Uninstall),
    ]
}
