//! `pods/{name}/log`: a container's log as text.

use axum::{
    body::Body,
    extract::ws::{Message, WebSocket},
    response::Response,
};
use bytes::Bytes;
use futures::{SinkExt, Stream, StreamExt};
use http::{StatusCode, header};
use jiff::{SignedDuration, Timestamp};

use crate::{
    api_error::{ApiError, Result},
    limits,
    ports::LogOptions,
    query::params::Query,
    request::{context::RequestContext, response},
    sessions::upgrade::{self, Served, Upgrade},
};

/// Subprotocol of a log over a WebSocket: what comes are the bytes of the log.
const BINARY: &str = "binary.k8s.io";

pub(super) async fn serve(mut context: RequestContext, namespace: &str, name: &str) -> Result<Response> {
    let options = parse(&context.query, context.state.registry.now())?;
    let upgrade = match context.parts.headers.contains_key(header::UPGRADE) {
        true => Some(Upgrade::of(&mut context, &Served { websocket: vec![BINARY], spdy: None }).await?),
        false => None,
    };
    let place = context.state.admit_stream()?;
    let stop = context.state.stop.clone();
    let lines = context.state.streams.logs(namespace, name, options).await.map_err(|status| ApiError::from(*status))?;
    if let Some(Upgrade::WebSocket(socket, protocol)) = upgrade {
        return Ok(upgrade::websocket(*socket, protocol, move |socket| async move {
            let _place = place;
            stop.run_until_cancelled_owned(tell(socket, lines)).await;
        }));
    }
    let lines = lines.map(move |chunk| {
        let _held = &place;
        chunk
    });
    let body = Body::from_stream(lines.take_until(stop.cancelled_owned()));
    Ok(response::typed(StatusCode::OK, "text/plain; charset=utf-8", body))
}

/// Sends the log over a WebSocket, until it or the client ends.
async fn tell(socket: WebSocket, lines: impl Stream<Item = std::io::Result<Bytes>> + Send) {
    let (mut sink, mut source) = socket.split();
    let mut lines = std::pin::pin!(lines);
    let mut ping = tokio::time::interval(limits::WEBSOCKET_PING_EVERY);
    ping.reset();
    loop {
        let message = tokio::select! {
            line = lines.next() => match line {
                Some(Ok(data)) => Message::Binary(data),
                Some(Err(_)) | None => break,
            },
            said = source.next() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                // Nothing that a client says changes its log.
                Some(Ok(_)) => continue,
            },
            _ = ping.tick() => Message::Ping(Bytes::new()),
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
    // The client may be gone already, which changes nothing.
    let _ = sink.send(Message::Close(None)).await;
}

/// Reads `PodLogOptions`. Pure.
fn parse(query: &Query, now: Timestamp) -> Result<LogOptions> {
    let since = match (query.get("sinceTime"), query.number("sinceSeconds")?) {
        (Some(_), Some(_)) => return Err(ApiError::bad_request("give sinceTime or sinceSeconds, not both")),
        (Some(text), None) => {
            let at = text.parse::<Timestamp>();
            Some(at.map_err(|_| ApiError::bad_request(format!("sinceTime={text:?} must be a time (RFC 3339)")))?)
        }
        (None, Some(seconds)) => {
            let ago = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            Some(now.checked_sub(ago).unwrap_or(Timestamp::MIN))
        }
        (None, None) => None,
    };
    Ok(LogOptions {
        container: query.get("container").map(str::to_owned),
        follow: query.flag("follow")?,
        previous: query.flag("previous")?,
        timestamps: query.flag("timestamps")?,
        tail_lines: query.number("tailLines")?,
        since,
        limit_bytes: query.number("limitBytes")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_options_are_read_and_checked() {
        let now = Timestamp::from_second(1_000).unwrap();
        let options = |query| parse(&Query::parse(Some(query)), now);
        let read = options("container=c&follow=true&tailLines=5&sinceSeconds=10&timestamps=1").unwrap();
        assert_eq!((read.container.as_deref(), read.follow, read.tail_lines), (Some("c"), true, Some(5)));
        assert_eq!(read.since.map(Timestamp::as_second), Some(990));
        for bad in ["follow=maybe", "tailLines=-1", "sinceTime=now", "sinceTime=2020-01-01T00:00:00Z&sinceSeconds=1"] {
            assert!(options(bad).is_err(), "{bad}");
        }
    }
}
