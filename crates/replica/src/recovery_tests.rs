//! What is left of a real directory when files of its write-ahead log lost their ends.

#![expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]

use std::path::{Path, PathBuf};

use keyspace::EngineError;
use tempfile::TempDir;

use crate::Error;
use crate::disk::{Change, Disk, Family};
use crate::metrics::Metrics;
use crate::rocks::Rocks;

/// Batches in each of the two files.
const BATCHES: u64 = 20;

fn put(family: Family, number: u64) -> Vec<Change> {
    vec![Change::Put { family, key: number.to_be_bytes().into(), value: vec![7; 100] }]
}

fn write(rocks: &Rocks, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        rocks.write("write", put(Family::State, number)).expect("writes");
    }
}

/// Numbers of the batches that are there.
fn found(rocks: &Rocks) -> Vec<u64> {
    let there = |number: &u64| rocks.get(Family::State, &number.to_be_bytes()).expect("reads").is_some();
    (0..4 * BATCHES).filter(there).collect()
}

fn open(dir: &Path) -> Result<Rocks, Error> {
    Rocks::open(dir, Metrics::default())
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp").success());
}

fn logs(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("db")).expect("lists").map(|entry| entry.expect("lists").path());
    let mut logs: Vec<_> = entries.filter(|path| path.extension().is_some_and(|kind| kind == "log")).collect();
    logs.sort();
    logs
}

/// A directory whose batches are in two files of the log. `synced`: the list of tables knows that the first was synced;
/// else it is the list as it was before that.
fn two_files(temp: &TempDir, synced: bool) -> (PathBuf, PathBuf) {
    let (live, crashed) = (temp.path().join("live"), temp.path().join("crashed"));
    std::fs::create_dir(&live).expect("makes");
    let rocks = open(&live).expect("opens");
    write(&rocks, 0..BATCHES);
    rocks.write("write", put(Family::Meta, 1)).expect("writes");
    copy(&live, &crashed);
    // With one family's memory written out another file begins; the first is kept for the other family.
    rocks.flush(Family::Meta);
    write(&rocks, BATCHES..2 * BATCHES);
    let logs = logs(&live);
    let [first, second] = &logs[..] else { panic!("{logs:?}") };
    if synced {
        std::fs::remove_dir_all(&crashed).expect("removes");
        copy(&live, &crashed);
    } else {
        for log in [first, second] {
            std::fs::copy(log, crashed.join("db").join(log.file_name().expect("a name"))).expect("copies");
        }
    }
    let first = first.file_name().expect("a name").to_owned();
    (crashed.clone(), crashed.join("db").join(first))
}

fn cut(file: &Path, bytes: u64) {
    let file = std::fs::File::options().write(true).open(file).expect("opens");
    let length = file.metadata().expect("knows").len();
    file.set_len(length - bytes).expect("cuts");
}

/// What was not synced may go, but only from the end: never a batch out of the middle.
#[test]
fn a_lost_end_of_a_file_takes_along_what_came_after_it() {
    let temp = TempDir::new().expect("a directory");
    let (crashed, first) = two_files(&temp, false);
    let bytes = first.metadata().expect("knows").len();
    let mut left = std::collections::BTreeSet::new();
    // Within records, and between them.
    for lost in (0..bytes).step_by(83).chain([bytes]) {
        let dir = temp.path().join("work");
        copy(&crashed, &dir);
        cut(&dir.join("db").join(first.file_name().expect("a name")), lost);
        let rocks = open(&dir).expect("opens");
        let there = found(&rocks);
        let count = there.len() as u64;
        assert!(there.iter().copied().eq(0..count), "{lost} bytes lost: {there:?}");
        // The last record of the file is another family's.
        assert!(lost == 0 || count <= BATCHES, "{lost} bytes lost: {there:?}");
        assert!(lost > 0 || count == 2 * BATCHES, "nothing lost: {there:?}");
        left.insert(count);
        // What is written from now on is not taken for a part of what was dropped.
        write(&rocks, 3 * BATCHES..3 * BATCHES + 1);
        rocks.sync().expect("syncs");
        drop(rocks);
        let again = found(&open(&dir).expect("opens again"));
        assert!(again.iter().copied().eq((0..count).chain([3 * BATCHES])), "{lost} bytes lost: {again:?}");
        std::fs::remove_dir_all(&dir).expect("removes");
    }
    assert!(left.len() > BATCHES as usize / 2, "{left:?}");
}

/// The end of a file that had been synced was acknowledged.
#[test]
fn a_synced_end_that_is_missing_is_refused() {
    let temp = TempDir::new().expect("a directory");
    let (crashed, first) = two_files(&temp, true);
    for file in [first.clone(), first.with_extension("gone")] {
        if file != first {
            std::fs::rename(&first, &file).expect("renames");
        } else {
            cut(&file, 150);
        }
        let refused = open(&crashed);
        assert!(
            matches!(refused, Err(Error::Storage { source: EngineError::Corrupt { .. }, .. })),
            "{file:?}: {refused:?}"
        );
    }
}

/// Stopping at a gap is no excuse for stopping at damage before it.
#[test]
fn damage_before_a_gap_is_refused() {
    let temp = TempDir::new().expect("a directory");
    let (crashed, first) = two_files(&temp, false);
    cut(&first, 300);
    let mut bytes = std::fs::read(&first).expect("reads");
    bytes[200] ^= 1;
    std::fs::write(&first, bytes).expect("writes");
    let refused = open(&crashed);
    assert!(matches!(refused, Err(Error::Storage { source: EngineError::Corrupt { .. }, .. })), "{refused:?}");
}
