//! Reading a log back, through its rotated files, once or as it grows.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::LogError;
use super::files::{LogFile, open_all};
use super::format::{self, StreamKind};

/// Bytes read from a file at once.
const BLOCK_BYTES: usize = 128 << 10;
/// Chunks ready and not yet taken by the reader.
const CHUNKS_MAX: usize = 4;
/// Pause between looks at a log that has not grown.
const FOLLOW_PAUSE: Duration = Duration::from_millis(50);

/// What to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only so many lines from the end; `None` is all.
    pub tail: Option<u64>,
    /// Only lines written at or after this time.
    pub since: Option<Timestamp>,
    /// Each line is preceded by its time (RFC 3339, nanoseconds) and a space.
    pub timestamps: bool,
    /// Which streams.
    pub streams: StreamFilter,
    /// Stop after so many bytes of result.
    pub limit_bytes: Option<u64>,
}

/// Choice of streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamFilter {
    /// Both, in the order they were read from the program.
    #[default]
    Both,
    /// One of them.
    Only(StreamKind),
}

/// The log of one container instance.
#[derive(Clone, Debug)]
pub struct LogReader {
    path: PathBuf,
}

/// Path of the log of the instance before this one, where logs are named `<number>.log` by attempt
/// (Kubernetes: `<pod dir>/<container>/<attempt>.log`).
pub fn previous_instance(path: &Path) -> Option<PathBuf> {
    let attempt: u32 = path.file_stem()?.to_str()?.parse().ok()?;
    Some(path.with_file_name(format!("{}.log", attempt.checked_sub(1)?)))
}

impl LogReader {
    /// Of the log whose current file is at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Reads what there is.
    pub fn read(&self, query: LogQuery) -> LogChunks {
        self.stream(query, None::<std::future::Ready<()>>)
    }

    /// Reads what there is and what comes, until `ended` resolves (the container has ended) and
    /// everything written by then was read.
    pub fn follow(&self, query: LogQuery, ended: impl Future<Output = ()> + Send + 'static) -> LogChunks {
        self.stream(query, Some(ended))
    }

    fn stream(&self, query: LogQuery, ended: Option<impl Future<Output = ()> + Send + 'static>) -> LogChunks {
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        let path = self.path.clone();
        #[expect(clippy::disallowed_methods, reason = "ends when the receiver is dropped")]
        tokio::spawn(async move {
            // The receiver is gone: nobody wants more.
            let _ = produce(path, query, ended, &sender).await;
        });
        LogChunks(receiver)
    }
}

/// Pieces of a log, whole lines mostly. Dropping it ends the reading.
#[derive(Debug)]
pub struct LogChunks(mpsc::Receiver<Result<Bytes, LogError>>);

