use std::sync::Arc;

use super::*;
use crate::engine::{Engine, Table, View};
use crate::testing::Random;
use crate::{Batch, Command, Direction, Machine, MemoryEngine, Op, Put, Txn, hash_kv};

fn origin() -> Origin {
    Origin { cluster_id: 7, member: 1, created_ms: 1_700_000_000_000, program: "test".into() }
}

fn file(engine: &MemoryEngine) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&engine.view(), origin(), &mut |piece| {
        bytes.extend_from_slice(&piece);
        Ok(())
    })
    .expect("memory does not fail");
    bytes
}

fn tables(engine: &MemoryEngine, without_meta: bool) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
    let of = |table| {
        let mut found = Vec::new();
        let visit = &mut |key: &[u8], value: &[u8]| {
            found.push((key.to_vec(), value.to_vec()));
            Ok(std::ops::ControlFlow::Continue(()))
        };
        engine.view().scan(table, &[], None, Direction::Forward, visit).expect("memory does not fail");
        found
    };
    Table::ALL.into_iter().skip(usize::from(without_meta)).map(of).collect()
}

/// A machine with a random history: puts, deletes, leases, compactions, sweeps.
fn filled(seed: u64) -> Machine<MemoryEngine> {
    let mut machine = Machine::open(Arc::new(MemoryEngine::default())).expect("opens");
    let mut random = Random::new(seed);
    for _ in 0..300 {
        let key = format!("k{}", random.below(20));
        let id = 1 + random.below(4) as i64;
        let command = match random.below(12) {
            0 => Command::Compact { revision: random.below(120) },
            1 => Command::LeaseGrant { id, ttl_seconds: 1 + random.below(50) as i64 },
            2 => Command::LeaseRevoke { id },
            3 => Command::Tick { now_ms: random.below(20_000) },
            4 | 5 => Command::Txn(Txn::run([Op::delete(key)])),
            _ => {
                let lease = if random.one_in(2) { 0 } else { id };
                Command::Txn(Txn::run([Op::Put(Put { key: key.into(), lease, ..Put::default() })]))
            }
        };
        let _ = machine.apply(command).expect("applies");
        while machine.sweep().expect("sweeps") {}
    }
    machine
}

/// Whatever is in a keyspace: its snapshot loads into the very same tables, hash included.
#[test]
fn loading_makes_the_same_tables() {
    for seed in 0..30 {
        let machine = filled(seed);
        let bytes = file(machine.engine());
        let summary = verify(&bytes[..]).expect("verifies");
        assert_eq!(summary, status(&bytes[..]).expect("reads"));
        assert_eq!(summary.bytes, bytes.len() as u64);
        let keys = tables(machine.engine(), false)[Table::Current as usize].len() as u64;
        assert_eq!(summary.counts.keys, keys, "seed {seed}");
        let engine = Arc::new(MemoryEngine::default());
        assert_eq!(load(&bytes[..], &*engine, Options::default(), None).expect("loads"), summary);
        assert_eq!(tables(&engine, true), tables(machine.engine(), true), "seed {seed}");
        let mut loaded = Machine::open(engine.clone()).expect("opens");
        while loaded.sweep().expect("sweeps") {}
        assert_eq!(tables(&engine, true), tables(machine.engine(), true), "seed {seed}: nothing is left to sweep");
        let hash = |engine: &MemoryEngine| hash_kv(&engine.view(), 0).expect("hashes").expect("swept");
        assert_eq!(hash(&engine), hash(machine.engine()));
        let again = load(&bytes[..], &*engine, Options::default(), None);
        assert!(matches!(again, Err(SnapshotError::NotEmpty)) || summary.header.revision == 1, "{again:?}");
    }
}

/// Every single flipped bit and every cut is noticed, whatever it hits.
#[test]
fn damage_is_never_taken() {
    let bytes = file(filled(3).engine());
    let mut random = Random::new(1);
    for offset in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[offset] ^= 1 << random.below(8);
        status(&damaged[..]).expect_err("a flipped bit is noticed");
        verify(&damaged[..]).expect_err("a flipped bit is noticed");
        status(&bytes[..offset]).expect_err("a cut is noticed");
    }
    let longer = [&bytes[..], b"x"].concat();
    assert!(matches!(status(&longer[..]), Err(SnapshotError::Damaged { .. })));
    let last = bytes.len() - 1;
    let mut digest = bytes.clone();
    digest[last] ^= 1;
    assert!(matches!(status(&digest[..]), Err(SnapshotError::Digest { .. })));
    assert!(matches!(status(&b"SQLite format 3\0"[..]), Err(SnapshotError::Foreign)));
}

#[test]
fn another_format_is_named() {
    let bytes = file(filled(4).engine());
    // The header's frame: variant 0, then the format as a varint.
    let mut newer = bytes.clone();
    newer[MAGIC.len() + 9] = 9;
    let length = u32::from_le_bytes(bytes[8..12].try_into().expect("4 bytes")) as usize;
    let sum = crc32fast::hash(&newer[16..16 + length]);
    newer[12..16].copy_from_slice(&sum.to_le_bytes());
    assert!(matches!(status(&newer[..]), Err(SnapshotError::Format { found: 9 })));
}

#[test]
fn revisions_can_go_on_later_and_history_can_end() {
    let machine = filled(5);
    let bytes = file(machine.engine());
    let engine = Arc::new(MemoryEngine::default());
    let options = Options { bump_revisions: 1_000, mark_compacted: true };
    let summary = load(&bytes[..], &*engine, options, Some(Bytes::from_static(b"stamp"))).expect("loads");
    let (newest, compacted) = crate::read::revisions(&engine.view()).expect("reads");
    assert_eq!((newest, compacted), (summary.header.revision + 1_000, summary.header.revision + 1_000));
    assert_eq!(crate::read::stamp(&engine.view()).expect("reads"), Some(Bytes::from_static(b"stamp")));
    let mut loaded = Machine::open(engine).expect("opens");
    let (outcome, _) = loaded.apply(Command::Txn(Txn::run([Op::put("new", "x")]))).expect("applies");
    assert_eq!(outcome.expect("puts").into_txn().expect("a transaction").revision, newest + 1);
}

/// A load that ends early leaves no stamp: whoever opens the engine can tell.
#[test]
fn a_failed_load_leaves_no_stamp() {
    let bytes = file(filled(6).engine());
    let engine = MemoryEngine::default();
    engine.write(Batch::default()).expect("memory does not fail");
    let cut = load(&bytes[..bytes.len() - 1], &engine, Options::default(), Some(Bytes::from_static(b"stamp")));
    assert!(matches!(cut, Err(SnapshotError::Damaged { .. })), "{cut:?}");
    assert_eq!(crate::read::stamp(&engine.view()).expect("reads"), None);
}

#[test]
fn the_frames_of_a_file_do_not_change() {
    let origin = Origin { cluster_id: 1, member: 2, created_ms: 3, program: "p".into() };
    let header = Header { origin, revision: 4, compact_revision: 5, clock_ms: 6, last_lease: 7 };
    let frames = [
        Frame::Header { format: FORMAT, header },
        Frame::Changes(vec![ChangeRecord { revision: 1, sub: 2, record: Bytes::from_static(b"r") }]),
        Frame::Leases(vec![LeaseRecord { id: 1, ttl_seconds: 60, expires_ms: 1000 }]),
        Frame::End(Counts { keys: 1, changes: 2, leases: 3 }),
    ];
    let mut now = String::new();
    crate::testing::record(&mut now, "frame", &frames);
    crate::testing::assert_recorded(include_str!("formats.txt"), &now);
}
