//! Frames of Kubernetes' remote command protocols: one byte of channel, then data. Pure.
//!
//! Source: `k8s.io/apimachinery/pkg/util/remotecommand` and `k8s.io/client-go/tools/remotecommand`.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use crate::ports::{ExecExit, TerminalSize};

pub(crate) const STDIN: u8 = 0;
pub(crate) const STDOUT: u8 = 1;
pub(crate) const STDERR: u8 = 2;
pub(crate) const ERROR: u8 = 3;
pub(crate) const RESIZE: u8 = 4;
/// Since version 5: ends the channel named by the next byte.
pub(crate) const CLOSE: u8 = 255;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    V5,
    V4,
    /// `channel.k8s.io`: errors are plain text.
    V1,
}

/// Versions by their WebSocket subprotocol, best first.
pub(crate) const PROTOCOLS: [(&str, Protocol); 3] =
    [("v5.channel.k8s.io", Protocol::V5), ("v4.channel.k8s.io", Protocol::V4), ("channel.k8s.io", Protocol::V1)];

/// What a client's frame says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Stdin(Bytes),
    StdinClosed,
    Resize(TerminalSize),
    /// Nothing that needs an answer.
    Nothing,
}

/// Reads a client's frame.
pub(crate) fn read(protocol: Protocol, frame: &Bytes) -> Input {
    match frame.split_first() {
        Some((&STDIN, [])) => Input::Nothing,
        Some((&STDIN, _)) => Input::Stdin(frame.slice(1..)),
        Some((&RESIZE, data)) => size(data).map_or(Input::Nothing, Input::Resize),
        Some((&CLOSE, [STDIN])) if protocol == Protocol::V5 => Input::StdinClosed,
        _ => Input::Nothing,
    }
}

/// The size of a terminal in a client's words.
pub(crate) fn size(data: &[u8]) -> Option<TerminalSize> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Wire {
        width: u16,
        height: u16,
    }
    let wire: Wire = serde_json::from_slice(data).ok()?;
    Some(TerminalSize { width: wire.width, height: wire.height })
}

/// A frame of a channel.
pub(crate) fn write(channel: u8, data: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(data.len() + 1);
    frame.push(channel);
    frame.extend_from_slice(data);
    frame.into()
}

/// The last frame: how the command ended.
pub(crate) fn exit(protocol: Protocol, exit: &ExecExit) -> Option<Bytes> {
    match (protocol, exit) {
        (Protocol::V1, ExecExit::Code(0)) => None,
        (Protocol::V1, other) => Some(write(ERROR, message(other).as_bytes())),
        (_, other) => Some(write(ERROR, status(other).as_bytes())),
    }
}

fn message(exit: &ExecExit) -> String {
    match exit {
        ExecExit::Code(code) => format!("command terminated with non-zero exit code: exit status {code}"),
        ExecExit::Failed(why) => why.clone(),
    }
}

/// How the command ended, as a `Status` in JSON.
pub(crate) fn status(exit: &ExecExit) -> String {
    let status = match exit {
        ExecExit::Code(0) => json!({"metadata": {}, "status": "Success"}),
        ExecExit::Code(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": message(exit),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        ExecExit::Failed(why) => {
            json!({"metadata": {}, "status": "Failure", "message": why, "reason": "InternalError", "code": 500})
        }
    };
    status.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn frames_say_what_kubectl_means() {
        let read5 = |frame: &'static [u8]| read(Protocol::V5, &Bytes::from_static(frame));
        assert_eq!(read5(b"\x00hello"), Input::Stdin(Bytes::from_static(b"hello")));
        assert_eq!(read5(b"\xff\x00"), Input::StdinClosed);
        assert_eq!(read(Protocol::V4, &Bytes::from_static(b"\xff\x00")), Input::Nothing);
        assert_eq!(read5(b"\x04{\"Width\":80,\"Height\":24}"), Input::Resize(TerminalSize { width: 80, height: 24 }));
        for odd in [&b""[..], b"\x00", b"\x04{}", b"\x09x", b"\xff"] {
            assert_eq!(read5(odd), Input::Nothing, "{odd:?}");
        }
    }

    #[test]
    fn the_exit_code_is_a_cause_of_the_status() {
        let frame = exit(Protocol::V4, &ExecExit::Code(7)).unwrap();
        assert_eq!(frame[0], ERROR);
        let status: Value = serde_json::from_slice(&frame[1..]).unwrap();
        assert_eq!(status["reason"], "NonZeroExitCode");
        assert_eq!(status["details"]["causes"][0], json!({"reason": "ExitCode", "message": "7"}));
        assert_eq!(exit(Protocol::V1, &ExecExit::Code(0)), None);
    }
}