impl Stream for LogChunks {
    type Item = Result<Bytes, LogError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

type Sender = mpsc::Sender<Result<Bytes, LogError>>;
type Closed = mpsc::error::SendError<Result<Bytes, LogError>>;

async fn produce(
    path: PathBuf,
    query: LogQuery,
    ended: Option<impl Future<Output = ()> + Send>,
    sender: &Sender,
) -> Result<(), Closed> {
    let follow = ended.is_some();
    let ended = async {
        match ended {
            Some(ended) => ended.await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(ended);
    // Without following, the first look at the end is the last one.
    let mut last_look = !follow;
    let mut cursor = None;
    loop {
        let (path, query) = (path.clone(), query.clone());
        let step = move || advance(path, query, cursor, follow);
        let chunk = match tokio::task::spawn_blocking(step).await {
            Ok(Ok((next, chunk))) => {
                cursor = next;
                chunk
            }
            Ok(Err(error)) => return sender.send(Err(error)).await,
            Err(_runtime_ended) => return Ok(()),
        };
        let full = cursor.as_ref().is_some_and(Cursor::full);
        if !chunk.is_empty() {
            sender.send(Ok(chunk)).await?;
        } else if last_look {
            return Ok(());
        } else {
            tokio::select! {
                () = &mut ended => last_look = true,
                () = sender.closed() => return Ok(()),
                () = tokio::time::sleep(FOLLOW_PAUSE) => {}
            }
        }
        if full {
            return Ok(());
        }
    }
}

/// One blocking step. A log that is followed may not exist yet.
fn advance(
    path: PathBuf,
    query: LogQuery,
    cursor: Option<Cursor>,
    follow: bool,
) -> Result<(Option<Cursor>, Bytes), LogError> {
    let mut cursor = match cursor {
        Some(cursor) => cursor,
        None => match Cursor::open(&path, query) {
            Ok(cursor) => cursor,
            Err(error) if error.kind() == io::ErrorKind::NotFound && follow => return Ok((None, Bytes::new())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(LogError::NotFound { path }),
            Err(source) => return Err(LogError::Read { path, source }),
        },
    };
    let chunk = cursor.next().map_err(|source| LogError::Read { path, source })?;
    Ok((Some(cursor), Bytes::from(chunk)))
}

/// A place in a log.
struct Cursor {
    path: PathBuf,
    query: LogQuery,
    /// `since` as it would be written; times sort as text.
    since: Option<String>,
    reading: LogFile,
    /// Bytes of a line whose end was not there yet.
    held: Vec<u8>,
    /// The last line given was not ended.
    open_line: bool,
    left: u64,
}

impl Cursor {
    fn open(path: &Path, query: LogQuery) -> io::Result<Self> {
        let since = query.since.map(|since| format!("{since:.9}"));
        let left = query.limit_bytes.unwrap_or(u64::MAX);
        let mut files = open_all(path)?;
        let (index, offset) = match query.tail {
            Some(lines) => tail_start(&files, lines, query.streams)?,
            None => (files.len().checked_sub(1).ok_or(io::ErrorKind::NotFound)?, 0),
        };
        let mut reading = files.swap_remove(index);
        reading.file.seek(SeekFrom::Start(offset))?;
        Ok(Self { path: path.to_owned(), query, since, reading, held: Vec::new(), open_line: false, left })
    }

    fn full(&self) -> bool {
        self.left == 0
    }

    /// The next piece; empty at the end of what there is.
    fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        while out.is_empty() && self.left > 0 {
            if self.read_block(&mut out)? {
                continue;
            }
            let Some(next) = self.newer_file()? else { break };
            // Between the last read and the rotation something may have been written.
            while self.read_block(&mut out)? {}
            self.reading = next;
            self.held.clear();
        }
        let keep = usize::try_from(self.left).unwrap_or(usize::MAX);
        out.truncate(keep);
        self.left -= out.len() as u64;
        Ok(out)
    }

    /// Reads on; false at the end of the file.
    fn read_block(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        let start = self.held.len();
        self.held.resize(start + BLOCK_BYTES, 0);
        let read = self.reading.file.read(&mut self.held[start..]);
        self.held.truncate(start + *read.as_ref().unwrap_or(&0));
        if read? == 0 {
            return Ok(false);
        }
        let held = std::mem::take(&mut self.held);
        let mut rest = held.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.render(&rest[..end], out);
            rest = &rest[end + 1..];
        }
        self.held = rest.to_vec();
        Ok(true)
    }

    fn render(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(record) = format::parse(line) else { return };
        let late = self.since.as_ref().is_none_or(|since| record.time >= since.as_str());
        if !late || !wanted(self.query.streams, record.stream) {
            return;
        }
        if self.query.timestamps && !self.open_line {
            out.extend_from_slice(record.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(record.text);
        if record.full {
            out.push(b'\n');
        }
        self.open_line = !record.full;
    }

    /// The file after the one being read, if that was rotated.
    fn newer_file(&self) -> io::Result<Option<LogFile>> {
        if fs::metadata(&self.path).is_ok_and(|current| current.ino() == self.reading.inode) {
            return Ok(None);
        }
        let mut files = open_all(&self.path)?;
        Ok(match files.iter().position(|file| file.inode == self.reading.inode) {
            Some(index) => index.checked_sub(1).map(|newer| files.swap_remove(newer)),
            // Rotated away meanwhile: go on with the oldest there is.
            None => files.pop(),
        })
    }
}

fn wanted(filter: StreamFilter, stream: StreamKind) -> bool {
    match filter {
        StreamFilter::Both => true,
        StreamFilter::Only(only) => only == stream,
    }
}

/// Where the last `lines` lines begin: which of the files, and the place in it.
fn tail_start(files: &[LogFile], lines: u64, streams: StreamFilter) -> io::Result<(usize, u64)> {
    let mut found = 0;
    let mut start = None;
    for (index, LogFile { file, .. }) in files.iter().enumerate() {
        let mut end = file.metadata()?.len();
        start.get_or_insert((index, end));
        // Bytes after `end` that belong to the line that begins before it.
        let mut held: Vec<u8> = Vec::new();
        while end > 0 {
            let size = end.min(BLOCK_BYTES as u64);
            let mut block = vec![0; usize::try_from(size).unwrap_or(BLOCK_BYTES)];
            file.read_exact_at(&mut block, end - size)?;
            end -= size;
            block.extend_from_slice(&held);
            let first = if end == 0 { Some(0) } else { block.iter().position(|byte| *byte == b'\n').map(|at| at + 1) };
            let Some(first) = first else {
                held = block;
                continue;
            };
            let mut until = block.len();
            while until > first {
                let line_end = if block[until - 1] == b'\n' { until - 1 } else { until };
                let begin =
                    block[first..line_end].iter().rposition(|byte| *byte == b'\n').map_or(first, |at| first + at + 1);
                let complete = line_end < until;
                let record = format::parse(&block[begin..line_end]).filter(|_| complete);
                if record.is_some_and(|record| wanted(streams, record.stream)) {
                    if record.is_some_and(|record| record.full) {
                        found += 1;
                        if found > lines {
                            return Ok(start.unwrap_or((index, end)));
                        }
                    }
                    start = Some((index, end + begin as u64));
                }
                until = begin;
            }
            block.truncate(first);
            held = block;
        }
    }
    start.ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]
mod tests {
    use futures::StreamExt;

    use super::*;
    use crate::container::LogTarget;
    use crate::logs::LogWriter;

    struct Log {
        _root: tempfile::TempDir,
        path: PathBuf,
        writer: LogWriter,
    }

    fn log(max_bytes: u64) -> io::Result<Log> {
        let root = tempfile::tempdir()?;
        let path = root.path().join("0.log");
        let writer = LogWriter::open(LogTarget { path: path.clone(), max_bytes, max_files: 50 })?;
        Ok(Log { _root: root, path, writer })
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second, 0).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    async fn all(chunks: LogChunks) -> Result<String, LogError> {
        let pieces: Vec<_> = chunks.collect().await;
        let bytes = pieces.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    #[tokio::test]
    async fn tails_of_every_length_over_rotated_files() -> Result<(), Box<dyn std::error::Error>> {
        let mut log = log(200)?;
        for number in 0..30 {
            let stream = if number % 3 == 0 { StreamKind::Stderr } else { StreamKind::Stdout };
            log.writer.push(stream, format!("{number}\n").as_bytes(), at(number));
        }
        let reader = LogReader::new(&log.path);
        let numbers = |from: u64, only: fn(&u64) -> bool| {
            (from..30).filter(only).map(|number| format!("{number}\n")).collect::<String>()
        };
        for tail in 0..=31 {
            let query = LogQuery { tail: Some(tail), ..Default::default() };
            assert_eq!(all(reader.read(query)).await?, numbers(30_u64.saturating_sub(tail), |_| true), "tail {tail}");
        }
        let query = LogQuery { tail: Some(2), streams: StreamFilter::Only(StreamKind::Stderr), ..Default::default() };
        assert_eq!(all(reader.read(query)).await?, "24\n27\n");
        let query = LogQuery { since: Some(at(27)), timestamps: true, ..Default::default() };
        assert_eq!(
            all(reader.read(query)).await?,
            "1970-01-01T00:00:27.000000000Z 27\n1970-01-01T00:00:28.000000000Z 28\n1970-01-01T00:00:29.000000000Z 29\n"
        );
        let query = LogQuery { limit_bytes: Some(5), ..Default::default() };
        assert_eq!(all(reader.read(query)).await?, "0\n1\n2");
        Ok(())
    }

    #[tokio::test]
    async fn long_lines_come_whole_and_count_once() -> Result<(), Box<dyn std::error::Error>> {
        let mut log = log(1 << 20)?;
        let long = "x".repeat(300_000);
        log.writer.push(StreamKind::Stdout, format!("first\n{long}\nlast\n").as_bytes(), at(0));
        let query = LogQuery { tail: Some(2), ..Default::default() };
        let text = all(LogReader::new(&log.path).read(query)).await?;
        assert_eq!(text, format!("{long}\nlast\n"));
        Ok(())
    }

    #[tokio::test]
    async fn following_crosses_rotations_and_ends_with_the_container() -> Result<(), Box<dyn std::error::Error>> {
        let mut log = log(300)?;
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let chunks = LogReader::new(&log.path).follow(LogQuery::default(), async {
            // Either way it has ended.
            let _ = ended.await;
        });
        let reading = tokio::spawn(all(chunks));
        let mut expected = String::new();
        for number in 0..60 {
            let line = format!("line {number}\n");
            log.writer.push(StreamKind::Stdout, line.as_bytes(), at(number));
            expected += &line;
            tokio::task::yield_now().await;
        }
        drop(end);
        assert_eq!(reading.await??, expected);
        Ok(())
    }

    /// Whoever reads while a program writes much gets the beginning of it, without a gap.
    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_missed_while_the_log_is_rotated() -> Result<(), Box<dyn std::error::Error>> {
        let Log { _root, path, mut writer } = log(100)?;
        let whole: String = (0..90).map(|number| format!("line {number}\n")).collect();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let followed = LogReader::new(&path).follow(LogQuery::default(), async {
            // Either way it has ended.
            let _ = ended.await;
        });
        let followed = tokio::spawn(all(followed));
        let lines: Vec<String> = whole.lines().map(|line| format!("{line}\n")).collect();
        let writing = std::thread::spawn(move || {
            for (second, line) in (0..).zip(lines) {
                writer.push(StreamKind::Stdout, line.as_bytes(), at(second));
            }
        });
        let mut read = String::new();
        while read != whole {
            read = all(LogReader::new(&path).read(LogQuery::default())).await?;
            assert!(whole.starts_with(&read), "a gap in: {read}");
        }
        drop((writing.join(), end));
        assert_eq!(followed.await??, whole);
        Ok(())
    }

    #[tokio::test]
    async fn missing_log_is_an_error_unless_it_is_awaited() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let reader = LogReader::new(root.path().join("0.log"));
        assert!(matches!(all(reader.read(LogQuery::default())).await, Err(LogError::NotFound { .. })));
        assert_eq!(all(reader.follow(LogQuery::default(), std::future::ready(()))).await?, "");
        Ok(())
    }

    #[test]
    fn instances_are_numbered() {
        assert_eq!(previous_instance(Path::new("/l/app/3.log")), Some("/l/app/2.log".into()));
        assert_eq!(previous_instance(Path::new("/l/app/0.log")), None);
        assert_eq!(previous_instance(Path::new("/l/app/x.log")), None);
    }
}
