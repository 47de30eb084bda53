//! How requests travel: over TLS, or into a service of this process.

use std::{convert::Infallible, sync::Arc, time::Duration};

use api::Status;
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt;
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use tower::{Service, ServiceExt, util::BoxCloneSyncService};
use trust::Subject;

use crate::{
    Body, BoxError, Config, Error, Identity, Result,
    body::full_body,
    config::{CONNECT_TIMEOUT, REQUEST_TIMEOUT},
    curl,
};

/// Largest answer that is read into memory.
pub const ANSWER_MAX_BYTES: usize = 64 * 1024 * 1024;

/// How often an idle connection is asked whether it lives, and how long it may take to answer.
pub const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// The API server's router as a service of this process.
type InProcess = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// A connection to an API server; clones share it.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    transport: Transport,
    timeout: Duration,
    rehearses: bool,
}

enum Transport {
    Https { http: reqwest::Client, config: Config },
    InProcess { service: InProcess, subject: Subject },
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.server())
    }
}

impl Client {
    /// A client over TLS. Nothing is sent yet.
    pub fn connect(config: Config) -> Result<Self> {
        Self::over_tls(config, false)
    }

    /// A client over TLS that sends nothing: every request ends with [`Error::NotSent`], which has the command that
    /// would send it.
    pub fn rehearse(config: Config) -> Result<Self> {
        Self::over_tls(config, true)
    }

    fn over_tls(config: Config, rehearses: bool) -> Result<Self> {
        let tls = config.tls(&[b"h2", b"http/1.1"])?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_TIMEOUT)
            // The address is the server's own; a proxy of the environment is for other places.
            .no_proxy()
            // A watch on a connection that died unnoticed would wait for ever.
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Error::Config { field: "TLS", message: error.to_string() })?;
        let timeout = config.timeout;
        Ok(Self { shared: Arc::new(Shared { transport: Transport::Https { http, config }, timeout, rehearses }) })
    }

    /// A client of a service in this process, as `subject`: same admission and authorisation as from outside, and no
    /// socket.
    pub fn in_process<S, B>(service: S, subject: Subject) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: BodyExt<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let boxed = |response: Response<B>| response.map(|body| body.map_err(Into::into).boxed_unsync());
        let transport = Transport::InProcess { service: InProcess::new(service.map_response(boxed)), subject };
        Self { shared: Arc::new(Shared { transport, timeout: REQUEST_TIMEOUT, rehearses: false }) }
    }

    /// Address of the server, for messages.
    pub fn server(&self) -> String {
        match &self.shared.transport {
            Transport::Https { config, .. } => config.server.as_str().trim_end_matches('/').to_owned(),
            Transport::InProcess { .. } => "in-process".into(),
        }
    }

    /// The configuration, of a client over TLS.
    pub fn config(&self) -> Option<&Config> {
        match &self.shared.transport {
            Transport::Https { config, .. } => Some(config),
            Transport::InProcess { .. } => None,
        }
    }

    /// Sends a request and returns the head of the answer with its body to be streamed. A failure
    /// status becomes [`Error::Api`].
    pub async fn stream(&self, request: Request<Bytes>) -> Result<Response<Body>> {
        self.ensure_sending(&request)?;
        let what = format!("{} {}", request.method(), request.uri().path());
        let sent = tokio::time::timeout(self.shared.timeout, self.dispatch(request)).await;
        let response = sent.map_err(|_| self.late(what.clone()))??;
        if response.status().is_success() || response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let code = response.status();
        let bytes = self.collect(response, &what).await?;
        let status = serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            Status::of_code(
                code.as_u16(),
                code.canonical_reason().unwrap_or("Unknown"),
                String::from_utf8_lossy(&bytes),
            )
        });
        Err(status.into())
    }

    /// Sends a request and reads the whole answer.
    pub async fn bytes(&self, request: Request<Bytes>) -> Result<Bytes> {
        let what = format!("{} {}", request.method(), request.uri().path());
        let response = self.stream(request).await?;
        let read = tokio::time::timeout(self.shared.timeout, self.collect(response, &what)).await;
        read.unwrap_or_else(|_| Err(self.late(what)))
    }

    /// Fails, with the command that sends the request, when this client only rehearses.
    pub(crate) fn ensure_sending(&self, request: &Request<Bytes>) -> Result<()> {
        if !self.shared.rehearses {
            return Ok(());
        }
        let bearer = self.config().is_some_and(|config| matches!(config.identity, Identity::Bearer(_)));
        Err(Error::NotSent { command: curl::command(&self.server(), request, bearer) })
    }

    fn late(&self, request: String) -> Error {
        Error::Timeout { server: self.server(), request, seconds: self.shared.timeout.as_secs() }
    }

    /// Sends a request and reads the answer as JSON.
    pub async fn json<T: DeserializeOwned>(&self, request: Request<Bytes>) -> Result<T> {
        let what = format!("{} {}", request.method(), request.uri().path());
        let bytes = self.bytes(request).await?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Decode { request: what, source: error.into() })
    }

    async fn dispatch(&self, request: Request<Bytes>) -> Result<Response<Body>> {
        match &self.shared.transport {
            Transport::InProcess { service, subject } => {
                let mut request = request.map(full_body);
                request.extensions_mut().insert(subject.clone());
                // Boxed: the compiler cannot prove the service's future `Send` through an opaque type.
                let answer: BoxFuture<'static, _> = Box::pin(service.clone().oneshot(request));
                let Ok(response) = answer.await;
                Ok(response)
            }
            Transport::Https { http, config } => {
                let url = config.server.join(&request.uri().to_string()).map_err(|e| Error::Request(e.to_string()))?;
                let (parts, body) = request.into_parts();
                let mut sent = http.request(parts.method, url).headers(parts.headers).body(body);
                if let Identity::Bearer(token) = &config.identity {
                    sent = sent.bearer_auth(token.expose_secret());
                }
                let response = sent.send().await.map_err(|error| self.unreachable(error))?;
                let response: Response<reqwest::Body> = response.into();
                Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
            }
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        Error::Transport { server: self.server(), source: error.into() }
    }

    async fn collect(&self, response: Response<Body>, what: &str) -> Result<Bytes> {
        let mut body = response.into_body();
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|source| Error::Transport { server: self.server(), source })?;
            if let Ok(data) = frame.into_data() {
                if all.len() + data.len() > ANSWER_MAX_BYTES {
                    return Err(Error::TooLarge { request: what.to_owned(), limit: ANSWER_MAX_BYTES });
                }
                all.extend_from_slice(&data);
            }
        }
        Ok(all.freeze())
    }
}
