//! From the path of a request to the function that answers it.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Request, Response, Status, Streaming};

use super::EtcdServer;
use crate::limits::MAX_REQUEST_BYTES;
use crate::wire::methods::{self, Method};

type Call = http::Request<Incoming>;
type Answer = http::Response<Body>;
type Handler = Box<dyn Fn(Arc<EtcdServer>, Call) -> BoxFuture<'static, Answer> + Send + Sync>;
/// What a method that answers with a stream returns.
pub(super) type ResponseStream<A> = BoxStream<'static, Result<A, Status>>;

/// All methods of the server.
pub(crate) struct Routes {
    handlers: HashMap<&'static str, Handler>,
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.handlers.keys()).finish()
    }
}

impl Routes {
    /// Every method there is.
    pub(crate) fn all() -> Self {
        let mut routes = Routes { handlers: HashMap::new() };
        routes.keys_and_leases();
        routes.members_and_maintenance();
        routes.accounts();
        routes.locks_and_elections();
        routes
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, server: &Arc<EtcdServer>, request: Call) -> Answer {
        match self.handlers.get(request.uri().path()) {
            Some(handler) => handler(server.clone(), request).await,
            None => Status::unimplemented(format!("unknown method {}", request.uri().path())).into_http(),
        }
    }

    fn keys_and_leases(&mut self) {
        self.unary(methods::RANGE, EtcdServer::range);
        self.unary(methods::PUT, EtcdServer::put);
        self.unary(methods::DELETE_RANGE, EtcdServer::delete_range);
        self.unary(methods::TXN, EtcdServer::txn);
        self.unary(methods::COMPACT, EtcdServer::compact);
        self.streaming(methods::WATCH, EtcdServer::watch);
        self.unary(methods::LEASE_GRANT, EtcdServer::lease_grant);
        self.unary(methods::LEASE_REVOKE, EtcdServer::lease_revoke);
        self.streaming(methods::LEASE_KEEP_ALIVE, EtcdServer::lease_keep_alive);
        self.unary(methods::LEASE_TIME_TO_LIVE, EtcdServer::lease_time_to_live);
        self.unary(methods::LEASE_LEASES, EtcdServer::lease_leases);
    }

    fn members_and_maintenance(&mut self) {
        self.unary(methods::MEMBER_ADD, EtcdServer::member_add);
        self.unary(methods::MEMBER_REMOVE, EtcdServer::member_remove);
        self.unary(methods::MEMBER_UPDATE, EtcdServer::member_update);
        self.unary(methods::MEMBER_LIST, EtcdServer::member_list);
        self.unary(methods::MEMBER_PROMOTE, EtcdServer::member_promote);
        self.unary(methods::ALARM, EtcdServer::alarm);
        self.unary(methods::STATUS, EtcdServer::status);
        self.unary(methods::DEFRAGMENT, EtcdServer::defragment);
        self.unary(methods::HASH, EtcdServer::hash);
        self.unary(methods::HASH_KV, EtcdServer::hash_kv);
        self.answers(methods::SNAPSHOT, EtcdServer::snapshot);
        self.unary(methods::MOVE_LEADER, EtcdServer::move_leader);
        self.unary(methods::HEALTH_CHECK, EtcdServer::health_check);
        self.answers(methods::HEALTH_WATCH, EtcdServer::health_watch);
    }

    fn accounts(&mut self) {
        self.unary(methods::AUTH_ENABLE, EtcdServer::auth_enable);
        self.unary(methods::AUTH_DISABLE, EtcdServer::auth_disable);
        self.unary(methods::AUTH_STATUS, EtcdServer::auth_status);
        self.unary(methods::AUTHENTICATE, EtcdServer::authenticate);
        self.unary(methods::USER_ADD, EtcdServer::account_add);
        self.unary(methods::ROLE_ADD, EtcdServer::account_add);
        self.unary(methods::USER_LIST, EtcdServer::account_list);
        self.unary(methods::ROLE_LIST, EtcdServer::account_list);
        self.unary(methods::USER_GET, EtcdServer::user_get);
        for method in
            [methods::USER_DELETE, methods::USER_CHANGE_PASSWORD, methods::USER_GRANT_ROLE, methods::USER_REVOKE_ROLE]
        {
            self.unary(method, EtcdServer::user_change);
        }
        for method in
            [methods::ROLE_GET, methods::ROLE_DELETE, methods::ROLE_GRANT_PERMISSION, methods::ROLE_REVOKE_PERMISSION]
        {
            self.unary(method, EtcdServer::role_change);
        }
    }

