//! The shim's life while its container runs: one poll(2) loop.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::dir::ShimDir;
use super::exec;
use super::launch::{Launched, Stdio};
use super::output::{Output, VIEWERS_MAX, Viewer};
use crate::cgroup::OomWatch;
use crate::container::{Exit, ExitCause};
use crate::logs::StreamKind;
use crate::wire::{self, Reply, Request};

/// Most conversations at once; further ones are closed at once.
const CONVERSATIONS_MAX: usize = 256;
/// Longest wait for the rest of a message that has begun.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// After this much quiet the memory that starting took is given back, in milliseconds.
const TIDY_AFTER_MILLIS: u16 = 500;
/// Longest wait for output after everything in the container was killed.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// A shim whose container runs.
pub(super) struct Server {
    dir: ShimDir,
    launched: Launched,
    output: Output,
    children: SignalFd,
    /// None where the kernel offers nothing to watch.
    oom: Option<OomWatch>,
    conversations: Vec<Conversation>,
}

/// One connection, and what it is about.
struct Conversation {
    stream: UnixStream,
    topic: Topic,
}

enum Topic {
    /// Nothing asked yet.
    New,
    /// Wants to be told the end.
    Watch,
    /// An exec'd program; `failures` until it is executed.
    Exec { pid: Pid, failures: Option<OwnedFd>, exit: Option<Exit> },
    /// Over.
    Done,
}

/// What poll(2) reported something about.
#[derive(Clone, Copy)]
enum Source {
    Children,
    OutOfMemory,
    Listener,
    Output(StreamKind),
    Input,
    Viewer(usize),
    ViewerInput(usize),
    Conversation(usize),
    Failures(usize),
}

