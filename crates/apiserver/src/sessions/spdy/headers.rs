//! Header blocks: pairs of names and values, through one compressor for the whole connection.
//!
//! Source: SPDY Protocol, Draft 3, section 2.6.10.

use std::{collections::BTreeMap, io};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::dictionary::dictionary;

/// Names in lower case, and their values.
pub(crate) type Headers = BTreeMap<String, String>;

/// Largest header block, inflated, in bytes.
const MAX_BLOCK: usize = 16 * 1024;
/// What is inflated at once.
const STEP: usize = 4 * 1024;

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

/// Reads the header blocks of the other side, in their order.
pub(super) struct HeaderReader(Decompress);

impl HeaderReader {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// The headers of a block.
    pub(super) fn read(&mut self, block: &[u8]) -> io::Result<Headers> {
        parse(&self.inflate(block)?)
    }

    fn inflate(&mut self, block: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut rest = block;
        loop {
            if out.len() >= MAX_BLOCK {
                return Err(invalid("a header block is too large"));
            }
            out.reserve(STEP);
            let (before, had) = (self.0.total_in(), out.len());
            let step = self.0.decompress_vec(rest, &mut out, FlushDecompress::Sync);
            let used = usize::try_from(self.0.total_in() - before).map_err(io::Error::other)?;
            rest = rest.get(used..).unwrap_or_default();
            match step {
                Ok(Status::StreamEnd) => return Err(invalid("the compressed headers have an end")),
                Ok(_) if rest.is_empty() && out.len() < out.capacity() => return Ok(out),
                Ok(_) if used == 0 && out.len() == had => return Err(invalid("a header block is cut short")),
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&dictionary()).map_err(io::Error::other)?;
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }
}

/// Writes header blocks for the other side, in their order.
pub(super) struct HeaderWriter(Compress);

impl HeaderWriter {
    pub(super) fn new() -> io::Result<Self> {
        let mut compress = Compress::new(Compression::fast(), true);
        compress.set_dictionary(&dictionary()).map_err(io::Error::other)?;
        Ok(Self(compress))
    }

    /// The block of these headers.
    pub(super) fn write(&mut self, headers: &Headers) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        let number = |length: usize, plain: &mut Vec<u8>| -> io::Result<()> {
            plain.extend(u32::try_from(length).map_err(io::Error::other)?.to_be_bytes());
            Ok(())
        };
        number(headers.len(), &mut plain)?;
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            number(text.len(), &mut plain)?;
            plain.extend(text.as_bytes());
        }
        let mut out = Vec::with_capacity(plain.len() + STEP);
        self.0.compress_vec(&plain, &mut out, FlushCompress::Sync).map_err(io::Error::other)?;
        Ok(out)
    }
}

fn parse(block: &[u8]) -> io::Result<Headers> {
    fn number(rest: &mut &[u8]) -> io::Result<usize> {
        let (number, after) = rest.split_first_chunk().ok_or_else(|| invalid("a header block ends early"))?;
        *rest = after;
        usize::try_from(u32::from_be_bytes(*number)).map_err(io::Error::other)
    }
    fn text(rest: &mut &[u8]) -> io::Result<String> {
        let length = number(rest)?;
        let (bytes, after) = rest.split_at_checked(length).ok_or_else(|| invalid("a header block ends early"))?;
        *rest = after;
        String::from_utf8(bytes.to_vec()).map_err(|_| invalid("a header is no text"))
    }
    let mut rest = block;
    let count = number(&mut rest)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = text(&mut rest)?;
        let value = text(&mut rest)?;
        headers.insert(name.to_ascii_lowercase(), value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn blocks_share_one_compressor() {
        let (mut writer, mut reader) = (HeaderWriter::new().unwrap(), HeaderReader::new());
        for sent in [
            headers(&[("streamtype", "error"), ("port", "80"), ("requestid", "0")]),
            headers(&[("streamtype", "data"), ("port", "80"), ("requestid", "0")]),
            headers(&[]),
            headers(&[("long", &"x".repeat(9_000))]),
        ] {
            let block = writer.write(&sent).unwrap();
            assert_eq!(reader.read(&block).unwrap(), sent);
        }
    }

    #[test]
    fn what_is_no_block_is_refused() {
        let mut writer = HeaderWriter::new().unwrap();
        let large = writer.write(&headers(&[("bomb", &"x".repeat(MAX_BLOCK * 4))])).unwrap();
        assert!(large.len() < MAX_BLOCK && HeaderReader::new().read(&large).is_err());
        assert!(HeaderReader::new().read(b"no zlib").is_err());
        for cut in [&b"\0\0"[..], b"\0\0\0\x01\0\0\0\x09abc", b"\xff\xff\xff\xff"] {
            assert!(parse(cut).is_err(), "{cut:?}");
        }
    }
}
