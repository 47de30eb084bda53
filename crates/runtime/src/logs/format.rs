//! The CRI log line, made and read. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest piece of a line in one record; longer lines are cut into parts (as containerd does).
pub(crate) const PIECE_BYTES_MAX: usize = 16 << 10;

/// One of the two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamKind {
    /// Standard output (a terminal's output too).
    Stdout,
    /// Standard error.
    Stderr,
}

impl StreamKind {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One record of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// As written, so that it is given back unchanged.
    pub(crate) time: &'a str,
    pub(crate) stream: StreamKind,
    /// Whether the line ends here.
    pub(crate) full: bool,
    pub(crate) text: &'a [u8],
}

/// Appends one record.
pub(crate) fn append(out: &mut Vec<u8>, time: Timestamp, stream: StreamKind, full: bool, text: &[u8]) {
    out.extend_from_slice(format!("{time:.9} {} {} ", stream.name(), if full { 'F' } else { 'P' }).as_bytes());
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// Reads one line without its newline; `None` if it is no record (a torn write).
pub(crate) fn parse(line: &[u8]) -> Option<Record<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = match parts.next()? {
        b"stdout" => StreamKind::Stdout,
        b"stderr" => StreamKind::Stderr,
        _ => return None,
    };
    // Tags may follow the first one, separated by colons (CRI).
    let full = match parts.next()?.split(|byte| *byte == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Record { time, stream, full, text: parts.next()? })
}

/// Cuts a byte stream into pieces of lines.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    held: Vec<u8>,
}

impl Splitter {
    /// Takes bytes and gives each finished piece with whether its line ends there.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut emit: impl FnMut(bool, &[u8])) {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let room = PIECE_BYTES_MAX - self.held.len();
            let line = end.unwrap_or(bytes.len());
            if line > room {
                self.held.extend_from_slice(&bytes[..room]);
                bytes = &bytes[room..];
                emit(false, &self.held);
                self.held.clear();
                continue;
            }
            match end {
                Some(end) if self.held.is_empty() => emit(true, &bytes[..end]),
                Some(end) => {
                    self.held.extend_from_slice(&bytes[..end]);
                    emit(true, &self.held);
                    self.held.clear();
                }
                None => self.held.extend_from_slice(bytes),
            }
            bytes = end.map_or(&[], |end| &bytes[end + 1..]);
        }
    }

    /// Gives what is held at the end of the stream.
    pub(crate) fn finish(&mut self, emit: impl FnOnce(&[u8])) {
        if !self.held.is_empty() {
            emit(&self.held);
            self.held.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn record_round_trip_keeps_odd_bytes() {
        let mut out = Vec::new();
        let time = Timestamp::new(1_795_236_013, 5).unwrap_or(Timestamp::UNIX_EPOCH);
        append(&mut out, time, StreamKind::Stderr, false, b" \xff two  spaces ");
        let record = parse(&out[..out.len() - 1]);
        let expected = Record {
            time: "2026-11-21T04:40:13.000000005Z",
            stream: StreamKind::Stderr,
            full: false,
            text: b" \xff two  spaces ",
        };
        assert_eq!(record, Some(expected));
    }

    #[test]
    fn torn_lines_are_no_records() {
        for line in ["", "2026", "2026 stdout", "2026 stdout F", "2026 stdlog F x", "2026 stdout X x"] {
            assert_eq!(parse(line.as_bytes()), None, "{line:?}");
        }
        assert!(parse(b"2026 stdout F ").is_some_and(|record| record.text.is_empty()));
        assert!(parse(b"2026 stdout P:x y").is_some_and(|record| !record.full));
    }

    proptest! {
        /// However the bytes are cut on their way, the lines are the same and nothing is lost.
        #[test]
        fn splitting_loses_nothing(
            lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40_000), 0..4),
            cuts in proptest::collection::vec(1usize..9000, 1..40),
        ) {
            let mut stream: Vec<u8> = Vec::new();
            for line in &lines {
                stream.extend(line);
                stream.push(b'\n');
            }
            let mut splitter = Splitter::default();
            let mut rebuilt = Vec::new();
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                splitter.push(now, |full, piece| {
                    assert!(piece.len() <= PIECE_BYTES_MAX);
                    rebuilt.extend_from_slice(piece);
                    if full { rebuilt.push(b'\n'); }
                });
                rest = later;
            }
            splitter.finish(|piece| rebuilt.extend_from_slice(piece));
            prop_assert_eq!(rebuilt, stream);
        }
    }
}
