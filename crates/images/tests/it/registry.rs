//! A small image registry on loopback: tokens or passwords, ranges, and faults on demand.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::Result;

/// What the registry asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Open,
    /// `Authorization: Basic` of user `u`, password `p`.
    Basic,
    /// A token that is given for the same.
    Token,
}

#[derive(Default)]
pub struct Shelf {
    /// By path below `/v2/`.
    pub content: Mutex<HashMap<String, (String, Vec<u8>)>>,
    /// Paths asked for, in order.
    pub asked: Mutex<Vec<String>>,
    /// Break the connection in the middle of the next large blob.
    pub break_once: AtomicBool,
}

pub struct Registry {
    pub host: String,
    pub shelf: Arc<Shelf>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// `u:p` in base64.
const BASIC: &str = "Basic dTpw";
const TOKEN: &str = "Bearer the-token";

impl Registry {
    pub async fn serve(door: Door) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let host = listener.local_addr()?.to_string();
        let shelf = Arc::new(Shelf::default());
        let (served, name) = (Arc::clone(&shelf), host.clone());
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shelf, host) = (Arc::clone(&served), name.clone());
                tokio::spawn(async move {
                    // A client that hangs up is no concern of the registry.
                    let _ = talk(stream, door, &host, &shelf).await;
                });
            }
        });
        Ok(Self { host, shelf, server })
    }

    pub fn asked(&self, part: &str) -> usize {
        self.shelf.asked.lock().iter().filter(|path| path.contains(part)).count()
    }
}

async fn talk(stream: TcpStream, door: Door, host: &str, shelf: &Shelf) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            lines.push(line.trim().to_owned());
        }
        let path = lines[0].split(' ').nth(1).unwrap_or_default().to_owned();
        let header = |name: &str| {
            lines.iter().find_map(|line| {
                let (key, value) = line.split_once(": ")?;
                key.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        shelf.asked.lock().push(path.clone());
        let authorization = header("authorization").unwrap_or_default();
        let range = header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let answer = answer(&path, &authorization, range, door, host, shelf);
        stream.write_all(answer.head.as_bytes()).await?;
        let half = answer.body.len() / 2;
        if answer.body.len() > 100_000 && shelf.break_once.swap(false, Ordering::SeqCst) {
            stream.write_all(&answer.body[..half]).await?;
            return stream.shutdown().await;
        }
        stream.write_all(&answer.body).await?;
    }
}

struct Answer {
    head: String,
    body: Vec<u8>,
}

fn reply(status: &str, headers: &str, body: Vec<u8>) -> Answer {
    Answer { head: format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len()), body }
}

fn answer(path: &str, authorization: &str, range: Option<usize>, door: Door, host: &str, shelf: &Shelf) -> Answer {
    if path.starts_with("/token") {
        return match authorization == BASIC {
            true => reply("200 OK", "", br#"{"token":"the-token"}"#.to_vec()),
            false => reply("401 Unauthorized", "", Vec::new()),
        };
    }
    let (challenge, wanted) = match door {
        Door::Open => (String::new(), authorization),
        Door::Basic => ("WWW-Authenticate: Basic realm=\"r\"\r\n".to_owned(), BASIC),
        Door::Token => (format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"s\"\r\n"), TOKEN),
    };
    if authorization != wanted {
        return reply("401 Unauthorized", &challenge, Vec::new());
    }
    if path == "/v2/" {
        return reply("200 OK", "", Vec::new());
    }
    let content = shelf.content.lock();
    match content.get(path.trim_start_matches("/v2/")) {
        None => {
            reply("404 Not Found", "", br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"","detail":""}]}"#.to_vec())
        }
        Some((kind, body)) => match range {
            Some(from) if from <= body.len() => {
                let part = body[from..].to_vec();
                let range = format!("Content-Range: bytes {from}-{}/{}\r\n", body.len().saturating_sub(1), body.len());
                reply("206 Partial Content", &format!("Content-Type: {kind}\r\n{range}"), part)
            }
            _ => reply("200 OK", &format!("Content-Type: {kind}\r\n"), body.clone()),
        },
    }
}