impl Server {
    pub(super) fn new(dir: ShimDir, mut launched: Launched, daemon: UnixStream) -> io::Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block()?;
        let children = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        launched.listener.set_nonblocking(true)?;
        let placeholder = Stdio::Terminal(File::open("/dev/null")?.into());
        let stdio = std::mem::replace(&mut launched.stdio, placeholder);
        let output = Output::new(stdio, launched.spec.log.clone())?;
        let record = &launched.record;
        let started = Reply::Started { pid: record.process.pid, started_at: record.started_at };
        // A daemon that is gone will find the container by its record.
        let _ = wire::send(daemon.as_fd(), &started, &[]);
        // Not before: nobody waits for it, and what is counted until then is seen.
        let oom = OomWatch::open(&launched.cgroups, &record.cgroup);
        let oom = oom.inspect_err(|error| eprintln!("kills for lack of memory are not told: {error}")).ok();
        let daemon = Conversation { stream: daemon, topic: Topic::Watch };
        Ok(Self { dir, launched, output, children, oom, conversations: vec![daemon] })
    }

    /// Until the container has ended and everybody was told.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut tidied = false;
        let exit = loop {
            // First: the program may have ended before the signal was looked for.
            if let Some(exit) = self.reap()? {
                break exit;
            }
            let sources = self.wait(self.timeout(tidied))?;
            if let Some(oom) = self.oom.as_mut().filter(|oom| oom.again().is_some()) {
                oom.look(Instant::now());
            } else if sources.is_empty() && !tidied {
                super::pages::forget_program_pages();
                tidied = true;
            }
            for source in sources {
                self.handle(source);
            }
            self.conversations.retain(|conversation| !matches!(conversation.topic, Topic::Done));
        };
        self.finish(exit)
    }

    fn timeout(&self, tidied: bool) -> PollTimeout {
        match self.oom.as_ref().and_then(OomWatch::again) {
            // Rounded up, so that the time has come when it returns.
            Some(again) => {
                let left = again.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)
            }
            None if tidied => PollTimeout::NONE,
            None => PollTimeout::from(TIDY_AFTER_MILLIS),
        }
    }

    fn sources(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let read = PollFlags::POLLIN;
        let mut sources = vec![
            (Source::Children, self.children.as_fd(), read),
            (Source::Listener, self.launched.listener.as_fd(), read),
        ];
        sources.extend(self.oom.as_ref().map(|oom| oom.source()).map(|(fd, events)| (Source::OutOfMemory, fd, events)));
        for stream in [StreamKind::Stdout, StreamKind::Stderr] {
            sources.extend(self.output.readable(stream).map(|fd| (Source::Output(stream), fd, read)));
        }
        sources.extend(self.output.writable().map(|fd| (Source::Input, fd, PollFlags::POLLOUT)));
        for (index, viewer) in self.output.viewers.iter().enumerate() {
            sources.push((Source::Viewer(index), viewer.conversation.as_fd(), read));
            let stdin = viewer.stdin.as_ref().filter(|_| self.output.takes_input());
            sources.extend(stdin.map(|stdin| (Source::ViewerInput(index), stdin.as_fd(), read)));
        }
        for (index, conversation) in self.conversations.iter().enumerate() {
            sources.push((Source::Conversation(index), conversation.stream.as_fd(), read));
            if let Topic::Exec { failures: Some(failures), .. } = &conversation.topic {
                sources.push((Source::Failures(index), failures.as_fd(), read));
            }
        }
        sources
    }

    fn wait(&self, timeout: PollTimeout) -> io::Result<Vec<Source>> {
        let sources = self.sources();
        let mut fds: Vec<PollFd<'_>> = sources.iter().map(|(_, fd, events)| PollFd::new(*fd, *events)).collect();
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let reported = fds.iter().map(|fd| fd.revents().is_some_and(|events| !events.is_empty()));
        let reported: Vec<bool> = reported.collect();
        Ok(sources.iter().zip(reported).filter(|(_, reported)| *reported).map(|((source, ..), _)| *source).collect())
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Children => while let Ok(Some(_)) = self.children.read_signal() {},
            Source::OutOfMemory => {
                if !self.oom.as_mut().is_some_and(|oom| oom.reported(Instant::now())) {
                    self.oom = None;
                }
            }
            Source::Listener => self.accept(),
            Source::Output(stream) => drop(self.output.pump(stream)),
            Source::Input => self.output.give_input(),
            Source::ViewerInput(index) => self.output.take_input(index),
            // A viewer says nothing; it hangs up. Indices move, so one at a time.
            Source::Viewer(index) => {
                if index < self.output.viewers.len() {
                    self.output.viewers.swap_remove(index);
                }
            }
            Source::Conversation(index) => self.converse(index),
            Source::Failures(index) => self.executed(index),
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.launched.listener.accept() {
            let usable = stream.set_read_timeout(Some(MESSAGE_TIMEOUT)).is_ok()
                && stream.set_write_timeout(Some(MESSAGE_TIMEOUT)).is_ok();
            if usable && self.conversations.len() < CONVERSATIONS_MAX {
                self.conversations.push(Conversation { stream, topic: Topic::New });
            }
        }
    }

    fn converse(&mut self, index: usize) {
        let received = wire::receive::<Request>(self.conversations[index].stream.as_fd());
        let (request, fds) = match received {
            Ok(Some(received)) => received,
            Ok(None) | Err(_) => return self.hung_up(index),
        };
        let answer = match (&self.conversations[index].topic, request) {
            (Topic::New, Request::Watch) => {
                self.conversations[index].topic = Topic::Watch;
                Some(Ok(Reply::Watching))
            }
            (Topic::New, Request::Exec(request)) => {
                let stream = self.conversations[index].stream.as_fd();
                match exec::start(&self.launched, &request, fds, stream) {
                    Ok(forked) => {
                        self.conversations[index].topic =
                            Topic::Exec { pid: forked.pid, failures: Some(forked.failures), exit: None };
                        None
                    }
                    Err(error) => Some(Err(error)),
                }
            }
            (Topic::New, Request::Attach { stdin }) => return self.attach(index, fds, stdin),
            (Topic::New, Request::Resize(size)) => Some(self.output.resize(size).map(|()| Reply::Done)),
            (Topic::New, Request::CloseStdin) => {
                self.output.close_input();
                Some(Ok(Reply::Done))
            }
            (Topic::New, Request::Signal(number)) => {
                Some(self.launched.record.process.signal(number).map(|()| Reply::Done))
            }
            (Topic::Exec { pid, exit: None, .. }, Request::Signal(number)) => {
                signal_group(*pid, number);
                None
            }
            _ => Some(Err(io::Error::other("not in this conversation"))),
        };
        match answer {
            None => {}
            Some(Ok(reply)) => self.reply(index, &reply),
            Some(Err(error)) => self.reply(index, &Reply::Failed { problem: error.to_string() }),
        }
    }

    /// The other side is gone: its program must not stay.
    fn hung_up(&mut self, index: usize) {
        let conversation = &mut self.conversations[index];
        if let Topic::Exec { pid, exit: None, .. } = &conversation.topic {
            signal_group(*pid, libc::SIGKILL);
        }
        conversation.topic = Topic::Done;
    }

    fn attach(&mut self, index: usize, fds: Vec<OwnedFd>, stdin: bool) {
        let full = self.output.viewers.len() >= VIEWERS_MAX;
        let viewer = self.conversations[index].stream.try_clone().and_then(|stream| {
            if full {
                return Err(io::Error::other(format!("{VIEWERS_MAX} are attached already")));
            }
            Viewer::new(stream, fds, stdin)
        });
        match viewer {
            Ok(viewer) => {
                self.reply(index, &Reply::Attached);
                self.output.viewers.push(viewer);
            }
            Err(error) => self.reply(index, &Reply::Failed { problem: error.to_string() }),
        }
        self.conversations[index].topic = Topic::Done;
    }

    /// The failure pipe of an exec'd program said something or closed.
    fn executed(&mut self, index: usize) {
        let Some(Conversation { topic: Topic::Exec { failures, .. }, .. }) = self.conversations.get_mut(index) else {
            return;
        };
        let Some(pipe) = failures.take() else { return };
        let mut problem = String::new();
        // Short enough to come in one piece; an error leaves what was read.
        let _ = File::from(pipe).read_to_string(&mut problem);
        if problem.is_empty() {
            let pid = self.launched.record.process.pid;
            self.reply(index, &Reply::Started { pid, started_at: Timestamp::now() });
        } else {
            self.reply(index, &Reply::Failed { problem });
            self.conversations[index].topic = Topic::Done;
        }
        self.tell_exec_end(index);
    }

    fn reply(&mut self, index: usize, reply: &Reply) {
        if wire::send(self.conversations[index].stream.as_fd(), reply, &[]).is_err() {
            self.hung_up(index);
        }
    }

    /// Tells the end of an exec'd program, once it is known and its start was told.
    fn tell_exec_end(&mut self, index: usize) {
        let Topic::Exec { failures: None, exit: Some(exit), .. } = &self.conversations[index].topic else {
            return;
        };
        let reply = Reply::Exited(exit.clone());
        self.reply(index, &reply);
        self.conversations[index].topic = Topic::Done;
    }

    /// Collects ended children; the exit of the container's first program if it is among them.
    fn reap(&mut self) -> io::Result<Option<Exit>> {
        let mut ended = None;
        loop {
            let (pid, code, signal) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code, None),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32, Some(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(nix::Error::ECHILD) => return Ok(ended),
                Ok(_) | Err(nix::Error::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let exit =
                Exit { code, signal, oom_killed: false, finished_at: Timestamp::now(), cause: ExitCause::Process };
            if pid.as_raw() == self.launched.record.process.pid {
                ended = Some(exit);
                continue;
            }
            let found = self
                .conversations
                .iter_mut()
                .position(|conversation| matches!(&conversation.topic, Topic::Exec { pid: own, .. } if *own == pid));
            if let Some(index) = found {
                if let Topic::Exec { exit: slot, .. } = &mut self.conversations[index].topic {
                    *slot = Some(exit);
                }
                self.tell_exec_end(index);
            }
        }
    }

    /// Everything after the end of the first program.
    fn finish(mut self, mut exit: Exit) -> io::Result<()> {
        exit.oom_killed =
            !self.dir.marked_killed() && self.oom.as_mut().is_some_and(|oom| oom.explains(exit.code, Instant::now()));
        // With a shared pid namespace others may be left; and exec'd ones were killed by the kernel.
        if let Err(error) = self.launched.cgroups.kill(&self.launched.record.cgroup) {
            eprintln!("{error}");
        }
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        for stream in [StreamKind::Stdout, StreamKind::Stderr] {
            while let Some(fd) = self.output.readable(stream) {
                let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
                let left = deadline.saturating_duration_since(Instant::now());
                let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
                if poll(&mut fds, left).is_ok_and(|ready| ready == 0) || self.output.pump(stream) {
                    break;
                }
            }
        }
        self.reap()?;
        for index in 0..self.conversations.len() {
            self.executed(index);
            if matches!(self.conversations[index].topic, Topic::Exec { exit: None, .. }) {
                self.reply(index, &Reply::Exited(killed_with_container()));
            }
        }
        self.dir.write_exit(&exit)?;
        for index in 0..self.conversations.len() {
            if matches!(self.conversations[index].topic, Topic::Watch) {
                self.reply(index, &Reply::Exited(exit.clone()));
            }
        }
        Ok(())
    }
}

fn killed_with_container() -> Exit {
    Exit {
        code: 128 + libc::SIGKILL,
        signal: Some(libc::SIGKILL),
        oom_killed: false,
        finished_at: Timestamp::now(),
        cause: ExitCause::Process,
    }
}

/// The process group of an exec'd program, or the process itself while it has none of its own yet.
fn signal_group(pid: Pid, number: i32) {
    let Ok(signal) = Signal::try_from(number) else { return };
    if killpg(pid, signal).is_err() {
        // Gone is as good.
        let _ = kill(pid, signal);
    }
}
