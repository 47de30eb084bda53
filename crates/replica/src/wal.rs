//! The files of the write-ahead log, looked at before RocksDB replays them.
//!
//! What the replica relies on: after a crash the state is that of a prefix of the batches written, and the prefix holds
//! everything that was synced. Why that is so, and where RocksDB alone does not give it:
//!
//! - Batches go to one file after the other. A sync covers every live file, the oldest first, and a table is written
//!   only after the files closed before are synced. So what lies behind the lost end of a file was never synced itself:
//!   to drop it loses nothing that was acknowledged. Not to drop it would make a state out of the middle: log and state
//!   share these files, and the state of entry 101 would be there without the changes of entry 100.
//! - RocksDB accepts the short end of *any* file and goes on with the next one. Its point-in-time recovery stops there
//!   instead, but then stops at damage as well, and would drop synced batches behind a flipped bit without a word.
//!
//! So every record is checked here first. Damage in the middle of a file, or a stretch missing within it, is refused: a
//! repair can tell what is lost. A gap between two files is the lost end of the first one; only then is the database
//! opened with point-in-time recovery, which stops at that end. RocksDB's list of tables knows how long each closed file
//! was when it was synced, so that a synced end that is missing is refused, too.
//!
//! The format is RocksDB's (`db/log_format.h`): blocks of 32 KiB, in them records of checksum, length and type. A batch
//! begins with its sequence number and the number of its changes, so the next one's sequence number is known.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const BLOCK_BYTES: usize = 32 * 1024;
/// Checksum, length, type.
const HEADER_BYTES: usize = 7;
/// The same with the number of the file.
const LONG_HEADER_BYTES: usize = 11;
/// Sequence number and count at the beginning of a batch.
const BATCH_HEAD_BYTES: usize = 12;

/// Why a file cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// The file.
    pub(crate) file: PathBuf,
    /// What was found, and where.
    pub(crate) detail: String,
}

/// The end of a file is lost, and a later file is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The file before the gap.
    before: PathBuf,
    /// Whether recovery stops there by itself, since it ends within a record.
    torn: bool,
}

/// Checks every file of the log in `db`: the first gap between two of them, if there is one.
pub(crate) fn check(db: &Path) -> io::Result<Result<Option<Gap>, Damage>> {
    let (mut gap, mut next): (Option<Gap>, Option<u64>) = (None, None);
    let mut before: Option<(PathBuf, bool)> = None;
    for path in files(db)? {
        let contents = match scan(&std::fs::read(&path)?) {
            Ok(contents) => contents,
            Err(detail) => return Ok(Err(Damage { file: path, detail })),
        };
        // RocksDB begins no new file while the last one is empty. One that is has lost what was in it; or it is obsolete,
        // and passed over whatever it is.
        let is_behind_gap = contents.first.is_some_and(|first| next.is_none_or(|next| first > next));
        if let Some((before, torn)) = before.filter(|_| is_behind_gap && gap.is_none()) {
            gap = Some(Gap { before, torn });
        }
        next = contents.next.or(next);
        before = Some((path, contents.torn));
    }
    Ok(Ok(gap))
}

/// The files in the order they were written in.
fn files(db: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(db) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|kind| kind == "log")) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

impl Gap {
    /// Makes sure that recovery stops at the gap: a file that ends with a whole record gets the beginning of another one.
    pub(crate) fn mark(&self) -> io::Result<()> {
        if self.torn {
            return Ok(());
        }
        let mut file = File::options().append(true).open(&self.before)?;
        let used = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)? % BLOCK_BYTES;
        // What is left of a block that cannot hold a header is no beginning of a record.
        let padding = if used > 0 && BLOCK_BYTES - used <= HEADER_BYTES { BLOCK_BYTES - used } else { 0 };
        file.write_all(&vec![0; padding])?;
        file.write_all(&[1])?;
        file.sync_all()
    }

    /// The file before the gap.
    pub(crate) fn file(&self) -> &Path {
        &self.before
    }
}

