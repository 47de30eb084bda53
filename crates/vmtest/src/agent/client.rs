//! The end outside of the guest.

use std::{
    collections::HashMap,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use super::frame::{Decoder, Exit, Frame, Kind, Ready, Run};
use crate::{
    error::{Error, Result},
    limits::{FRAME_BYTES_MAX, OUTPUT_BYTES_MAX, QMP, STDIN_BYTES_MAX},
};

type Pending = Arc<Mutex<HashMap<u32, Sender<Frame>>>>;

/// What a command in a guest did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Exit code; 128 plus the signal when a signal ended it.
    pub code: i32,
    /// Standard output, at most [`OUTPUT_BYTES_MAX`].
    pub stdout: Vec<u8>,
    /// Standard error, at most [`OUTPUT_BYTES_MAX`].
    pub stderr: Vec<u8>,
}

/// A connection to the agent of a guest, over the socket of its serial port.
#[derive(Debug)]
pub struct Agent {
    guest: String,
    line: Mutex<UnixStream>,
    pending: Pending,
    next: AtomicU32,
    reset: Arc<AtomicBool>,
}

impl Agent {
    /// Connects to the emulator's socket; the guest need not run yet.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(guest: &str, socket: &Path) -> Result<Self> {
        let broken = |source| Error::Connection { guest: guest.to_owned(), peer: "agent", source };
        let line = UnixStream::connect(socket).map_err(broken)?;
        line.set_write_timeout(Some(QMP)).map_err(broken)?;
        let reader = line.try_clone().map_err(broken)?;
        let pending = Pending::default();
        let reset = Arc::<AtomicBool>::default();
        let (answers, begin_anew) = (pending.clone(), reset.clone());
        thread::spawn(move || receive(reader, &answers, &begin_anew));
        Ok(Self { guest: guest.to_owned(), line: Mutex::new(line), pending, next: AtomicU32::new(1), reset })
    }

    /// Asks whether the agent is there, and waits for `patience`; `None` when it did not answer.
    ///
    /// # Errors
    /// When the line broke.
    pub fn hello(&self, patience: Duration) -> Result<Option<Ready>> {
        let (id, answers) = self.open();
        let sent = self.send(&Frame::new(id, Kind::Hello, []));
        let answer = sent.map(|()| answers.recv_timeout(patience).ok());
        self.close(id);
        Ok(answer?.and_then(|frame| serde_json::from_slice(&frame.payload).ok()))
    }

    /// Runs a program with `stdin` and waits until it ends, or kills it after `limit`.
    ///
    /// # Errors
    /// When it cannot be started, does not end in time, or the line broke. An exit code that is not 0 is no error.
    pub fn run(&self, run: &Run, stdin: &[u8], limit: Duration) -> Result<Output> {
        if stdin.len() > STDIN_BYTES_MAX {
            return Err(Error::Request(format!("{} bytes of input: put them on a disk", stdin.len())));
        }
        let (id, answers) = self.open();
        let result = self.converse(id, &answers, run, stdin, limit);
        self.close(id);
        result
    }

    /// The guest was reset: its agent is another one, and nobody answers what the old one was asked.
    ///
    /// The line stays: the emulator keeps it. The end of a frame that the old agent began is skipped.
    pub fn forget(&self) {
        self.reset.store(true, Ordering::Release);
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn converse(&self, id: u32, answers: &Receiver<Frame>, run: &Run, stdin: &[u8], limit: Duration) -> Result<Output> {
        let until = Instant::now() + limit;
        self.send(&Frame::json(id, Kind::Run, run))?;
        for piece in stdin.chunks(FRAME_BYTES_MAX) {
            self.send(&Frame::new(id, Kind::Stdin, piece))?;
        }
        self.send(&Frame::new(id, Kind::Stdin, []))?;
        let mut output = Output::default();
        loop {
            let frame = match answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(frame) => frame,
                Err(RecvTimeoutError::Timeout) => {
                    self.send(&Frame::new(id, Kind::Kill, []))?;
                    return Err(self.timeout(run, &output, limit));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.broken(std::io::ErrorKind::UnexpectedEof.into()));
                }
            };
            match frame.kind {
                Kind::Stdout => keep(&mut output.stdout, &frame.payload),
                Kind::Stderr => keep(&mut output.stderr, &frame.payload),
                Kind::Exit => return self.exited(run, output, &frame.payload),
                _ => {}
            }
        }
    }

    fn exited(&self, run: &Run, mut output: Output, payload: &[u8]) -> Result<Output> {
        let exit: Exit = serde_json::from_slice(payload).map_err(|error| self.broken(error.into()))?;
        match exit {
            Exit { code: Some(code), .. } => {
                output.code = code;
                Ok(output)
            }
            Exit { error, .. } => Err(Error::Command {
                guest: self.guest.clone(),
                command: run.argv.join(" "),
                message: error.unwrap_or_else(|| "it ended without a code".into()),
            }),
        }
    }

    fn timeout(&self, run: &Run, output: &Output, limit: Duration) -> Error {
        let said: Vec<u8> = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        let tail = String::from_utf8_lossy(&said[said.len().saturating_sub(2000)..]).into_owned();
        Error::Timeout { guest: self.guest.clone(), what: run.argv.join(" "), limit, tail }
    }

    fn broken(&self, source: std::io::Error) -> Error {
        Error::Connection { guest: self.guest.clone(), peer: "agent", source }
    }

    fn open(&self) -> (u32, Receiver<Frame>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel();
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).insert(id, sender);
        (id, receiver)
    }

    fn close(&self, id: u32) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    fn send(&self, frame: &Frame) -> Result<()> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.write_all(&frame.encode()).map_err(|error| self.broken(error))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        // Ends the receiving thread; a line that is closed already needs nothing.
        let _ = line.shutdown(std::net::Shutdown::Both);
    }
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len());
    kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// Hands every frame to whoever waits for its id. When the line ends, all of them see it.
fn receive(mut line: UnixStream, pending: &Pending, reset: &AtomicBool) {
    let mut decoder = Decoder::default();
    let mut bytes = vec![0; FRAME_BYTES_MAX];
    while let Ok(length @ 1..) = line.read(&mut bytes) {
        if reset.swap(false, Ordering::Acquire) {
            decoder = Decoder::default();
        }
        decoder.push(&bytes[..length]);
        while let Some(frame) = decoder.next_frame() {
            let pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(waiting) = pending.get(&frame.id) {
                // Whoever gave up waiting does not need it.
                let _ = waiting.send(frame);
            }
        }
    }
    pending.lock().unwrap_or_else(PoisonError::into_inner).clear();
}
