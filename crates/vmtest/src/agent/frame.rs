//! Frames between harness and agent: magic, id, kind, length, payload.
//!
//! The line is a serial port that survives reboots of the guest, so either side may see the end of what was written
//! to a guest that is gone. A decoder therefore looks for the magic and skips what is before it.

use serde::{Deserialize, Serialize};

use crate::limits::FRAME_BYTES_MAX;

const MAGIC: [u8; 4] = *b"VMT1";
const HEADER: usize = 13;

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Harness: are you there? The id comes back.
    Hello = 1,
    /// Agent: here; [`Ready`].
    Ready = 2,
    /// Harness: run [`Run`]; frames about it have the same id.
    Run = 3,
    /// Harness: bytes for its standard input; none close it.
    Stdin = 4,
    /// Harness: kill it with everything it started.
    Kill = 5,
    /// Agent: bytes of its standard output.
    Stdout = 6,
    /// Agent: bytes of its standard error.
    Stderr = 7,
    /// Agent: it ended; [`Exit`]. The last frame of this id.
    Exit = 8,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        use Kind::{Exit, Hello, Kill, Ready, Run, Stderr, Stdin, Stdout};
        [Hello, Ready, Run, Stdin, Kill, Stdout, Stderr, Exit].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A program to run in the guest.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables beside the agent's own.
    #[serde(default)]
    pub env: Vec<(String, String)>,
}

/// State of the guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// `/proc/sys/kernel/random/boot_id`: another one after each boot.
    pub boot_id: String,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub monotonic_ns: u64,
}

/// How a program ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; 128 plus the signal when a signal ended it.
    pub code: Option<i32>,
    /// Why it could not be started.
    pub error: Option<String>,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which conversation.
    pub id: u32,
    /// What it says.
    pub kind: Kind,
    /// The rest.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame with bytes; at most [`FRAME_BYTES_MAX`] of them.
    pub fn new(id: u32, kind: Kind, payload: impl Into<Vec<u8>>) -> Self {
        let payload = payload.into();
        debug_assert!(payload.len() <= FRAME_BYTES_MAX);
        Self { id, kind, payload }
    }

    /// A frame with a value as JSON.
    pub fn json(id: u32, kind: Kind, value: &impl Serialize) -> Self {
        // Our own structs of strings and numbers: serialising them cannot fail.
        Self { id, kind, payload: serde_json::to_vec(value).unwrap_or_default() }
    }

    /// As bytes of the line.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.payload.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.push(self.kind as u8);
        bytes.extend_from_slice(&(self.payload.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// Bytes of the line to frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete frame. Bytes that belong to none are skipped.
    pub fn next_frame(&mut self) -> Option<Frame> {
        loop {
            let start = self.buffer.windows(MAGIC.len()).position(|window| window == MAGIC);
            let Some(start) = start else {
                // The magic may have begun at the very end.
                let keep = self.buffer.len().min(MAGIC.len() - 1);
                self.buffer.drain(..self.buffer.len() - keep);
                return None;
            };
            self.buffer.drain(..start);
            let header = self.buffer.first_chunk::<HEADER>()?;
            let id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            let length = u32::from_be_bytes([header[9], header[10], header[11], header[12]]) as usize;
            match Kind::from_byte(header[8]) {
                Some(kind) if length <= FRAME_BYTES_MAX => {
                    let payload = self.buffer.get(HEADER..HEADER + length)?.to_vec();
                    self.buffer.drain(..HEADER + length);
                    return Some(Frame { id, kind, payload });
                }
                _ => drop(self.buffer.drain(..MAGIC.len())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_however_the_line_cuts_them() {
        let frames = [Frame::new(1, Kind::Hello, []), Frame::new(7, Kind::Stdout, vec![0x56; 300])];
        let line: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        for size in [1, 2, 5, 13, 1000] {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for piece in line.chunks(size) {
                decoder.push(piece);
                seen.extend(std::iter::from_fn(|| decoder.next_frame()));
            }
            assert_eq!(seen, frames, "pieces of {size}");
        }
    }

    #[test]
    fn noise_half_frames_and_impossible_headers_are_skipped() {
        let good = Frame::new(9, Kind::Exit, *b"{}");
        let mut line = b"login: VMT".to_vec();
        line.extend_from_slice(b"VMT1\0\0\0\x01\xff\0\0\0\0");
        line.extend_from_slice(b"VMT1\0\0\0\x01\x06\xff\xff\xff\xff");
        line.extend_from_slice(&good.encode());
        let mut decoder = Decoder::default();
        decoder.push(&line);
        assert_eq!(decoder.next_frame(), Some(good));
        assert_eq!(decoder.next_frame(), None);
    }
}
