//! Calls to the cluster, over one channel that moves on when its member has no leader.

use futures::StreamExt;
use parking_lot::RwLock;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use super::Endpoints;
use crate::limits::{ANSWER_BYTES, CALL_TIMEOUT};
use crate::refuse;
use crate::wire::lease::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use crate::wire::methods::{self, Method};
use crate::wire::watch::{Ask, WatchCreateRequest, WatchRequest, WatchResponse};

/// The way to the cluster.
#[derive(Debug)]
pub(super) struct Calls {
    endpoints: Endpoints,
    /// The channel, and the number of the member it began with.
    channel: RwLock<(usize, Channel)>,
}

impl Calls {
    pub(super) fn new(endpoints: Endpoints) -> Self {
        let channel = endpoints.channel(0);
        Calls { endpoints, channel: RwLock::new((0, channel)) }
    }

    /// One request, one answer.
    pub(super) async fn unary<Q, A>(&self, method: Method<Q, A>, request: Q) -> Result<A, Status>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let (turn, mut grpc) = self.grpc();
        let call = async {
            ready(&mut grpc).await?;
            grpc.unary(Request::new(request), method.uri(), method.client_codec()).await
        };
        match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => {
                if refuse::NO_LEADER.is(&status) || refuse::TIMEOUT.is(&status) {
                    self.move_on(turn);
                }
                Err(status)
            }
            Err(_) => {
                self.move_on(turn);
                Err(Status::deadline_exceeded(format!("no answer within {} s", CALL_TIMEOUT.as_secs())))
            }
        }
    }

    /// Keeps a lease alive once.
    pub(super) async fn keep_alive(&self, id: i64) -> Result<LeaseKeepAliveResponse, Status> {
        let (_, mut grpc) = self.grpc();
        let method = methods::LEASE_KEEP_ALIVE;
        let call = async {
            ready(&mut grpc).await?;
            // The side of the requests stays open until the answer is there: etcd ends the stream with it.
            let requests = futures::stream::iter([LeaseKeepAliveRequest { id }]).chain(futures::stream::pending());
            let answers = grpc.streaming(Request::new(requests), method.uri(), method.client_codec()).await?;
            answers.into_inner().message().await
        };
        let answered = tokio::time::timeout(CALL_TIMEOUT, call).await;
        let answer = answered.unwrap_or_else(|_| Err(Status::deadline_exceeded("the lease was not kept in time")))?;
        answer.ok_or_else(|| Status::unavailable("the stream of keep-alives ended"))
    }

    /// Follows every key from a revision on.
    pub(super) async fn watch_all(&self, from: u64) -> Result<Streaming<WatchResponse>, Status> {
        let (turn, mut grpc) = self.grpc();
        let method = methods::WATCH;
        let create = WatchCreateRequest {
            key: bytes::Bytes::from_static(b"\0"),
            range_end: bytes::Bytes::from_static(b"\0"),
            start_revision: crate::convert::signed(from),
            progress_notify: false,
            prev_kv: true,
            fragment: true,
            ..WatchCreateRequest::default()
        };
        let first = WatchRequest { request: Some(Ask::Create(create)) };
        let call = async {
            ready(&mut grpc).await?;
            let mut request = Request::new(futures::stream::iter([first]).chain(futures::stream::pending()));
            // A member that loses its leader then ends the stream instead of being silent.
            request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
            grpc.streaming(request, method.uri(), method.client_codec()).await
        };
        match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Ok(Ok(answers)) => Ok(answers.into_inner()),
            Ok(Err(status)) => {
                if status.code() == Code::Unavailable {
                    self.move_on(turn);
                }
                Err(status)
            }
            Err(_) => Err(Status::deadline_exceeded("the watch was not begun in time")),
        }
    }

    fn grpc(&self) -> (usize, Grpc<Channel>) {
        let (turn, channel) = self.channel.read().clone();
        (turn, Grpc::new(channel).max_decoding_message_size(ANSWER_BYTES))
    }

    /// Uses the next member, unless somebody else did so already.
    fn move_on(&self, from: usize) {
        let mut current = self.channel.write();
        if current.0 == from {
            *current = (from + 1, self.endpoints.channel(from + 1));
        }
    }
}

async fn ready(grpc: &mut Grpc<Channel>) -> Result<(), Status> {
    grpc.ready().await.map_err(|error| Status::unavailable(describe(&error)))
}

/// An error with what is behind it.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