/// What is in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Contents {
    /// Sequence number of the first batch.
    first: Option<u64>,
    /// The one after the last batch.
    next: Option<u64>,
    /// Whether it ends within a record.
    torn: bool,
}

/// The beginning of a batch, as it comes together out of the pieces of its record.
#[derive(Default)]
struct Head(Vec<u8>);

impl Head {
    fn extend(&mut self, piece: &[u8]) {
        let wanted = BATCH_HEAD_BYTES.saturating_sub(self.0.len()).min(piece.len());
        self.0.extend_from_slice(&piece[..wanted]);
    }

    /// Sequence number and count.
    fn parse(&self) -> Option<(u64, u64)> {
        let (sequence, rest) = self.0.split_first_chunk::<8>()?;
        let count = rest.first_chunk::<4>()?;
        Some((u64::from_le_bytes(*sequence), u64::from(u32::from_le_bytes(*count))))
    }
}

/// One record, or what is there instead.
enum Found<'b> {
    Record {
        kind: u8,
        piece: &'b [u8],
        bytes: usize,
    },
    /// Never written: the file system gave the room.
    Unwritten,
    /// It goes on behind the end of the file.
    Torn,
    Damaged(&'static str),
}

/// Reads a whole file.
fn scan(bytes: &[u8]) -> Result<Contents, String> {
    let mut contents = Contents::default();
    let mut open: Option<Head> = None;
    let mut unwritten = false;
    let mut at = 0;
    while at < bytes.len() {
        let block_end = (at / BLOCK_BYTES + 1) * BLOCK_BYTES;
        let block = &bytes[at..block_end.min(bytes.len())];
        if block.len() < HEADER_BYTES {
            contents.torn = block_end > bytes.len();
            at += block.len();
            continue;
        }
        let (kind, piece) = match record(block, block_end > bytes.len()) {
            Found::Unwritten => {
                unwritten = true;
                at += block.len();
                continue;
            }
            _ if unwritten => return Err(format!("a stretch that was never written before byte {at}")),
            Found::Record { kind, piece, bytes } => {
                at += bytes;
                (kind, piece)
            }
            Found::Torn => {
                contents.torn = true;
                break;
            }
            Found::Damaged(what) => return Err(format!("{what} at byte {at}")),
        };
        // Pieces: whole, first, middle, last; the same with a long header; all others are of RocksDB alone.
        let head = match kind {
            1 | 2 | 5 | 6 if open.is_some() => return Err(format!("a record without its end before byte {at}")),
            1 | 2 | 5 | 6 => open.insert(Head::default()),
            3 | 4 | 7 | 8 => open.as_mut().ok_or_else(|| format!("a record without its beginning before byte {at}"))?,
            _ => continue,
        };
        head.extend(piece);
        if matches!(kind, 1 | 4 | 5 | 8) {
            let batch = open.take().and_then(|head| head.parse());
            let (sequence, count) = batch.ok_or_else(|| format!("a batch that is too short before byte {at}"))?;
            if let Some(next) = contents.next.filter(|next| sequence > *next) {
                return Err(format!("batches {next} to {} are missing before byte {at}", sequence - 1));
            }
            contents.first.get_or_insert(sequence);
            contents.next = Some(sequence + count);
        }
    }
    contents.torn |= open.is_some();
    Ok(contents)
}

