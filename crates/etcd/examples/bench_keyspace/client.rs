//! The client: one connection, as many calls at once as there are tasks.

use bytes::Bytes;
use etcd::wire::kv::{DeleteRangeRequest, PutRequest, RangeRequest, Request, RequestOp, TxnRequest};
use etcd::wire::methods::{self, Method};
use etcd::wire::services::Anything;
use etcd::wire::watch::{Ask, WatchCreateRequest, WatchRequest, WatchResponse};
use futures::StreamExt;
use tokio::sync::oneshot;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request as Call, Streaming};

use crate::Failure;

/// Largest answer taken.
const ANSWER_BYTES: usize = 256 * 1024 * 1024;
/// Flow control window, for both servers the same.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Keys deleted at once.
const PORTION: i64 = 50_000;

/// A connection to a server.
#[derive(Clone, Debug)]
pub struct Client(Channel);

impl Client {
    pub async fn connect(url: &str) -> Result<Self, Failure> {
        let endpoint = Endpoint::from_shared(url.to_owned())?.tcp_nodelay(true);
        let endpoint = endpoint.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        Ok(Client(endpoint.connect().await?))
    }

    /// Several connections, spread over the members.
    pub async fn connect_many(urls: &[String], count: usize) -> Result<Vec<Self>, Failure> {
        let mut clients = Vec::with_capacity(count);
        for url in urls.iter().cycle().take(count) {
            clients.push(Client::connect(url).await?);
        }
        Ok(clients)
    }

    async fn call<Q, A>(&self, method: Method<Q, A>, request: Q) -> Result<A, Failure>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.0.clone()).max_decoding_message_size(ANSWER_BYTES);
        grpc.ready().await?;
        Ok(grpc.unary(Call::new(request), method.uri(), method.client_codec()).await?.into_inner())
    }

    pub async fn put(&self, key: impl Into<Bytes>, value: Bytes) -> Result<(), Failure> {
        self.call(methods::PUT, PutRequest { key: key.into(), value, ..Default::default() }).await.map(drop)
    }

    /// Number of keys found: none or one.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<usize, Failure> {
        let request = RangeRequest { key: key.into(), ..Default::default() };
        Ok(self.call(methods::RANGE, request).await?.kvs.len())
    }

    /// Number of keys found from `key` up to `end`.
    pub async fn range(&self, key: impl Into<Bytes>, end: impl Into<Bytes>) -> Result<usize, Failure> {
        let request = RangeRequest { key: key.into(), range_end: end.into(), ..Default::default() };
        Ok(self.call(methods::RANGE, request).await?.kvs.len())
    }

    /// Puts several keys at one revision.
    pub async fn put_all(&self, keys: impl Iterator<Item = String>, value: &Bytes) -> Result<(), Failure> {
        let put = |key: String| {
            let put = PutRequest { key: key.into(), value: value.clone(), ..Default::default() };
            RequestOp { request: Some(Request::Put(put)) }
        };
        self.call(methods::TXN, TxnRequest { success: keys.map(put).collect(), ..Default::default() }).await.map(drop)
    }

    /// Deletes all keys, in portions: all at once may take longer than a server lets a request take.
    pub async fn delete_all(&self) -> Result<(), Failure> {
        let all = Bytes::from_static(b"\0");
        loop {
            let range = RangeRequest {
                key: all.clone(),
                range_end: all.clone(),
                limit: PORTION,
                keys_only: true,
                ..Default::default()
            };
            let found = self.call(methods::RANGE, range).await?;
            let Some(last) = found.kvs.last() else { return Ok(()) };
            let end = Bytes::from([&last.key[..], b"\0"].concat());
            let request = DeleteRangeRequest { key: all.clone(), range_end: end, prev_kv: false };
            self.call(methods::DELETE_RANGE, request).await?;
        }
    }

    /// Begins many watches of the keys from `key` to `end` on one stream. They end when the second value is dropped:
    /// otherwise the open request would keep stream and connection.
    pub async fn watch(
        &self,
        key: &str,
        end: &str,
        count: usize,
    ) -> Result<(Streaming<WatchResponse>, oneshot::Sender<()>), Failure> {
        let create = WatchCreateRequest {
            key: Bytes::copy_from_slice(key.as_bytes()),
            range_end: Bytes::copy_from_slice(end.as_bytes()),
            ..Default::default()
        };
        let request = WatchRequest { request: Some(Ask::Create(create)) };
        let requests = futures::stream::iter(std::iter::repeat_n(request, count));
        let (open, ended) = oneshot::channel();
        let requests = requests.chain(futures::stream::once(ended).filter_map(|_| std::future::ready(None)));
        let mut grpc = Grpc::new(self.0.clone()).max_decoding_message_size(ANSWER_BYTES);
        grpc.ready().await?;
        let method = methods::WATCH;
        let answered = grpc.streaming(Call::new(requests), method.uri(), method.client_codec()).await?;
        Ok((answered.into_inner(), open))
    }

    /// Takes a snapshot and throws it away; its size.
    pub async fn snapshot(&self) -> Result<u64, Failure> {
        let mut grpc = Grpc::new(self.0.clone()).max_decoding_message_size(ANSWER_BYTES);
        grpc.ready().await?;
        let method = methods::SNAPSHOT;
        let answers = grpc.server_streaming(Call::new(Anything {}), method.uri(), method.client_codec()).await?;
        let (mut answers, mut bytes) = (answers.into_inner(), 0);
        while let Some(piece) = answers.message().await? {
            bytes += piece.blob.len() as u64;
        }
        Ok(bytes)
    }
}
