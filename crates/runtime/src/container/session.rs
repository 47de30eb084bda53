//! The daemon's side of exec and attach.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::attach::{Attachment, Conversation};
use super::error::ContainerError;
use super::exec::{ExecControl, ExecEnd, ExecOutput, ExecSession, ExecSpec, ExecStdin, StdinMode, Stream};
use super::runtime::Runtime;
use super::validate;
use crate::wire::{self, ExecRequest, Reply, Request};

/// Longest time until a program in a container is executed.
const EXEC_START_TIMEOUT: Duration = Duration::from_secs(60);
/// Signals queued for one program.
const SIGNALS_MAX: usize = 16;

/// The caller's ends of a program's streams.
struct Ends {
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// Makes pipes; gives the caller's ends and the program's, in order.
fn pipes(stdin: bool, null_stdin: bool) -> io::Result<(Ends, Vec<OwnedFd>)> {
    let mut theirs = Vec::new();
    let mut ours = None;
    if stdin {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        theirs.push(read);
        ours = Some(write);
    } else if null_stdin {
        theirs.push(File::open("/dev/null")?.into());
    }
    let (stdout, stdout_end) = pipe2(OFlag::O_CLOEXEC)?;
    let (stderr, stderr_end) = pipe2(OFlag::O_CLOEXEC)?;
    theirs.extend([stdout_end, stderr_end]);
    Ok((Ends { stdin: ours, stdout, stderr }, theirs))
}

impl Runtime {
    /// Runs a program inside a running container.
    pub async fn exec(&self, id: &str, spec: ExecSpec) -> Result<ExecSession, ContainerError> {
        validate::exec(&spec)?;
        let handle = self.running(id)?;
        let shim = |source| ContainerError::Shim { id: id.to_owned(), source };
        let ExecSpec { argv, env, inherit_env, cwd, user, tty, stdin, extra_fds, apparmor, timeout } = spec;
        let program = argv.first().cloned().unwrap_or_default();
        let (ends, mut fds) = match tty {
            Some(_) => (None, Vec::new()),
            None => {
                let (ends, fds) = pipes(stdin == StdinMode::Pipe, true).map_err(shim)?;
                (Some(ends), fds)
            }
        };
        fds.extend(extra_fds);
        let request = Request::Exec(ExecRequest { argv, env, inherit_env, cwd, user, tty, apparmor });
        let conversation = handle.converse(request, fds).await.map_err(shim)?;
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let started = tokio::time::timeout(EXEC_START_TIMEOUT, executed(&conversation));
        let terminal = match started.await {
            Ok(Ok(Ok(terminal))) => terminal,
            Ok(Ok(Err(problem))) => return Err(ContainerError::Exec { id: id.to_owned(), program, problem }),
            Ok(Err(source)) => return Err(shim(source)),
            Err(_elapsed) => {
                let problem = format!("not executed after {} s", EXEC_START_TIMEOUT.as_secs());
                return Err(ContainerError::Exec { id: id.to_owned(), program, problem });
            }
        };
        session(id, conversation, ends, terminal, deadline).map_err(shim)
    }

