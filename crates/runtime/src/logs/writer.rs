//! Writing a log with rotation.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::format::{self, Splitter, StreamKind};
use crate::container::LogTarget;

/// The log files of one container instance.
pub(crate) struct LogWriter {
    target: LogTarget,
    /// `None` while the disk refuses it.
    file: Option<File>,
    size: u64,
    stdout: Splitter,
    stderr: Splitter,
    batch: Vec<u8>,
    /// Records that could not be written since the last one that could.
    lost: u64,
}

impl LogWriter {
    /// Opens (or goes on with) the log; makes its directory.
    pub(crate) fn open(target: LogTarget) -> io::Result<Self> {
        if let Some(directory) = target.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut writer = Self {
            target,
            file: None,
            size: 0,
            stdout: Splitter::default(),
            stderr: Splitter::default(),
            batch: Vec::new(),
            lost: 0,
        };
        writer.reopen()?;
        Ok(writer)
    }

    /// Takes output as it came. Never fails: a full disk costs lines, which are counted and told
    /// once there is room again, but does not stop the container.
    pub(crate) fn push(&mut self, stream: StreamKind, bytes: &[u8], now: Timestamp) {
        let mut splitter = std::mem::take(self.splitter(stream));
        splitter.push(bytes, |full, piece| self.record(stream, full, piece, now));
        *self.splitter(stream) = splitter;
        self.flush();
    }

    /// Writes the last line of a stream that did not end with a newline.
    pub(crate) fn finish(&mut self, stream: StreamKind, now: Timestamp) {
        let mut splitter = std::mem::take(self.splitter(stream));
        splitter.finish(|piece| self.record(stream, true, piece, now));
        self.flush();
    }

    fn splitter(&mut self, stream: StreamKind) -> &mut Splitter {
        match stream {
            StreamKind::Stdout => &mut self.stdout,
            StreamKind::Stderr => &mut self.stderr,
        }
    }

    fn record(&mut self, stream: StreamKind, full: bool, piece: &[u8], now: Timestamp) {
        if self.lost > 0 && self.file.is_none() && self.reopen().is_err() {
            self.lost += 1;
            return;
        }
        let before = self.batch.len();
        format::append(&mut self.batch, now, stream, full, piece);
        let length = (self.batch.len() - before) as u64;
        let pending = before as u64;
        if self.size + pending > 0 && self.size + pending + length > self.target.max_bytes {
            let record = self.batch.split_off(before);
            self.flush();
            if let Err(error) = self.rotate() {
                eprintln!("rotate {}: {error}", self.target.path.display());
            }
            self.batch = record;
        }
    }

    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.write(&batch);
        }
        // Kept for the next batch, unless one huge read made it huge.
        if batch.capacity() <= 4 * format::PIECE_BYTES_MAX {
            self.batch = batch;
            self.batch.clear();
        }
    }

    fn write(&mut self, batch: &[u8]) {
        let Some(file) = self.file.as_mut() else {
            self.lost += records(batch);
            return;
        };
        if self.lost > 0 {
            let mut notice = Vec::new();
            let text = format!("nanocloud: {} log records were lost: the disk was full", self.lost);
            format::append(&mut notice, Timestamp::now(), StreamKind::Stderr, true, text.as_bytes());
            if file.write_all(&notice).is_ok() {
                self.size += notice.len() as u64;
                self.lost = 0;
            }
        }
        match file.write_all(batch) {
            Ok(()) => self.size += batch.len() as u64,
            Err(_disk_full) => {
                // Part of it may be there: a torn line, which readers skip.
                self.lost += records(batch);
                self.file = None;
            }
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().create(true).append(true).open(&self.target.path)?;
        self.size = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    /// `path` becomes `path.1`, `path.1` becomes `path.2`, ...; the oldest goes.
    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        let kept = self.target.max_files;
        if kept <= 1 {
            fs::remove_file(&self.target.path)?;
            return self.reopen();
        }
        for age in (1..kept - 1).rev() {
            let from = rotated(&self.target.path, age);
            match fs::rename(&from, rotated(&self.target.path, age + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.target.path, rotated(&self.target.path, 1))?;
        self.reopen()
    }
}

fn records(batch: &[u8]) -> u64 {
    batch.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Name of an older part of a log.
pub(super) fn rotated(path: &Path, age: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(root: &Path, max_bytes: u64, max_files: u32) -> LogTarget {
        LogTarget { path: root.join("pod/app/0.log"), max_bytes, max_files }
    }

    fn texts(path: &Path) -> io::Result<Vec<String>> {
        let bytes = fs::read(path)?;
        let lines = bytes.split(|byte| *byte == b'\n').filter_map(format::parse);
        Ok(lines.map(|record| String::from_utf8_lossy(record.text).into_owned()).collect())
    }

    #[test]
    fn files_stay_small_and_few_and_the_newest_lines_are_kept() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let target = target(root.path(), 300, 3);
        let mut writer = LogWriter::open(target.clone())?;
        for line in 0..100 {
            writer.push(StreamKind::Stdout, format!("line {line}\n").as_bytes(), Timestamp::UNIX_EPOCH);
        }
        assert!(!rotated(&target.path, 3).exists());
        let mut all = Vec::new();
        for path in [rotated(&target.path, 2), rotated(&target.path, 1), target.path.clone()] {
            assert!(fs::metadata(&path)?.len() <= 300, "{}", path.display());
            all.extend(texts(&path)?);
        }
        let newest: Vec<String> = (100 - all.len()..100).map(|line| format!("line {line}")).collect();
        assert_eq!(all, newest);
        assert!(all.len() > 10);
        Ok(())
    }

    #[test]
    fn one_big_read_is_rotated_inside() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let target = target(root.path(), 300, 2);
        let mut writer = LogWriter::open(target.clone())?;
        writer.push(StreamKind::Stdout, "x\n".repeat(50).as_bytes(), Timestamp::UNIX_EPOCH);
        assert!(fs::metadata(&target.path)?.len() <= 300);
        assert!(fs::metadata(rotated(&target.path, 1))?.len() <= 300);
        Ok(())
    }

    #[test]
    fn streams_do_not_mix_and_the_last_line_is_written() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let target = target(root.path(), 1 << 20, 1);
        let mut writer = LogWriter::open(target.clone())?;
        let now = Timestamp::UNIX_EPOCH;
        writer.push(StreamKind::Stdout, b"out ", now);
        writer.push(StreamKind::Stderr, b"err\n", now);
        writer.push(StreamKind::Stdout, b"one\ntwo", now);
        assert_eq!(texts(&target.path)?, ["err", "out one"]);
        writer.finish(StreamKind::Stdout, now);
        assert_eq!(texts(&target.path)?, ["err", "out one", "two"]);
        Ok(())
    }

    #[test]
    fn a_disk_that_refuses_costs_lines_and_says_so_later() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let target = target(root.path(), 1 << 20, 1);
        let mut writer = LogWriter::open(target.clone())?;
        writer.file = Some(OpenOptions::new().write(true).open("/dev/full")?);
        writer.push(StreamKind::Stdout, b"lost\n", Timestamp::UNIX_EPOCH);
        writer.push(StreamKind::Stdout, b"kept\n", Timestamp::UNIX_EPOCH);
        let kept = texts(&target.path)?;
        assert!(kept[0].contains("1 log records were lost"), "{kept:?}");
        assert_eq!(kept[1..], ["kept"]);
        Ok(())
    }
}