    fn locks_and_elections(&mut self) {
        self.unary(methods::LOCK, EtcdServer::lock);
        self.unary(methods::UNLOCK, EtcdServer::unlock);
        self.unary(methods::CAMPAIGN, EtcdServer::campaign);
        self.unary(methods::PROCLAIM, EtcdServer::proclaim);
        self.unary(methods::LEADER, EtcdServer::leader);
        self.answers(methods::OBSERVE, EtcdServer::observe);
        self.unary(methods::RESIGN, EtcdServer::resign);
    }

    /// One request, one answer.
    fn unary<Q, A, F, R>(&mut self, method: Method<Q, A>, run: F)
    where
        Q: prost::Message + Default + 'static,
        A: prost::Message + 'static,
        F: Fn(Arc<EtcdServer>, Q) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<A, Status>> + Send + 'static,
    {
        self.insert(method.path, move |server, call| {
            let run = run.clone();
            let service = tower::service_fn(move |request: Request<Q>| {
                let answer = run(server.clone(), request.into_inner());
                async move { answer.await.map(Response::new) }
            });
            async move { grpc(method).unary(service, call).await }.boxed()
        });
    }

    /// One request, a stream of answers.
    fn answers<Q, A, F, R>(&mut self, method: Method<Q, A>, run: F)
    where
        Q: prost::Message + Default + 'static,
        A: prost::Message + 'static,
        F: Fn(Arc<EtcdServer>, Q) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<ResponseStream<A>, Status>> + Send + 'static,
    {
        self.insert(method.path, move |server, call| {
            let run = run.clone();
            let service = tower::service_fn(move |request: Request<Q>| {
                let answers = run(server.clone(), request.into_inner());
                async move { answers.await.map(Response::new) }
            });
            async move { grpc(method).server_streaming(service, call).await }.boxed()
        });
    }

    /// A stream of requests, a stream of answers.
    fn streaming<Q, A, F, R>(&mut self, method: Method<Q, A>, run: F)
    where
        Q: prost::Message + Default + 'static,
        A: prost::Message + 'static,
        F: Fn(Arc<EtcdServer>, Streaming<Q>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<ResponseStream<A>, Status>> + Send + 'static,
    {
        self.insert(method.path, move |server, call| {
            let run = run.clone();
            let service = tower::service_fn(move |request: Request<Streaming<Q>>| {
                let answers = run(server.clone(), request.into_inner());
                async move { answers.await.map(Response::new) }
            });
            async move { grpc(method).streaming(service, call).await }.boxed()
        });
    }

    fn insert(
        &mut self,
        path: &'static str,
        handler: impl Fn(Arc<EtcdServer>, Call) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
    ) {
        let before = self.handlers.insert(path, Box::new(handler));
        debug_assert!(before.is_none(), "{path} is routed twice");
    }
}

fn grpc<Q, A>(method: Method<Q, A>) -> Grpc<tonic_prost::ProstCodec<A, Q>>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + 'static,
{
    Grpc::new(method.server_codec()).max_decoding_message_size(MAX_REQUEST_BYTES).max_encoding_message_size(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_protocol_is_routed() {
        let routes = Routes::all();
        let missing: Vec<_> = methods::PATHS.iter().filter(|path| !routes.handlers.contains_key(**path)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!(routes.handlers.len(), methods::PATHS.len());
    }
}
