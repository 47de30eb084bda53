//! Requests of HTTP probes, with Kubernetes' way of following redirects.

use std::{net::IpAddr, time::Duration};

use reqwest::{Client, Url, redirect};

use crate::error::{Error, Result, chain};

/// Most redirects that are followed (Kubernetes).
const REDIRECTS_MAX: usize = 10;

/// What a try found: that it passed, with what somebody should know about it; or why it did not.
pub type Verdict = std::result::Result<Option<String>, String>;

/// What becomes of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Redirect {
    Follow,
    /// The answer counts as it is.
    Stay,
    TooMany,
}

/// Decides by the URLs that were asked before, the first one first.
fn redirect(next: &Url, before: &[Url]) -> Redirect {
    let host = before.first().and_then(Url::host_str);
    match (next.host_str() == host, before.len() > REDIRECTS_MAX) {
        (false, _) => Redirect::Stay,
        (true, false) => Redirect::Follow,
        (true, true) => Redirect::TooMany,
    }
}

/// The client of HTTP probes: no proxies, no reuse, and certificates are not checked (Kubernetes). Redirects are
/// followed on the same host only: nobody is to be made to ask others.
///
/// # Errors
/// [`Error::NotRunning`] when it cannot be made.
pub fn client() -> Result<Client> {
    let policy = redirect::Policy::custom(|attempt| match redirect(attempt.url(), attempt.previous()) {
        Redirect::Follow => attempt.follow(),
        Redirect::Stay => attempt.stop(),
        Redirect::TooMany => attempt.error(format!("stopped after {REDIRECTS_MAX} redirects")),
    });
    Client::builder()
        .danger_accept_invalid_certs(true)
        .redirect(policy)
        .no_proxy()
        .pool_max_idle_per_host(0)
        .user_agent("kube-probe/nanocloud")
        .build()
        .map_err(|e| Error::NotRunning(format!("HTTP client for probes: {e}")))
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) path: &'a str,
    pub(super) tls: bool,
    pub(super) headers: &'a [(String, String)],
    pub(super) limit: Duration,
}

/// Sends it: an answer from 200 to 399 passes.
pub(super) async fn ask(client: &Client, ask: Ask<'_>) -> Verdict {
    let Ask { host, port, path, tls, headers, limit } = ask;
    let scheme = if tls { "https" } else { "http" };
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => host.to_owned(),
    };
    let mut request = client.get(format!("{scheme}://{host}:{port}{path}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = tokio::time::timeout(limit, request.send()).await;
    let answer = answer.map_err(|_| format!("no answer within {} s", limit.as_secs()))?;
    let answer = answer.map_err(|e| chain(&e.without_url()))?;
    let status = answer.status();
    if status.is_redirection() {
        return Ok(Some(format!("HTTP status {status} leads to another host; it was not followed")));
    }
    if status.is_success() { Ok(None) } else { Err(format!("HTTP status {status}")) }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn redirects_are_followed_on_the_same_host_ten_times() {
        let url = |text: &str| Url::parse(text).unwrap();
        let before = |n: usize| vec![url("http://10.0.0.1:80/"); n];
        for (next, asked, wanted) in [
            ("http://10.0.0.1:80/login", 1, Redirect::Follow),
            ("https://10.0.0.1:8443/", 10, Redirect::Follow),
            ("http://10.0.0.1/again", 11, Redirect::TooMany),
            ("http://10.0.0.2/", 1, Redirect::Stay),
            ("http://example.com/", 11, Redirect::Stay),
        ] {
            assert_eq!(redirect(&url(next), &before(asked)), wanted, "{next} {asked}");
        }
    }

    /// A server on loopback: each path has its status and the place it leads to.
    async fn serve(listener: TcpListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = text.split(' ').nth(1).unwrap_or_default();
            let head = match path {
                "/ok" => "200 OK\r\n".to_owned(),
                "/to-ok" => "302 Found\r\nlocation: /ok\r\n".to_owned(),
                "/to-broken" => "302 Found\r\nlocation: /broken\r\n".to_owned(),
                "/loop" => "302 Found\r\nlocation: /loop\r\n".to_owned(),
                "/away" => "302 Found\r\nlocation: http://elsewhere.invalid/\r\n".to_owned(),
                _ => "500 Broken\r\n".to_owned(),
            };
            let answer = format!("HTTP/1.1 {head}content-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    }

    #[tokio::test]
    async fn what_a_redirect_leads_to_decides() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(serve(listener));
        let client = client().unwrap();
        let try_one = async |path: &str| {
            let limit = Duration::from_secs(10);
            ask(&client, Ask { host: "127.0.0.1", port, path, tls: false, headers: &[], limit }).await
        };
        assert_eq!(try_one("/ok").await, Ok(None));
        assert_eq!(try_one("/to-ok").await, Ok(None));
        assert!(try_one("/to-broken").await.unwrap_err().contains("500"));
        assert!(try_one("/loop").await.unwrap_err().contains("stopped after 10 redirects"));
        assert!(try_one("/away").await.unwrap().unwrap().contains("another host"));
        server.abort();
    }
}
