//! A server that records what is asked of it, and answers as if everything were there.

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{
        FromRequestParts, State,
        ws::{Message, WebSocketUpgrade},
    },
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use http::{Method, header::CONTENT_TYPE, request::Parts};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use trust::{Authority, CertificateSpec, ClientAuth, Identity, Usage, tls};

/// A request, as far as a command decides it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub content_type: String,
    pub body: Value,
}

impl Asked {
    pub fn new(method: &str, target: &str, content_type: &str, body: &str) -> Self {
        let mut body: Value = serde_json::from_str(body).unwrap_or_default();
        if let Some(fields) = body.as_object_mut() {
            // A fresh key each time; and what is known only when the server was asked before.
            fields.remove("csr");
            fields.remove("preconditions");
        }
        Self { method: method.to_owned(), target: target.to_owned(), content_type: content_type.to_owned(), body }
    }
}

type Record = Arc<Mutex<Vec<Asked>>>;

pub struct Recorder {
    folder: tempfile::TempDir,
    address: SocketAddr,
    asked: Record,
    // Dropped last: the server ends with it.
    _runtime: tokio::runtime::Runtime,
}

impl Recorder {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let now = Timestamp::now();
        let (authority, _) = Authority::generate("test authority", now).unwrap();
        let spec = CertificateSpec {
            usage: Usage::Server,
            common_name: "api".into(),
            organizations: Vec::new(),
            names: vec!["127.0.0.1".into()],
            lifetime: Duration::from_secs(3600),
        };
        let issued = authority.issue(&spec, now).unwrap();
        let identity = Identity::from_pem(&issued.certificate_pem, issued.key_pem).unwrap();
        let certificate = tls::ServerCertificate::new(&identity);
        let tls = tls::server_config(&authority, certificate, ClientAuth::Optional).unwrap();
        let tcp = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = tcp.local_addr().unwrap();
        let asked = Record::default();
        let router = Router::new().fallback(answer).with_state(asked.clone());
        let listener = Listener { tcp, tls: Arc::new(tls).into() };
        runtime.spawn(async move { axum::serve(listener, router).await });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca"), authority.certificate_pem()).unwrap();
        std::fs::write(folder.path().join("token"), "secret").unwrap();
        Self { folder, address, asked, _runtime: runtime }
    }

    /// The program, which speaks to this server.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nanocloud"));
        command
            .args(words)
            .current_dir(self.folder.path())
            .env_remove("KUBECONFIG")
            .env("HOME", self.folder.path())
            .env("NANOCLOUD_STATE_ROOT", self.folder.path().join("state"))
            .env("NANOCLOUD_SERVER", format!("https://{}", self.address))
            .env("NANOCLOUD_CA", self.folder.path().join("ca"))
            .env("NANOCLOUD_TOKEN_FILE", self.folder.path().join("token"))
            .stdin(std::process::Stdio::null());
        command
    }

    /// Where commands run.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What was asked since the last call.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// What the commands for curl in a text would ask, as a shell reads them.
    pub fn printed(&self, commands: &str) -> Vec<Asked> {
        const CURL: &str = r#"curl() { printf 'curl\0'; printf '%s\0' "$@"; case " $* " in *" @- "*) cat; esac; printf '\0'; }
"#;
        let output = Command::new("sh").arg("-c").arg(format!("{CURL}{commands}")).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let calls = said.split("curl\0").skip(1);
        calls.map(|call| self.call(&call.split('\0').collect::<Vec<_>>())).collect()
    }

    fn call(&self, words: &[&str]) -> Asked {
        let after = |flag: &str| words.iter().position(|word| *word == flag).map(|at| words[at + 1]);
        let media = words.iter().find_map(|word| word.strip_prefix("Content-Type: ")).unwrap_or_default();
        let server = format!("https://{}", self.address);
        let url = words.iter().position(|word| word.starts_with(&server)).expect("a command names its URL");
        let target = words[url].strip_prefix(&server).unwrap();
        Asked::new(after("-X").unwrap_or("GET"), target, media, words[url + 1])
    }
}

struct Listener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, from)) = self.tcp.accept().await else { continue };
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

async fn answer(State(record): State<Record>, mut parts: Parts, body: Bytes) -> Response {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let media = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let text = String::from_utf8(body.to_vec()).unwrap();
    record.lock().unwrap().push(Asked::new(parts.method.as_str(), &target, &media, &text));
    let (version, kind) = kind_of(parts.uri.path());
    let item = json!({
        "apiVersion": version, "kind": kind,
        "metadata": {"name": "web-0", "namespace": "default", "uid": "1", "resourceVersion": "1"},
        "spec": {
            "service": "web", "containers": [], "bundle": "web", "bindingId": "b", "command": [],
            "target": {"bundle": "a", "service": "a"},
        }, "involvedObject": {"name": "web-0"}, "message": "all\nis well",
    });
    // What is awaited goes on: one piece comes, and no end.
    let endless =
        |line: String| Body::from_stream(stream::iter([Ok::<_, std::io::Error>(line)]).chain(stream::pending()));
    match parts.method {
        Method::GET if parts.uri.path().ends_with("/exec") => command(&mut parts).await,
        Method::GET if target.contains("/log?follow=true") => endless("a line\n".to_owned()).into_response(),
        Method::GET if target.contains("/log") => "a line\n".into_response(),
        Method::GET if target.contains("watch=true") => {
            endless(json!({"type": "ADDED", "object": item}).to_string() + "\n").into_response()
        }
        _ => {
            let mut object = item.clone();
            object["items"] = json!([item]);
            for field in ["token", "certificate", "ca", "expiresAt"] {
                object[field] = field.into();
            }
            object["gitVersion"] = "v1.0".into();
            axum::Json(object).into_response()
        }
    }
}

/// apiVersion and kind of what a path names; of no object nothing.
fn kind_of(path: &str) -> (String, String) {
    let words: Vec<&str> = path.split('/').skip(1).collect();
    let (version, rest) = match words[..] {
        ["api", version, ref rest @ ..] => (version.to_owned(), rest),
        ["apis", group, version, ref rest @ ..] => (format!("{group}/{version}"), rest),
        _ => return Default::default(),
    };
    let plural = if let ["namespaces", _, plural, ..] = *rest { plural } else { rest[0] };
    let kinds = api::kinds::all().iter();
    let found = kinds.filter(|kind| kind.api_version() == version).find(|kind| kind.plural() == plural);
    found.map(|kind| (version.clone(), kind.kind().to_owned())).unwrap_or_default()
}

/// A command that prints a line and ends well.
async fn command(parts: &mut Parts) -> Response {
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &()).await.unwrap();
    upgrade.protocols(["v5.channel.k8s.io"]).on_upgrade(|mut socket| async move {
        for frame in [&b"\x01a line\n"[..], b"\x03{\"status\":\"Success\"}"] {
            let _ = socket.send(Message::Binary(Bytes::copy_from_slice(frame))).await;
        }
    })
}
