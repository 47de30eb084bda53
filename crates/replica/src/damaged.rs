//! A copy of a database that may be damaged, read record by record as far as that goes.

use std::io;
use std::path::Path;

use bytes::Bytes;
use keyspace::EngineError;
use keyspace::salvage::Look;
use rocksdb::{DB, DBRawIterator, DBRecoveryMode, Options, ReadOptions};

use crate::disk::Family;
use crate::rocks;
use crate::store::{corrupt, unframe};
use crate::wal::Damage;

/// Number beyond those a new database gives to its files.
const FIRST_LOG_NUMBER: u64 = 100_000;

/// The copy. The original is only read.
#[derive(Debug)]
pub(crate) struct Damaged {
    db: DB,
}

impl Damaged {
    /// Copies the database to `copy`, which must not be there, and opens it. Leniently, what is damaged is left out
    /// where that is the only way to open the rest. The inner error says why it cannot be opened.
    pub(crate) fn open(original: &Path, copy: &Path, leniently: bool) -> io::Result<Result<Self, String>> {
        copy_files(original, copy)?;
        if !leniently {
            let options = rocks::recovery_options(copy)?;
            let options = options.map_err(|Damage { file, detail }| format!("{}: {detail}", file.display()));
            return Ok(options.and_then(|options| {
                let opened = DB::open_cf_descriptors(&options, copy, rocks::families());
                opened.map(|db| Damaged { db }).map_err(rocksdb::Error::into_string)
            }));
        }
        let mut options = rocks::options();
        options.set_wal_recovery_mode(DBRecoveryMode::SkipAnyCorruptedRecord);
        options.set_paranoid_checks(false);
        options.set_track_and_verify_wals_in_manifest(false);
        let opened = DB::open_cf_descriptors(&options, copy, rocks::families()).or_else(|_| {
            // The list of files is damaged, or a file: it is made anew of those that can be read.
            std::fs::remove_dir_all(copy)
                .and_then(|()| copy_files(original, copy))
                .map_err(|error| error.to_string())?;
            DB::repair(&options, copy).map_err(rocksdb::Error::into_string)?;
            DB::open_cf_descriptors(&options, copy, rocks::families()).map_err(rocksdb::Error::into_string)
        });
        match opened.map(|db| Damaged { db }) {
            Ok(damaged) if !damaged.has_state() => {
                // A small keyspace may be in the write-ahead log only, which names families that no table told of.
                drop(damaged);
                let replayed = replay(original, copy, &options)?;
                Ok(replayed.map(|db| Damaged { db }).map_err(rocksdb::Error::into_string))
            }
            opened => Ok(opened),
        }
    }

    fn has_state(&self) -> bool {
        let Some(handle) = self.db.cf_handle(Family::State.name()) else { return false };
        let mut records = self.db.raw_iterator_cf(handle);
        records.seek_to_first();
        records.valid() || records.status().is_err()
    }

    /// Visits what can be read of a family in order; answers how many stretches cannot.
    pub(crate) fn scan_family(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        look: &mut Look<'_>,
    ) -> Result<u64, EngineError> {
        let handle = self.db.cf_handle(family.name());
        let handle = handle.ok_or_else(|| corrupt(format!("column family {}", family.name()), "missing"))?;
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        if let Some(to) = to {
            options.set_iterate_upper_bound(to);
        }
        let mut records = self.db.raw_iterator_cf_opt(handle, options);
        let (mut stretches, mut last) = (0, from.to_vec());
        records.seek_to_first();
        loop {
            while let Some((key, framed)) = records.item() {
                look(key, unframe(family, key, framed).ok());
                last.clear();
                last.extend_from_slice(key);
                records.next();
            }
            if records.status().is_ok() {
                return Ok(stretches);
            }
            stretches += 1;
            if !pass_by(&mut records, &last) {
                return Ok(stretches);
            }
        }
    }

    /// The value of a record, if it is sound.
    pub(crate) fn get_record(&self, family: Family, key: &[u8]) -> Option<Bytes> {
        let found = self.db.get_pinned_cf(self.db.cf_handle(family.name())?, key).ok()??;
        unframe(family, key, &found).ok().map(Bytes::copy_from_slice)
    }
}

/// Replays the write-ahead log of a database into a new one. Families are numbered in the order they are made in, which is
/// always the same; the log's files get numbers beyond those of the new one.
fn replay(original: &Path, copy: &Path, options: &Options) -> io::Result<Result<DB, rocksdb::Error>> {
    std::fs::remove_dir_all(copy)?;
    match DB::open_cf_descriptors(options, copy, rocks::families()) {
        Ok(made) => drop(made),
        Err(error) => return Ok(Err(error)),
    }
    let mut logs: Vec<_> = std::fs::read_dir(original)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    logs.retain(|path| path.extension().is_some_and(|kind| kind == "log"));
    logs.sort();
    for (number, log) in (FIRST_LOG_NUMBER..).zip(logs) {
        std::fs::copy(log, copy.join(format!("{number:06}.log")))?;
    }
    Ok(DB::open_cf_descriptors(options, copy, rocks::families()))
}

/// Moves behind a stretch that cannot be read: to the nearest key after `last` that can be. Candidates come in order,
/// one for each value of each byte of `last`, from its end.
fn pass_by(records: &mut DBRawIterator<'_>, last: &[u8]) -> bool {
    for length in (0..last.len()).rev() {
        let mut candidate = last[..=length].to_vec();
        for byte in last[length].saturating_add(1)..=u8::MAX {
            if byte == last[length] {
                break;
            }
            candidate[length] = byte;
            records.seek(&candidate);
            if records.status().is_ok() {
                return true;
            }
        }
    }
    false
}

/// Tables are never written to again, so they are shared; of all else there is a copy.
fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        let text = name.to_string_lossy();
        if text == "LOCK" || text.starts_with("LOG") || !entry.file_type()?.is_file() {
            continue;
        }
        let target = to.join(&name);
        if !text.ends_with(".sst") || std::fs::hard_link(&path, &target).is_err() {
            std::fs::copy(&path, &target)?;
        }
    }
    Ok(())
}
