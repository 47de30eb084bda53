//! Bodies as streams of lines.

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use http_body_util::BodyStream;

use crate::{Body, Error, Result};

/// Longest line that is read: an object with its table row.
pub(crate) const LINE_MAX_BYTES: usize = 8 * 1024 * 1024;

/// The lines of a body, without their newlines. A last line without newline counts.
pub(crate) fn lines(body: Body, server: String) -> impl Stream<Item = Result<Bytes>> + Send + Unpin {
    let state = (BodyStream::new(body), BytesMut::new(), server, false);
    Box::pin(stream::unfold(state, |(mut frames, mut buffer, server, ended)| async move {
        let mut ended = ended;
        loop {
            if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line = buffer.split_to(end).freeze();
                buffer.advance(1);
                return Some((Ok(line), (frames, buffer, server, ended)));
            }
            if ended {
                let rest = buffer.split().freeze();
                return (!rest.is_empty()).then_some((Ok(rest), (frames, buffer, server, ended)));
            }
            if buffer.len() > LINE_MAX_BYTES {
                let error = Error::TooLarge { request: "a stream".into(), limit: LINE_MAX_BYTES };
                buffer.clear();
                return Some((Err(error), (frames, buffer, server, true)));
            }
            match frames.next().await {
                None => ended = true,
                Some(Ok(frame)) => buffer.extend_from_slice(frame.data_ref().map_or(&[][..], |data| &data[..])),
                Some(Err(source)) => {
                    buffer.clear();
                    return Some((
                        Err(Error::Transport { server: server.clone(), source }),
                        (frames, buffer, server, true),
                    ));
                }
            }
        }
    }))
}
