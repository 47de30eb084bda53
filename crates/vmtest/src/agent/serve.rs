//! The end inside the guest: runs programs and sends what they say.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use rustix::{
    process::{Pid, Signal, kill_process_group},
    time::{ClockId, clock_gettime},
};

use super::frame::{Decoder, Exit, Frame, Kind, Ready, Run};
use crate::limits::{FRAME_BYTES_MAX, OUTPUT_LINGER};

/// Between two looks for a port or a peer that is not there yet.
const RETRY: Duration = Duration::from_millis(50);

/// A started program: where its input goes, and its process group.
struct Started {
    stdin: Sender<Vec<u8>>,
    group: Option<Pid>,
}

type Table = Arc<Mutex<HashMap<u32, Started>>>;

/// The frames' way out; whole frames, one after the other.
#[derive(Clone)]
struct Line(Arc<Mutex<File>>);

impl Line {
    fn send(&self, frame: &Frame) {
        // Whoever panicked with the lock held was writing; the decoder on the other side skips the half frame. A line
        // that is gone has nobody to tell.
        let mut file = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = file.write_all(&frame.encode());
    }
}

/// Serves the port until the guest ends.
///
/// # Errors
/// When the port breaks.
pub fn serve() -> io::Result<()> {
    let path = wait_for_port();
    let mut port = OpenOptions::new().read(true).write(true).open(path)?;
    let line = Line(Arc::new(Mutex::new(port.try_clone()?)));
    let table = Table::default();
    let mut decoder = Decoder::default();
    let mut bytes = vec![0; FRAME_BYTES_MAX];
    loop {
        let length = match port.read(&mut bytes) {
            // Nobody is at the other end.
            Ok(0) => {
                thread::park_timeout(RETRY);
                continue;
            }
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        decoder.push(&bytes[..length]);
        while let Some(frame) = decoder.next_frame() {
            handle(frame, &line, &table);
        }
    }
}

/// The device of the port with our name, as soon as its driver has made it.
fn wait_for_port() -> PathBuf {
    loop {
        let ports = fs::read_dir("/sys/class/virtio-ports").into_iter().flatten().flatten();
        let ours = ports
            .map(|entry| entry.path())
            .find(|path| fs::read_to_string(path.join("name")).is_ok_and(|name| name.trim_end() == super::PORT));
        let device = ours.as_deref().and_then(|path| path.file_name()).map(|name| PathBuf::from("/dev").join(name));
        match device {
            Some(device) if device.exists() => return device,
            _ => thread::park_timeout(RETRY),
        }
    }
}

fn handle(frame: Frame, line: &Line, table: &Table) {
    let lock = || table.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match frame.kind {
        Kind::Hello => line.send(&Frame::json(frame.id, Kind::Ready, &state())),
        Kind::Run => match serde_json::from_slice::<Run>(&frame.payload) {
            Ok(run) => start(frame.id, &run, line, table),
            Err(error) => refuse(frame.id, &error.to_string(), line),
        },
        Kind::Stdin => {
            let mut table = lock();
            if frame.payload.is_empty() {
                // Dropping the sender closes the program's input.
                if let Some(started) = table.get_mut(&frame.id) {
                    started.stdin = mpsc::channel().0;
                }
            } else if let Some(started) = table.get(&frame.id) {
                // A program that closed its input does not want it.
                let _ = started.stdin.send(frame.payload);
            }
        }
        Kind::Kill => {
            if let Some(group) = lock().get(&frame.id).and_then(|started| started.group) {
                // It may have ended meanwhile.
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
        Kind::Ready | Kind::Stdout | Kind::Stderr | Kind::Exit => {}
    }
}

fn state() -> Ready {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim_end().to_owned();
    let now = clock_gettime(ClockId::Monotonic);
    Ready { boot_id, monotonic_ns: now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs() }
}

fn refuse(id: u32, message: &str, line: &Line) {
    line.send(&Frame::json(id, Kind::Exit, &Exit { code: None, error: Some(message.to_owned()) }));
}

fn start(id: u32, run: &Run, line: &Line, table: &Table) {
    let Some((program, arguments)) = run.argv.split_first() else {
        return refuse(id, "no program is named", line);
    };
    let child = Command::new(program)
        .args(arguments)
        .envs(run.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return refuse(id, &error.to_string(), line),
    };
    let (stdin, input) = mpsc::channel();
    if let Some(pipe) = child.stdin.take() {
        thread::spawn(move || feed(pipe, &input));
    }
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let mut lock = table.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    lock.insert(id, Started { stdin, group });
    drop(lock);
    let (line, table) = (line.clone(), table.clone());
    thread::spawn(move || follow(id, child, &line, &table));
}

fn feed(mut pipe: impl Write, input: &Receiver<Vec<u8>>) {
    while let Ok(bytes) = input.recv() {
        if pipe.write_all(&bytes).is_err() {
            return;
        }
    }
}

/// Sends output until both streams are closed, or the program ended and what it left behind is silent; then its exit.
fn follow(id: u32, mut child: Child, line: &Line, table: &Table) {
    let (done, finished) = mpsc::channel();
    let streams: [(Kind, Option<Box<dyn Read + Send>>); 2] = [
        (Kind::Stdout, child.stdout.take().map(|pipe| Box::new(pipe) as _)),
        (Kind::Stderr, child.stderr.take().map(|pipe| Box::new(pipe) as _)),
    ];
    let mut open = 0;
    for (kind, pipe) in streams {
        let Some(pipe) = pipe else { continue };
        let (line, done) = (line.clone(), done.clone());
        open += 1;
        thread::spawn(move || {
            pump(id, kind, pipe, &line);
            // The receiver may have stopped to wait.
            let _ = done.send(());
        });
    }
    let status = child.wait();
    while open > 0 && finished.recv_timeout(OUTPUT_LINGER).is_ok() {
        open -= 1;
    }
    table.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&id);
    let exit = match status {
        Ok(status) => Exit { code: Some(code(status)), error: None },
        Err(error) => Exit { code: None, error: Some(error.to_string()) },
    };
    line.send(&Frame::json(id, Kind::Exit, &exit));
}

fn pump(id: u32, kind: Kind, mut pipe: impl Read, line: &Line) {
    let mut bytes = vec![0; FRAME_BYTES_MAX];
    while let Ok(length @ 1..) = pipe.read(&mut bytes) {
        line.send(&Frame::new(id, kind, &bytes[..length]));
    }
}

/// The exit code, as a shell would tell it.
fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}
