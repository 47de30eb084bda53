//! Streams of pods on other nodes: the request goes on to the member that runs the pod, and its answer comes back.
//!
//! It was authorised here and is made there as the same subject, with a token of this server that is good for a minute.

use std::{convert::Infallible, io};

use api::Reason;
use axum::{body::Body, response::Response};
use futures::StreamExt;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use keyspace::{ClusterState, Member};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use trust::{
    CertificateSpec, ExposeSecret, Identity, TokenGrant, Usage, jwt::API_AUDIENCE, subject::AUTHENTICATED, tls,
};
use url::Url;

use crate::{
    api_error::{ApiError, Result},
    limits::{RELAY_BUFFER, RELAY_CREDENTIAL, RELAY_TIMEOUT},
    object,
    request::context::RequestContext,
};

/// Says that the request comes from another member already.
const RELAYED: HeaderName = HeaderName::from_static("x-nanocloud-relayed");
/// Headers about the connection or the caller, and not about the request itself.
const NOT_PASSED: [HeaderName; 4] =
    [header::AUTHORIZATION, header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
const IMPERSONATE: &str = "impersonate-";

/// The member that serves the streams of a pod; nothing when it is the one that was asked. Pure.
pub(super) fn member(pod: &Value, state: &ClusterState) -> Result<Option<Member>> {
    let (name, node) = (object::name(pod), object::text(pod, "/spec/nodeName"));
    // A single member runs all pods.
    if state.members.len() < 2 {
        return Ok(None);
    }
    if node.is_empty() {
        return Err(ApiError::bad_request(format!("pod {name} does not have a host assigned"))
            .remedy("wait until it is scheduled; `kubectl describe pod` says what keeps it from that"));
    }
    match state.members.iter().find(|state| state.member.name == node) {
        Some(found) if found.member.id == state.asked => Ok(None),
        Some(found) if !found.reachable => Err(unreachable(node, &found.member.api_url, "it was not heard of lately")),
        Some(found) => Ok(Some(found.member.clone())),
        None => {
            let message = format!("pod {name} is on node {node:?}, which is no member of the cluster any more");
            Err(ApiError::new(Reason::ServiceUnavailable, message).remedy("see `nanocloud member list`"))
        }
    }
}

fn unreachable(node: &str, url: &str, why: &str) -> ApiError {
    let url = if url.is_empty() { "an address it did not tell" } else { url };
    ApiError::new(
        Reason::ServiceUnavailable,
        format!("node {node:?} runs the pod and cannot be reached at {url}: {why}"),
    )
    .remedy(format!("ask it directly (--server {url}), or see `nanocloud member list`"))
}

/// Passes the request on to a member.
pub(super) async fn serve(mut context: RequestContext, member: &Member) -> Result<Response> {
    let place = context.state.admit_stream()?;
    let fail = |why: String| unreachable(&member.name, &member.api_url, &why);
    if context.parts.headers.contains_key(RELAYED) {
        return Err(fail("the members do not agree on which node runs the pod".to_owned()));
    }
    let url = Url::parse(&member.api_url).map_err(|error| fail(error.to_string()))?;
    let opened = tokio::time::timeout(RELAY_TIMEOUT, connect(&context, &url)).await;
    let stream = opened.map_err(|_| fail("it does not answer".to_owned()))?.map_err(|error| fail(error.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake::<_, Body>(TokioIo::new(stream))
        .await
        .map_err(|error| fail(error.to_string()))?;
    #[expect(clippy::disallowed_methods, reason = "ends with either side, or when the server stops")]
    tokio::spawn(connection.with_upgrades());
    let request = request(&context, &url)?;
    let answered = tokio::time::timeout(RELAY_TIMEOUT, sender.send_request(request)).await;
    let mut answer =
        answered.map_err(|_| fail("it does not answer".to_owned()))?.map_err(|error| fail(error.to_string()))?;
    tracing::info!(node = member.name, status = answer.status().as_u16(), "passed on");
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let stop = context.state.stop.clone();
        return Ok(answer.map(|body| {
            let data = body.into_data_stream().map(move |piece| {
                let _held = (&place, &sender);
                piece
            });
            Body::from_stream(data.take_until(stop.cancelled_owned()))
        }));
    }
    let ours = context.parts.extensions.remove::<OnUpgrade>();
    let ours = ours.ok_or_else(|| ApiError::bad_request("this connection cannot be upgraded"))?;
    let theirs = hyper::upgrade::on(&mut answer);
    let stop = context.state.stop.clone();
    #[expect(clippy::disallowed_methods, reason = "ends with either side, or when the server stops")]
    tokio::spawn(async move {
        let _place = place;
        let carried = async {
            let (ours, theirs) = tokio::try_join!(ours, theirs).map_err(io::Error::other)?;
            carry(TokioIo::new(ours), TokioIo::new(theirs)).await
        };
        let broken = stop.run_until_cancelled_owned(carried).await.and_then(Result::err);
        tracing::debug!(?broken, "session that was passed on ended");
    });
    Ok(answer.map(|_| Body::empty()))
}

/// Carries bytes both ways until the member has nothing more to say, which is last how a command ended. That reaches the
/// client although its own bytes can no longer be delivered, and although the member ends without taking leave.
async fn carry<C, M>(client: C, member: M) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite,
    M: AsyncRead + AsyncWrite,
{
    let (from_client, to_client) = tokio::io::split(client);
    let (from_member, to_member) = tokio::io::split(member);
    let inward = async {
        if let Err(error) = pass(from_client, to_member).await {
            tracing::debug!(%error, "the member takes no more of this session");
        }
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        passed = pass(from_member, to_client) => passed,
        never = inward => match never {},
    }
}

/// Hands on what comes, and then the end of it. Everything that was read is written, however the reading ends.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; RELAY_BUFFER];
    let ended = loop {
        match from.read(&mut buffer).await {
            Ok(0) => break Ok(()),
            Ok(count) => to.write_all(&buffer[..count]).await?,
            Err(error) => break Err(error),
        }
        to.flush().await?;
    };
    to.shutdown().await?;
    ended
}

/// A connection to a member's API, as it is known to the cluster's authority.
async fn connect(context: &RequestContext, url: &Url) -> io::Result<TlsStream<TcpStream>> {
    let app = &context.state;
    // A member may ask for a certificate; the subject of the request is in its token.
    let spec = CertificateSpec {
        usage: Usage::Client,
        common_name: context.subject.user.clone(),
        organizations: Vec::new(),
        names: Vec::new(),
        lifetime: RELAY_CREDENTIAL,
    };
    let issued = app.authority.issue(&spec, app.registry.now()).map_err(io::Error::other)?;
    let identity = Identity::from_pem(&issued.certificate_pem, issued.key_pem).map_err(io::Error::other)?;
    let mut config = tls::client_config(app.authority.certificate_pem(), Some(&identity)).map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().unwrap_or_default();
    let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await
}

/// The same request for the member, from the same subject.
fn request(context: &RequestContext, url: &Url) -> Result<Request<Body>> {
    let unmade = |error: String| ApiError::internal("the request cannot be passed on", error);
    let subject = &context.subject;
    let grant = TokenGrant {
        user: subject.user.clone(),
        groups: subject.groups.iter().filter(|group| *group != AUTHENTICATED).cloned().collect(),
        scopes: subject.scopes.clone(),
        audience: API_AUDIENCE.to_owned(),
        ttl: RELAY_CREDENTIAL,
    };
    let token =
        context.state.tokens.issue(&grant, context.state.registry.now()).map_err(|error| unmade(error.to_string()))?;
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
        .map_err(|error| unmade(error.to_string()))?;
    bearer.set_sensitive(true);
    let target = context.parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut request = Request::builder().method(context.parts.method.clone()).uri(target).body(Body::empty());
    if let Ok(request) = &mut request {
        let passed = context
            .parts
            .headers
            .iter()
            .filter(|(name, _)| !NOT_PASSED.contains(name) && !name.as_str().starts_with(IMPERSONATE));
        request.headers_mut().extend(passed.map(|(name, value)| (name.clone(), value.clone())));
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let host = HeaderValue::from_str(authority).map_err(|error| unmade(error.to_string()))?;
        request.headers_mut().insert(header::HOST, host);
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        request.headers_mut().insert(RELAYED, HeaderValue::from_static("true"));
    }
    request.map_err(|error| unmade(error.to_string()))
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use keyspace::{MemberRole, MemberState};
    use serde_json::json;
    use tokio_util::io::StreamReader;

    use super::*;

    #[test]
    fn a_pods_streams_are_where_it_runs() {
        let member = |id: u64, name: &str, reachable: bool| MemberState {
            member: Member { id, name: name.into(), peer_address: String::new(), api_url: format!("https://{name}:1") },
            role: MemberRole::Voter,
            leads: false,
            reachable,
            matched: None,
        };
        let cluster = |members: Vec<MemberState>| ClusterState {
            cluster_id: 1,
            asked: 1,
            leader: None,
            term: 1,
            last_index: 1,
            applied_index: 1,
            members,
        };
        let three = cluster(vec![member(1, "a", true), member(2, "b", true), member(3, "c", false)]);
        let of = |node: &str, state: &ClusterState| {
            super::member(&json!({"metadata": {"name": "p"}, "spec": {"nodeName": node}}), state)
        };
        assert_eq!(of("a", &three).unwrap(), None);
        assert_eq!(of("b", &three).unwrap().unwrap().id, 2);
        for (node, code, part) in [("", 400, "host assigned"), ("c", 503, "https://c:1"), ("gone", 503, "no member")] {
            let failure = of(node, &three).unwrap_err();
            assert_eq!(failure.status.code, code, "{node}");
            assert!(failure.status.message.contains(part), "{failure}");
            assert!(!failure.status.remedy.is_empty());
        }
        assert_eq!(of("", &cluster(vec![member(1, "", true)])).unwrap(), None, "a single member serves all");
    }

    #[tokio::test]
    async fn how_a_command_ended_reaches_a_client_whose_own_bytes_are_no_longer_taken() {
        let says = [Ok("out"), Ok("status 7"), Err(io::Error::from(io::ErrorKind::UnexpectedEof))];
        let (takes_nothing, _) = tokio::io::duplex(1);
        let member =
            tokio::io::join(StreamReader::new(futures::stream::iter(says).map_ok(str::as_bytes)), takes_nothing);
        let (client, far) = tokio::io::duplex(4);
        let (mut said, mut asks) = tokio::io::split(client);
        asks.write_all(b"ping").await.unwrap();
        let mut heard = Vec::new();
        let (carried, read) = tokio::join!(carry(far, member), said.read_to_end(&mut heard));
        read.unwrap();
        assert_eq!(
            (heard.as_slice(), carried.unwrap_err().kind()),
            (&b"outstatus 7"[..], io::ErrorKind::UnexpectedEof)
        );
    }
}
