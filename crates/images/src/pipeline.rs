//! One layer from its blob to a directory: read, hash, decompress, hash again, unpack, all at once.
//!
//! ```text
//!  source ─► hash ─┬► decompress ─┬► unpack
//!                  │              └► hash ─► diff_id ✓
//!                  └► digest ✓
//! ```
//!
//! Each stage is a thread; stages are joined by short queues of chunks that are shared, not copied.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::error::ImageError;
use crate::manifest::{Compression, LayerBlob};
use crate::unpack::unpack;

/// Largest layer, unpacked.
const UNPACKED_BYTES_MAX: u64 = 64 << 30;
/// Bytes of one chunk.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks between two stages.
const CHUNKS_MAX: usize = 8;
/// Largest window a zstd frame may ask for, as a power of two: 128 MiB, zstd's own default limit.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

type Chunk = io::Result<Bytes>;

/// Unpacks into `target`, an empty directory. When this fails, what is in `target` is worthless. Gives the directories
/// that the layer has no entry for.
pub(crate) fn unpack_verified(
    source: impl Read + Send,
    blob: &LayerBlob,
    diff_id: &str,
    target: &Path,
    advanced: &(dyn Fn(u64) + Sync),
) -> Result<BTreeSet<PathBuf>, ImageError> {
    let (to_decompress, compressed) = sync_channel(CHUNKS_MAX);
    let (to_unpack, plain) = sync_channel(CHUNKS_MAX);
    let (to_hash, hashed) = sync_channel(CHUNKS_MAX);
    let (read, found, unpacked) = thread::scope(|scope| {
        let reading = scope.spawn(|| read_and_hash(source, blob, to_decompress, advanced));
        let compression = blob.compression;
        scope.spawn(move || decompress(compression, compressed, &to_unpack, &to_hash));
        let hashing = scope.spawn(move || hash(&hashed));
        let mut plain = Chunks::new(plain);
        let unpacked = unpack(&mut plain, target, &blob.digest);
        // What follows the archive's end counts for the hash; after a failure nothing more is wanted.
        let unpacked = unpacked.and_then(|implied| {
            let rest = io::copy(&mut plain, &mut io::sink());
            rest.map_err(|source| ImageError::Unpack { layer: blob.digest.clone(), source }).map(|_| implied)
        });
        drop(plain);
        (reading.join(), hashing.join(), unpacked)
    });
    let panicked = |_| ImageError::Unpack { layer: blob.digest.clone(), source: io::Error::other("a stage panicked") };
    // A damaged blob fails in every stage; that it is damaged is what matters.
    read.map_err(panicked)??;
    let implied = unpacked?;
    let found = found.map_err(panicked)?;
    if found != diff_id {
        return Err(ImageError::Digest { what: "layer content", expected: diff_id.to_owned(), found });
    }
    Ok(implied)
}

/// Reads the blob to its end even if nobody wants it any more: whether it is sound must be known.
fn read_and_hash(
    mut source: impl Read,
    blob: &LayerBlob,
    chunks: SyncSender<Chunk>,
    advanced: &(dyn Fn(u64) + Sync),
) -> Result<(), ImageError> {
    let mut hasher = Sha256::new();
    let mut total = 0_u64;
    let mut chunks = Some(chunks);
    loop {
        let chunk = match read_chunk(&mut source) {
            Ok(chunk) => chunk,
            Err(error) => {
                let source = io::Error::new(error.kind(), error.to_string());
                if let Some(chunks) = chunks {
                    // Without it the next stage would see an early end, as of a sound blob.
                    let _ = chunks.send(Err(error));
                }
                return Err(ImageError::Unpack { layer: blob.digest.clone(), source });
            }
        };
        if chunk.is_empty() {
            break;
        }
        total += chunk.len() as u64;
        if total > blob.size {
            return Err(ImageError::TooLarge { what: format!("layer {}", blob.digest), limit: blob.size });
        }
        hasher.update(&chunk);
        advanced(chunk.len() as u64);
        chunks = chunks.filter(|chunks| chunks.send(Ok(chunk)).is_ok());
    }
    let found = format!("sha256:{}", hex::encode(hasher.finalize()));
    if found != blob.digest {
        return Err(ImageError::Digest { what: "layer", expected: blob.digest.clone(), found });
    }
    Ok(())
}

/// A full chunk, or what is left; empty at the end.
fn read_chunk(source: &mut impl Read) -> io::Result<Bytes> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer.into())
}

fn decompress(
    compression: Compression,
    from: Receiver<Chunk>,
    to_unpack: &SyncSender<Chunk>,
    to_hash: &SyncSender<Bytes>,
) {
    let chunks = Chunks::new(from);
    let result = match compression {
        Compression::None => pass(chunks, to_unpack, to_hash),
        Compression::Gzip => pass(flate2::bufread::MultiGzDecoder::new(chunks), to_unpack, to_hash),
        Compression::Zstd => zstd::stream::read::Decoder::with_buffer(chunks).and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            pass(decoder, to_unpack, to_hash)
        }),
    };
    if let Err(error) = result {
        // If it is gone already, it has failed for itself.
        let _ = to_unpack.send(Err(error));
    }
}

/// Hands every chunk to both takers, until the unpacking one is gone.
fn pass(mut plain: impl Read, to_unpack: &SyncSender<Chunk>, to_hash: &SyncSender<Bytes>) -> io::Result<()> {
    let mut total = 0_u64;
    loop {
        let chunk = read_chunk(&mut plain)?;
        if chunk.is_empty() {
            return Ok(());
        }
        total += chunk.len() as u64;
        if total > UNPACKED_BYTES_MAX {
            return Err(io::Error::other(format!("the layer is larger than {UNPACKED_BYTES_MAX} bytes unpacked")));
        }
        // The hashing stage ends only after this one.
        let _ = to_hash.send(chunk.clone());
        if to_unpack.send(Ok(chunk)).is_err() {
            return Ok(());
        }
    }
}

fn hash(chunks: &Receiver<Bytes>) -> String {
    let mut hasher = Sha256::new();
    while let Ok(chunk) = chunks.recv() {
        hasher.update(&chunk);
    }
    format!("sha256:{}", hex::encode(hasher.finalize()))
}

/// A queue of chunks as a reader.
pub(crate) struct Chunks {
    queue: Receiver<Chunk>,
    current: Bytes,
}

impl Chunks {
    fn new(queue: Receiver<Chunk>) -> Self {
        Self { queue, current: Bytes::new() }
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() {
            match self.queue.recv() {
                Ok(chunk) => self.current = chunk?,
                Err(_ended) => break,
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        bytes::Buf::advance(&mut self.current, amount);
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let read = available.len().min(buffer.len());
        buffer[..read].copy_from_slice(&available[..read]);
        self.consume(read);
        Ok(read)
    }
}
