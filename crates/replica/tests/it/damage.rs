//! Damaged files of a stopped member: nothing wrong is ever served, and a repair saves or names every key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyspace::{EngineError, Error as KeyspaceError, Keyspace, KeyspaceExt, RangeRequest};
use prometheus_client::registry::Registry;
use replica::{Config, Error, Replica};
use tempfile::TempDir;

const KEYS: u64 = 150;
/// Places damaged in each file.
const PLACES: usize = 6;

type Content = BTreeMap<String, Vec<u8>>;

async fn open(dir: &Path) -> Result<Arc<Replica>, Error> {
    Replica::open(Config::new(dir), &mut Registry::default()).await
}

async fn close(replica: Arc<Replica>) {
    let closed = replica.closed();
    replica.shutdown().await.expect("ends");
    drop(replica);
    closed.await;
}

async fn content(replica: &Replica) -> Result<Content, KeyspaceError> {
    let all = replica.range(RangeRequest::prefix("")).await?.kvs;
    Ok(all.into_iter().map(|kv| (String::from_utf8_lossy(&kv.key).into_owned(), kv.value.to_vec())).collect())
}

/// A keyspace with something in every kind of file: tables, write-ahead log, snapshot.
async fn make(dir: &Path) -> Content {
    let replica = open(dir).await.expect("opens");
    for n in 0..KEYS {
        replica.put(format!("k{n:03}"), format!("first {n} {}", "x".repeat(200))).await.expect("put");
    }
    replica.defragment().await.expect("writes tables");
    for n in 0..KEYS / 2 {
        replica.put(format!("k{n:03}"), format!("second {n} {}", "y".repeat(200))).await.expect("put");
    }
    let all = content(&replica).await.expect("reads");
    close(replica).await;
    all
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("makes");
    for entry in std::fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("knows").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("lists") {
        let path = entry.expect("lists").path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
    found.sort();
}

/// Either what is read is right, or there is an error that names the damage.
async fn serves_nothing_wrong(dir: &Path, wanted: &Content, at: &str) -> bool {
    let replica = match open(dir).await {
        Ok(replica) => replica,
        Err(error) => {
            assert!(matches!(error, Error::Storage { .. } | Error::Raft { .. }), "{at}: {error:?}");
            return false;
        }
    };
    let sound = match content(&replica).await {
        Ok(found) => {
            assert_eq!(&found, wanted, "{at}: wrong data was served");
            true
        }
        Err(error) => {
            assert!(matches!(error, KeyspaceError::Storage(EngineError::Corrupt { .. })), "{at}: {error:?}");
            false
        }
    };
    for (key, value) in wanted.iter().step_by(20) {
        if let Ok(found) = replica.get(key.clone()).await {
            assert_eq!(found.map(|kv| kv.value.to_vec()).as_ref(), Some(value), "{at}: {key}");
        }
    }
    close(replica).await;
    sound
}

/// After a repair the server starts, and each key is as it was or named.
async fn repairs(dir: &Path, wanted: &Content, at: &str) {
    let repaired = replica::repair(dir).unwrap_or_else(|error| panic!("{at}: {error:?}"));
    let replica = open(dir).await.unwrap_or_else(|error| panic!("{at}: {error:?}"));
    let found = content(&replica).await.expect("reads");
    let lost = &repaired.found;
    // What only the unreadable end of the write-ahead log had cannot be named; then that is said.
    if lost.lost_revisions.is_empty() && repaired.uncertain_after.is_none() {
        let dropped: Vec<_> = lost.dropped.iter().map(|lost| String::from_utf8_lossy(&lost.key).into_owned()).collect();
        for (key, value) in wanted {
            match found.get(key) {
                Some(saved) => assert_eq!(saved, value, "{at}: {key}"),
                None => assert!(dropped.contains(key), "{at}: {key} is gone without a word: {repaired:?}"),
            }
        }
    }
    for key in wanted.keys().filter(|key| key.as_str() >= "k075") {
        // These were in tables long before; a damaged log does not touch them.
        let named = lost.dropped.iter().any(|lost| lost.key == key.as_bytes());
        assert!(named || found.get(key) == wanted.get(key), "{at}: {key}: {repaired:?}");
    }
    replica.put("after", "x").await.expect("writes go on");
    close(replica).await;
    assert!(replica::repair(dir).expect("looks").quarantine.is_none(), "{at}: it is sound now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_named_or_harmless_and_can_be_repaired() {
    let temp = TempDir::new().expect("a directory");
    let (sound, work) = (temp.path().join("sound"), temp.path().join("work"));
    let wanted = make(&sound).await;
    let mut all = Vec::new();
    files(&sound, &mut all);
    let mut noticed = BTreeMap::new();
    for file in all {
        let name = file.strip_prefix(&sound).expect("is below").to_owned();
        let text = name.display().to_string();
        if text.ends_with("/LOG") || text == "lock" {
            // What RocksDB tells people, and nothing at all.
            continue;
        }
        let length = std::fs::metadata(&file).expect("knows").len() as usize;
        for place in 0..PLACES.min(length) {
            let offset = ((length - 1) * place / PLACES + place % 3).min(length - 1);
            copy(&sound, &work);
            let mut bytes = std::fs::read(work.join(&name)).expect("reads");
            bytes[offset] ^= 0x08;
            std::fs::write(work.join(&name), bytes).expect("writes");
            let at = format!("{} byte {offset} of {length}", name.display());
            if !serves_nothing_wrong(&work, &wanted, &at).await {
                let kind =
                    name.extension().map_or_else(|| name.display().to_string(), |kind| kind.to_string_lossy().into());
                *noticed.entry(kind).or_insert(0) += 1;
                repairs(&work, &wanted, &at).await;
            }
            std::fs::remove_dir_all(&work).expect("removes");
            for entry in std::fs::read_dir(temp.path()).expect("lists") {
                let path = entry.expect("lists").path();
                if path != sound {
                    std::fs::remove_dir_all(path).expect("removes");
                }
            }
        }
    }
    for kind in ["sst", "log"] {
        assert!(noticed.contains_key(kind), "no damage of a {kind} file was noticed: {noticed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sound_keyspace_is_not_touched_and_one_in_use_is_refused() {
    let temp = TempDir::new().expect("a directory");
    let dir = temp.path().join("keyspace");
    make(&dir).await;
    let mut before = Vec::new();
    files(&dir, &mut before);
    let contents = |files: &[PathBuf]| files.iter().map(|file| std::fs::read(file).expect("reads")).collect::<Vec<_>>();
    let bytes = contents(&before);
    let repaired = replica::repair(&dir).expect("looks");
    assert!(repaired.quarantine.is_none() && repaired.found.is_sound(), "{repaired:?}");
    let mut after = Vec::new();
    files(&dir, &mut after);
    assert_eq!((&after, contents(&after)), (&before, bytes));
    let replica = open(&dir).await.expect("opens");
    let refused = replica::repair(&dir);
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    close(replica).await;
}

/// A small keyspace is in the write-ahead log only; with the list of files damaged, all of it can still be saved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_list_of_files_loses_nothing() {
    let temp = TempDir::new().expect("a directory");
    let dir = temp.path().join("keyspace");
    let replica = open(&dir).await.expect("opens");
    for n in 0..20 {
        replica.put(format!("k{n:02}"), format!("value {n}")).await.expect("put");
    }
    let wanted = content(&replica).await.expect("reads");
    close(replica).await;
    let mut all = Vec::new();
    files(&dir, &mut all);
    for manifest in all.iter().filter(|file| file.display().to_string().contains("MANIFEST")) {
        let mut bytes = std::fs::read(manifest).expect("reads");
        bytes.iter_mut().step_by(7).for_each(|byte| *byte ^= 0x55);
        std::fs::write(manifest, bytes).expect("writes");
    }
    let refused = open(&dir).await;
    assert!(matches!(refused, Err(Error::Storage { .. })), "{refused:?}");
    let repaired = replica::repair(&dir).expect("repairs");
    assert!(repaired.found.dropped.is_empty() && repaired.quarantine.is_some(), "{repaired:?}");
    let replica = open(&dir).await.expect("opens");
    assert_eq!(content(&replica).await.expect("reads"), wanted);
    close(replica).await;
}
