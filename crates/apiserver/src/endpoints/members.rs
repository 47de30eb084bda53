//! Members of the cluster: listing them, joining with a token, promoting, removing, and moving the lead.

use api::{Reason, Resource, kinds::Node, names::group::NANOCLOUD_V1};
use axum::response::Response;
use http::StatusCode;
use keyspace::{ClusterError, ClusterState, Member, MemberChange, MemberRole, MemberState};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use trust::subject::JOINING;

use super::tokens;
use crate::{
    api_error::{ApiError, Result},
    ports::Membership,
    registry::{DeleteOptions, Registry},
    request::{body, context::RequestContext, response},
};

/// What a joining server says about itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JoinRequest {
    name: String,
    peer_address: String,
    api_url: String,
    /// Version of the program, which has to be this one's.
    version: String,
    /// Drawn by the server and kept until it has joined: with it, and the same token, it may ask again.
    #[serde(default)]
    key: Option<String>,
}

/// What a removal takes.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ChangeRequest {
    force: bool,
}

fn membership(context: &RequestContext) -> Result<Membership> {
    context.state.membership.get().cloned().ok_or_else(|| {
        ApiError::new(Reason::NotFound, "this server keeps its state where it has no members of its own")
    })
}

/// What can be done to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Promote,
    Remove,
    Lead,
}

/// `GET members`.
pub(super) async fn list(context: RequestContext) -> Result<Response> {
    let state = membership(&context)?.cluster.members().await;
    Ok(response::document(StatusCode::OK, shown(&state)))
}

/// `GET members/status`.
pub(super) async fn status(context: RequestContext) -> Result<Response> {
    let state = membership(&context)?.cluster.members().await;
    let keyspace = context.state.registry.keyspace().status().await?;
    let mut document = shown(&state);
    document["kind"] = "MemberStatus".into();
    document["status"] = json!({
        "member": id(state.asked),
        "term": state.term,
        "lastIndex": state.last_index,
        "appliedIndex": state.applied_index,
        "revision": keyspace.revision,
        "compactRevision": keyspace.compact_revision,
        "leases": keyspace.leases,
        "sizeBytes": keyspace.size_bytes,
    });
    Ok(response::document(StatusCode::OK, document))
}

/// Identities are shown as hexadecimal digits: they do not fit the numbers of JSON.
fn id(id: u64) -> String {
    format!("{id:x}")
}

fn shown(state: &ClusterState) -> Value {
    let member = |MemberState { member, role, leads, reachable, matched }: &MemberState| {
        json!({
            "id": id(member.id),
            "name": member.name,
            "peerAddress": member.peer_address,
            "apiUrl": member.api_url,
            "role": match role { MemberRole::Voter => "Voter", MemberRole::Learner => "Learner" },
            "leads": leads,
            "reachable": reachable,
            "matchedIndex": matched,
        })
    };
    json!({
        "apiVersion": NANOCLOUD_V1,
        "kind": "MemberList",
        "clusterId": id(state.cluster_id),
        "leader": state.leader.map(id),
        "items": state.members.iter().map(member).collect::<Vec<_>>(),
    })
}

/// `POST members/NAME/CHANGE`.
pub(super) async fn change(mut context: RequestContext, action: Change) -> Result<Response> {
    let cluster = membership(&context)?.cluster;
    let bytes = context.take_body();
    let wanted: ChangeRequest = match body::optional(&context.parts.headers, &bytes)? {
        None => ChangeRequest::default(),
        Some(document) => serde_json::from_value(document)
            .map_err(|error| ApiError::bad_request(format!("the request cannot be read: {error}")))?,
    };
    let state = cluster.members().await;
    let Some(member) = state.find(context.params.get("name")).map(|state| state.member.clone()) else {
        return Err(ApiError::new(Reason::NotFound, format!("there is no member {:?}", context.params.get("name")))
            .remedy("see `nanocloud member list`"));
    };
    let change = match action {
        Change::Promote => MemberChange::Promote { id: member.id },
        Change::Remove => MemberChange::Remove { id: member.id, force: wanted.force },
        Change::Lead => MemberChange::Lead { id: member.id },
    };
    cluster.change(change).await.map_err(refused)?;
    if action == Change::Remove {
        forget_node(&context.state.registry, &member.name).await;
    }
    tracing::info!(member = id(member.id), name = member.name, ?action, by = %context.subject, "membership changed");
    Ok(response::document(StatusCode::OK, shown(&cluster.members().await)))
}