/// The record at the beginning of what is left of a block; `last` when the file ends with this block.
fn record(block: &[u8], last: bool) -> Found<'_> {
    let (length, kind) = (usize::from(u16::from_le_bytes([block[4], block[5]])), block[6]);
    if (kind, length) == (0, 0) {
        return if block.iter().all(|byte| *byte == 0) { Found::Unwritten } else { Found::Damaged("zeros") };
    }
    let header = if matches!(kind, 5..=8 | 11 | 131) { LONG_HEADER_BYTES } else { HEADER_BYTES };
    let Some(checked) = block.get(HEADER_BYTES - 1..header + length) else {
        // The end of a record that was torn has no record in it; where there is one, this one's length is damaged.
        let whole_follows = (1..block.len()).any(|at| is_whole(&block[at..]));
        return if last && !whole_follows { Found::Torn } else { Found::Damaged("a length beyond its block") };
    };
    if !matches_sum(block, checked) {
        return Found::Damaged("a record whose checksum does not match");
    }
    Found::Record { kind, piece: &block[header..header + length], bytes: header + length }
}

fn is_whole(block: &[u8]) -> bool {
    let [_, _, _, _, low, high, 1..=4, ..] = block else { return false };
    let length = usize::from(u16::from_le_bytes([*low, *high]));
    let checked = block.get(HEADER_BYTES - 1..HEADER_BYTES + length);
    checked.is_some_and(|checked| length >= BATCH_HEAD_BYTES && matches_sum(block, checked))
}

fn matches_sum(block: &[u8], checked: &[u8]) -> bool {
    block.first_chunk().is_some_and(|sum| u32::from_le_bytes(*sum) == masked(crc32c(checked)))
}

/// As RocksDB stores checksums.
fn masked(sum: u32) -> u32 {
    sum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli, RFC 3720 appendix B.4).
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| CRC[((sum ^ u32::from(*byte)) & 0xff) as usize] ^ (sum >> 8))
}

