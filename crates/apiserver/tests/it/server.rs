//! A server over the memory keyspace, and a client that calls its router.

use std::{sync::Arc, time::Duration};

use api::{Kinds, Status};
use apiserver::{
    ApiServer, Config, Connection, ExecExit, ExecOptions, ExecSession, LogOptions, PodStreams, Security, StreamError,
};
use async_trait::async_trait;
use axum::{Router, body::Body, response::Response};
use bytes::Bytes;
use futures::{StreamExt, future, stream, stream::BoxStream};
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use jiff::Timestamp;
use keyspace::MemoryKeyspace;
use serde_json::Value;
use tokio::sync::mpsc;
use tower::ServiceExt;
use trust::{Authority, Envelope, MasterKeys, Subject, TokenKeys, Tokens};

/// Pods whose command `exit N` exits with N, whose `cat` repeats its input, and whose log is two lines. Their port 7
/// repeats what it gets, and nobody listens at port 1.
pub struct ScriptedPods;

#[async_trait]
impl PodStreams for ScriptedPods {
    async fn logs(
        &self,
        _: &str,
        _: &str,
        options: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, StreamError> {
        const LINES: [&str; 2] = ["one\n", "two\n"];
        let from = LINES.len() - options.tail_lines.map_or(LINES.len(), |count| LINES.len().min(count as usize));
        Ok(stream::iter(LINES[from..].iter().map(|line| Ok(Bytes::from_static(line.as_bytes())))).boxed())
    }

    async fn exec(&self, _: &str, _: &str, options: ExecOptions) -> Result<ExecSession, StreamError> {
        let (stdin, input) = mpsc::channel(4);
        let code = match options.command[..] {
            [ref program, ref code] if program == "exit" => code.parse().unwrap_or(1),
            _ => 0,
        };
        if options.command[0] == "missing" {
            let why = ExecExit::Failed("no program \"missing\"".into());
            return Ok(session(None, stream::empty().boxed(), why));
        }
        let echo = options.command[0] == "cat";
        let stdout = if echo {
            stream::unfold(input, |mut input| async { input.recv().await.map(|data| (data, input)) }).boxed()
        } else {
            stream::iter([Bytes::from_static(b"out\n")]).boxed()
        };
        Ok(session(options.stdin.then_some(stdin), stdout, ExecExit::Code(code)))
    }

    async fn attach(&self, _: &str, _: &str, options: ExecOptions) -> Result<ExecSession, StreamError> {
        assert!(options.command.is_empty());
        Ok(session(None, stream::iter([Bytes::from_static(b"attached\n")]).boxed(), ExecExit::Code(0)))
    }

    async fn connect(&self, _: &str, _: &str, port: u16) -> Result<Box<dyn Connection>, StreamError> {
        if port != 7 {
            return Err(Box::new(Status::failure(api::Reason::InternalError, "nobody listens")));
        }
        let (near, far) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let (mut from, mut to) = tokio::io::split(far);
            let _ = tokio::io::copy(&mut from, &mut to).await;
        });
        Ok(Box::new(near))
    }
}

fn session(stdin: Option<mpsc::Sender<Bytes>>, stdout: BoxStream<'static, Bytes>, exit: ExecExit) -> ExecSession {
    let stderr = stream::empty().boxed();
    ExecSession { stdin, stdout, stderr, resize: None, exit: Box::pin(future::ready(exit)) }
}

pub struct Server {
    pub api: ApiServer,
    pub router: Router,
    pub keyspace: Arc<MemoryKeyspace>,
    pub authority: Arc<Authority>,
    pub tokens: Arc<Tokens>,
    pub security: Security,
}

/// A fresh server with its built-in namespaces.
pub async fn start() -> Server {
    start_with(Kinds::builtin()).await
}