    /// Joins a running container's output, and its stdin when it has one.
    pub async fn attach(&self, id: &str, stdin: bool) -> Result<Attachment, ContainerError> {
        let handle = self.running(id)?;
        let shim = |source| ContainerError::Shim { id: id.to_owned(), source };
        let (ends, fds) = pipes(stdin, false).map_err(shim)?;
        let conversation = handle.converse(Request::Attach { stdin }, fds).await.map_err(shim)?;
        let reply = tokio::time::timeout(EXEC_START_TIMEOUT, wire::receive_async::<Reply>(&conversation)).await;
        let problem = match reply {
            Ok(Ok(Some((Reply::Attached, _)))) => {
                return Ok(Attachment {
                    stdin: ends.stdin.map(stream).transpose().map_err(shim)?.map(ExecStdin),
                    stdout: ExecOutput::new(stream(ends.stdout).map_err(shim)?),
                    stderr: Some(ExecOutput::new(stream(ends.stderr).map_err(shim)?)),
                    conversation: Conversation(conversation),
                });
            }
            Ok(Ok(Some((Reply::Failed { problem }, _)))) => problem,
            Ok(Ok(Some((reply, _)))) => format!("unexpected answer {reply:?}"),
            Ok(Ok(None)) => return Err(ContainerError::NotRunning { id: id.to_owned() }),
            Ok(Err(source)) => return Err(shim(source)),
            Err(_elapsed) => "no answer in time".to_owned(),
        };
        Err(ContainerError::Refused { id: id.to_owned(), problem })
    }
}

fn stream(fd: OwnedFd) -> io::Result<Stream> {
    Stream::new(Arc::new(fd))
}

/// Waits until the program is executed; gives its terminal, or what kept it from being executed.
async fn executed(conversation: &UnixStream) -> io::Result<Result<Option<OwnedFd>, String>> {
    let mut terminal = None;
    loop {
        match wire::receive_async::<Reply>(conversation).await? {
            Some((Reply::Terminal, mut fds)) => terminal = fds.pop(),
            Some((Reply::Started { .. }, _)) => return Ok(Ok(terminal)),
            Some((Reply::Failed { problem }, _)) => return Ok(Err(problem)),
            Some((reply, _)) => return Ok(Err(format!("unexpected answer {reply:?}"))),
            None => return Ok(Err("the container has ended".to_owned())),
        }
    }
}

fn session(
    id: &str,
    conversation: UnixStream,
    ends: Option<Ends>,
    terminal: Option<OwnedFd>,
    deadline: Option<Instant>,
) -> io::Result<ExecSession> {
    let terminal = terminal.map(Arc::new);
    let (publish, end) = watch::channel(None);
    let output = |stream| ExecOutput::of_program(stream, end.clone());
    let (stdin, stdout, stderr) = match (ends, &terminal) {
        (Some(ends), _) => {
            let stdin = ends.stdin.map(stream).transpose()?.map(ExecStdin);
            (stdin, output(stream(ends.stdout)?), Some(output(stream(ends.stderr)?)))
        }
        (None, Some(terminal)) => {
            // Own descriptors, for each is registered with the reactor by itself.
            let input = ExecStdin(stream(terminal.try_clone()?)?);
            (Some(input), output(stream(terminal.try_clone()?)?), None)
        }
        (None, None) => return Err(io::Error::other("the shim handed over no terminal")),
    };
    let (signals, queue) = mpsc::channel(SIGNALS_MAX);
    #[expect(clippy::disallowed_methods, reason = "ends with the program, or with its handles")]
    tokio::spawn(supervise(conversation, queue, deadline, publish));
    let control = ExecControl { id: id.into(), terminal, signals, end };
    Ok(ExecSession { stdin, stdout, stderr, control })
}

/// Until the program ends, its time is up, or nobody is left who could ask about it.
async fn supervise(
    conversation: UnixStream,
    mut signals: mpsc::Receiver<i32>,
    deadline: Option<Instant>,
    publish: watch::Sender<Option<ExecEnd>>,
) {
    let mut timed_out = false;
    let receive = wire::receive_async::<Reply>(&conversation);
    tokio::pin!(receive);
    let end = loop {
        let time_up = async {
            match deadline {
                Some(deadline) if !timed_out => tokio::time::sleep_until(deadline).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            reply = &mut receive => break match reply {
                Ok(Some((Reply::Exited(exit), _))) => ExecEnd::Exited { exit, timed_out },
                Ok(Some((reply, _))) => ExecEnd::Lost(format!("unexpected answer {reply:?}")),
                Ok(None) => ExecEnd::Lost("the shim ended before it told the exit code".to_owned()),
                Err(error) => ExecEnd::Lost(error.to_string()),
            },
            signal = signals.recv() => match signal {
                Some(signal) => send_signal(&conversation, signal).await,
                // The last handle was dropped: closing the conversation kills the program.
                None => return,
            },
            () = time_up => {
                timed_out = true;
                send_signal(&conversation, libc::SIGKILL).await;
            }
        }
    };
    publish.send_replace(Some(end));
}

async fn send_signal(conversation: &UnixStream, signal: i32) {
    // A short message into a socket that carries nothing else; an error means the program ended.
    if conversation.writable().await.is_ok() {
        use std::os::fd::AsFd;
        let _ = wire::send(conversation.as_fd(), &Request::Signal(signal), &[]);
    }
}