const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut sum, mut bit) = (byte as u32, 0);
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0x82f6_3b78 } else { sum >> 1 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(sequence: u64, count: u32, bytes: usize) -> Vec<u8> {
        let mut batch = [&sequence.to_le_bytes()[..], &count.to_le_bytes()].concat();
        batch.resize(BATCH_HEAD_BYTES + bytes, 7);
        batch
    }

    /// A file as RocksDB writes it.
    fn file(batches: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for batch in batches {
            let (mut rest, mut begun) = (&batch[..], false);
            loop {
                let left = BLOCK_BYTES - out.len() % BLOCK_BYTES;
                if left < HEADER_BYTES {
                    out.resize(out.len() + left, 0);
                    continue;
                }
                let take = rest.len().min(left - HEADER_BYTES);
                let ends = take == rest.len();
                let kind = match (begun, ends) {
                    (false, true) => 1,
                    (false, false) => 2,
                    (true, false) => 3,
                    (true, true) => 4,
                };
                let checked = [&[kind], &rest[..take]].concat();
                out.extend(masked(crc32c(&checked)).to_le_bytes());
                out.extend((take as u16).to_le_bytes());
                out.extend(checked);
                (rest, begun) = (&rest[take..], true);
                if ends {
                    break;
                }
            }
        }
        out
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn whole_files_tell_their_sequence_numbers() {
        assert_eq!(scan(&[]), Ok(Contents::default()));
        let bytes = file(&[batch(7, 2, 10), batch(9, 1, 100_000), batch(10, 3, 40_000), batch(13, 0, 0)]);
        assert_eq!(scan(&bytes), Ok(Contents { first: Some(7), next: Some(13), torn: false }));
        let grown = [&bytes[..], &[0; 50_000]].concat();
        assert_eq!(scan(&grown).map(|contents| contents.next), Ok(Some(13)), "room that was given and not used");
    }

    /// Wherever a file ends, its records up to there are told, and none of them is called damaged.
    #[test]
    fn an_end_anywhere_is_no_damage() {
        let batches = [batch(1, 1, 300), batch(2, 1, 33_000), batch(3, 1, 31_000), batch(4, 1, 900)];
        let ends: Vec<usize> = (1..=4).map(|count| file(&batches[..count]).len()).collect();
        let bytes = file(&batches);
        for length in (0..bytes.len()).step_by(41).chain(ends.iter().copied()) {
            let whole = ends.iter().filter(|end| **end <= length).count() as u64;
            let contents = scan(&bytes[..length]).unwrap_or_else(|detail| panic!("{length}: {detail}"));
            assert_eq!(contents.next, (whole > 0).then_some(whole + 1), "{length}");
            assert!(contents.torn || length == 0 || ends.contains(&length) || length % BLOCK_BYTES == 0, "{length}");
        }
    }

    /// A flipped bit is damage wherever it is, save in the last record's length, which then looks like a torn end.
    #[test]
    fn a_flipped_bit_is_damage() {
        let batches = [batch(1, 1, 300), batch(2, 1, 33_000), batch(3, 1, 900), batch(4, 1, 900)];
        let (bytes, last) = (file(&batches), file(&batches[..3]).len());
        for at in (0..bytes.len()).step_by(29).chain(0..2 * HEADER_BYTES).chain(300..340) {
            for bit in [0, 4, 7] {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let found = scan(&flipped);
                let lost = found.as_ref().is_ok_and(|contents| contents.next == Some(5));
                assert!(found.is_err() || (!lost && at >= last), "bit {bit} of byte {at}: {found:?}");
            }
        }
    }

    #[test]
    fn a_stretch_that_is_missing_within_a_file_is_damage() {
        let missing = file(&[batch(1, 1, 10), batch(3, 1, 10)]);
        assert!(scan(&missing).is_err_and(|detail| detail.contains("batches 2 to 2 are missing")));
        let mut unwritten = file(&[batch(1, 1, 20), batch(2, 1, 100_000), batch(3, 1, 10)]);
        unwritten[BLOCK_BYTES..2 * BLOCK_BYTES].fill(0);
        assert!(scan(&unwritten).is_err());
    }

    #[test]
    fn gaps_lie_between_files() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let write = |number: u64, bytes: &[u8]| {
            std::fs::write(dir.path().join(format!("{number:06}.log")), bytes).expect("writes");
        };
        let found = || check(dir.path()).expect("reads").expect("no damage");
        assert_eq!(found(), None);
        let (first, second) = (file(&[batch(1, 2, 50), batch(3, 1, 50)]), file(&[batch(4, 1, 50)]));
        write(9, &first);
        write(10, &second);
        assert_eq!(found(), None);
        // The short end of the first: whole to a record, or within one.
        for (length, torn) in [(file(&[batch(1, 2, 50)]).len(), false), (first.len() - 5, true)] {
            write(9, &first[..length]);
            let gap = found().expect("a gap");
            assert_eq!(gap, Gap { before: dir.path().join("000009.log"), torn });
            gap.mark().expect("marks");
            assert!(found().is_some_and(|gap| gap.torn), "recovery stops there");
        }
        // A torn end after which nothing is missing: its write failed, and was done again in the next file.
        write(9, &[&first[..], &[1, 2, 3]].concat());
        assert_eq!(found(), None);
        // The first has lost everything.
        write(9, &[]);
        assert_eq!(found().expect("a gap").before, dir.path().join("000009.log"));
        // A file between them is gone.
        write(9, &first);
        write(10, &[]);
        write(11, &file(&[batch(6, 1, 50)]));
        assert_eq!(found().expect("a gap").before, dir.path().join("000010.log"));
    }

    /// A mark is the beginning of a record wherever the file ends.
    #[test]
    fn a_mark_is_a_torn_record() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let path = dir.path().join("000001.log");
        for left in [0, 1, 6, 7, 8, 20] {
            let bytes = file(&[batch(1, 1, BLOCK_BYTES - HEADER_BYTES - BATCH_HEAD_BYTES - left)]);
            std::fs::write(&path, &bytes).expect("writes");
            let gap = Gap { before: path.clone(), torn: false };
            gap.mark().expect("marks");
            let contents = scan(&std::fs::read(&path).expect("reads")).expect("no damage");
            assert_eq!(contents, Contents { first: Some(1), next: Some(2), torn: true }, "{left} bytes left");
        }
    }
}