/// Takes away the Node of a member that was removed, so that no pod is given to it any more.
async fn forget_node(registry: &Registry, name: &str) {
    let Ok(kind) = registry.kind(Node::PLURAL) else { return };
    match registry.delete(kind, None, name, &DeleteOptions::default()).await {
        Err(failure) if failure.status.reason != Reason::NotFound => {
            tracing::warn!(
                node = name,
                error = failure.status.message,
                "the member is removed, its Node is not: delete it by hand"
            );
        }
        _ => {}
    }
}

/// `POST members/join`: takes in the bearer of a join token as a learner and hands it what members share.
pub(super) async fn join(mut context: RequestContext) -> Result<Response> {
    let Membership { cluster, assets } = membership(&context)?;
    let bytes = context.take_body();
    let document = body::document(&context.parts.headers, &bytes)?;
    let wanted: JoinRequest = serde_json::from_value(document)
        .map_err(|error| ApiError::bad_request(format!("the request cannot be read: {error}")))?;
    let ours = env!("CARGO_PKG_VERSION");
    if wanted.version != ours {
        let message = format!("this cluster runs version {ours}, and {} is version {}", wanted.name, wanted.version);
        return Err(ApiError::bad_request(message).remedy("install the same release of nanocloud on all members"));
    }
    if !api::meta::is_host_name(&wanted.name) || wanted.peer_address.parse::<http::uri::Authority>().is_err() {
        return Err(ApiError::bad_request("name must be a host name and peerAddress HOST:PORT"));
    }
    let token = tokens::presented(&context)?;
    let drawn = identity(token.id(), wanted.key.as_deref());
    let member = Member { id: drawn, name: wanted.name, peer_address: wanted.peer_address, api_url: wanted.api_url };
    let state = cluster.members().await;
    let other = state.members.iter().find(|other| other.member.name == member.name && other.member.id != drawn);
    if let Some(other) = other.filter(|other| !is_ghost(other)) {
        return Err(refused(ClusterError::Exists { id: other.member.id, name: member.name }));
    }
    // Everything that may be refused is refused before; from here on the token is used up, save for the same server.
    let shared = assets().map_err(|error| ApiError::internal("the cluster's keys cannot be read", error))?;
    tokens::consume(&context.state, &token, JOINING, wanted.key.as_deref()).await?;
    if let Some(ghost) = other {
        tracing::info!(member = id(ghost.member.id), name = member.name, "a learner that never came is replaced");
        cluster.change(MemberChange::Remove { id: ghost.member.id, force: false }).await.map_err(refused)?;
    }
    cluster.change(MemberChange::Add(member.clone())).await.map_err(refused)?;
    tracing::info!(member = id(member.id), name = member.name, address = member.peer_address, "a member joins");
    let answer = json!({
        "apiVersion": NANOCLOUD_V1,
        "kind": "Joined",
        "memberId": id(member.id),
        "clusterId": id(state.cluster_id),
        "assets": shared,
    });
    Ok(tokens::confidential(response::document(StatusCode::CREATED, answer)))
}

/// The identity of a member that joins with this token: the same when it asks again, and another one for everybody else.
fn identity(token: &str, key: Option<&str>) -> u64 {
    let digest: [u8; 32] = match key {
        Some(key) => Sha256::digest(format!("{token}\n{key}")).into(),
        None => Sha256::digest(uuid::Uuid::new_v4().as_bytes()).into(),
    };
    let [a, b, c, d, e, f, ..] = digest;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f]).max(1)
}

/// Whether that is a learner that never reported: its server joined, and failed before it started.
fn is_ghost(state: &MemberState) -> bool {
    state.role == MemberRole::Learner && !state.reachable
}

fn refused(error: ClusterError) -> ApiError {
    let reason = match &error {
        ClusterError::NotFound { .. } => Reason::NotFound,
        ClusterError::Unavailable { .. } => Reason::ServiceUnavailable,
        ClusterError::Alone => Reason::BadRequest,
        ClusterError::Exists { .. }
        | ClusterError::Removed { .. }
        | ClusterError::Quorum { .. }
        | ClusterError::Voters { .. }
        | ClusterError::Behind { .. }
        | ClusterError::Silent { .. }
        | ClusterError::NotVoter { .. } => Reason::Conflict,
    };
    ApiError::new(reason, error.to_string())
}