/// A fresh server that serves these kinds.
pub async fn start_with(kinds: Kinds) -> Server {
    let now = Timestamp::now();
    let (authority, _) = Authority::generate("test authority", now).unwrap();
    let security = Security {
        authority: Arc::new(authority),
        tokens: Arc::new(Tokens::new("test", &TokenKeys::generate(now).unwrap()).unwrap()),
        envelope: Arc::new(Envelope::new(&MasterKeys::generate(now).unwrap())),
    };
    assemble(kinds, Arc::new(MemoryKeyspace::new()), security, Arc::new(ScriptedPods)).await
}

/// A server over a keyspace that others may have, too.
pub async fn start_over(keyspace: Arc<MemoryKeyspace>, security: Security, pods: Arc<dyn PodStreams>) -> Server {
    assemble(Kinds::builtin(), keyspace, security, pods).await
}

async fn assemble(
    kinds: Kinds,
    keyspace: Arc<MemoryKeyspace>,
    security: Security,
    pods: Arc<dyn PodStreams>,
) -> Server {
    let config = Config { kinds, ..Config::new("10.96.0.0/24".parse().unwrap()) };
    let (authority, tokens) = (security.authority.clone(), security.tokens.clone());
    let api = ApiServer::new(config, keyspace.clone(), security.clone(), pods, Arc::default());
    api.prepare().await.unwrap();
    Server { router: api.router(), api, keyspace, authority, tokens, security }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub code: StatusCode,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn version(&self) -> &str {
        self.body["metadata"]["resourceVersion"].as_str().unwrap_or_default()
    }

    #[track_caller]
    pub fn expect(self, code: u16) -> Self {
        assert_eq!(self.code.as_u16(), code, "{:#}", self.body);
        self
    }
}

/// A request to be.
pub struct Ask {
    request: http::request::Builder,
    body: Body,
}

pub fn ask(method: &str, path: &str) -> Ask {
    let request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
    Ask { request: request.extension(Subject::admin("tester")), body: Body::empty() }
}

impl Ask {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn version(mut self, version: http::Version) -> Self {
        self.request = self.request.version(version);
        self
    }

    /// Makes the request somebody else's.
    pub fn by(mut self, subject: Subject) -> Self {
        self.request = self.request.extension(subject);
        self
    }

    /// Makes the request one from outside the process: without a subject.
    pub fn outside(mut self) -> Self {
        self.request.extensions_mut().unwrap().remove::<Subject>();
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.typed("application/json", body)
    }

    pub fn typed(mut self, media_type: &str, body: &Value) -> Self {
        self.request = self.request.header(header::CONTENT_TYPE, media_type);
        self.body = body.to_string().into();
        self
    }

    pub fn raw(mut self, body: Vec<u8>) -> Self {
        self.body = body.into();
        self
    }

    pub async fn open(self, server: &Server) -> Response {
        server.router.clone().oneshot(self.request.body(self.body).unwrap()).await.unwrap()
    }

    pub async fn send(self, server: &Server) -> Answer {
        let (parts, body) = self.open(server).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer { code: parts.status, headers: parts.headers, body }
    }
}

/// Longest wait for an event that must come; only a failing test waits that long.
const EVENT_TIMEOUT: Duration = Duration::from_secs(20);

/// The events of a watch, one by one.
pub struct Watch {
    body: Body,
    buffer: Vec<u8>,
}

impl Watch {
    pub async fn open(server: &Server, path: &str) -> Self {
        Self::of(ask("GET", path).open(server).await)
    }

    pub fn of(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        Self { body: response.into_body(), buffer: Vec::new() }
    }

    /// The next event, or nothing when the watch has ended.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(EVENT_TIMEOUT, self.body.frame()).await.expect("no event came");
            self.buffer.extend_from_slice(frame?.unwrap().data_ref().unwrap());
        }
    }

    /// Type and name of the next event.
    pub async fn told(&mut self) -> (String, String) {
        let event = self.next().await.expect("the watch ended");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}
