//! `nanocloud exec`: a command in a container, with or without a terminal.

use std::{
    convert::Infallible,
    io::{IsTerminal, Read, Write},
    os::fd::AsFd,
};

use api::kinds::Pod;
use bytes::Bytes;
use client::{Api, ExecParams, ExecSession, Exit as Ended, TerminalSize};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::logs::pod_of;
use crate::{
    args::Exec,
    context::Context,
    error::{Error, Result},
    exit::Exit,
    note,
};

/// Bytes read from standard input at once.
const CHUNK: usize = 16 * 1024;

/// Runs a command and exits with its code.
pub async fn run(context: &Context<'_>, args: &Exec) -> Result<Exit> {
    let api: Api<Pod> = context.api(&args.namespace);
    let tty = args.tty && std::io::stdin().is_terminal();
    let params =
        ExecParams { container: args.container.clone(), command: args.command.clone(), stdin: args.stdin, tty };
    let pod = pod_of(context, &args.namespace, &args.name).await?;
    if args.tty && !tty {
        note!("note: standard input is not a terminal, so the command does not get one");
    }
    let session = api.exec(&pod, &params).await?;
    let raw = tty.then(RawTerminal::enter).transpose()?;
    let ended = attend(session, args.stdin, tty).await;
    drop(raw);
    match ended? {
        Ended::Code(0) => Ok(Exit::Done),
        Ended::Code(code) => Ok(Exit::Command(u8::try_from(code).unwrap_or(u8::MAX))),
        Ended::Failed(status) => Err(client::Error::Api(status).into()),
    }
}

/// Copies input and output until the command has ended and its output is written.
async fn attend(session: ExecSession, stdin: bool, tty: bool) -> Result<Ended> {
    let ExecSession { stdin: input, stdout, stderr, resize, exit } = session;
    if stdin {
        forward_input(input);
    } else {
        drop(input);
    }
    let resizing = async {
        if tty {
            forward_size(resize).await;
        }
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        // The streams close when the session ends; what is buffered is printed first. A closed pipe ends the session.
        copied = async { tokio::try_join!(copy(stdout, std::io::stdout()), copy(stderr, std::io::stderr())) } => copied?,
        never = resizing => match never {},
    };
    exit.await.map_err(|_| Error::Outcome {
        what: "the session was interrupted".into(),
        remedy: "run the command again".into(),
        exit: Exit::Fatal,
    })
}

/// Reading a terminal cannot be cancelled, so a separate thread does it, which ends with the process.
fn forward_input(input: mpsc::Sender<Bytes>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; CHUNK];
        while let Ok(count @ 1..) = std::io::stdin().read(&mut buffer) {
            if input.blocking_send(Bytes::copy_from_slice(&buffer[..count])).is_err() {
                return;
            }
        }
    });
}

async fn copy(mut from: mpsc::Receiver<Bytes>, mut to: impl Write) -> Result<()> {
    while let Some(bytes) = from.recv().await {
        to.write_all(&bytes).and_then(|()| to.flush()).map_err(Error::Output)?;
    }
    Ok(())
}

async fn forward_size(resize: mpsc::Sender<TerminalSize>) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
    loop {
        if let Some((width, height)) = terminal_size()
            && resize.send(TerminalSize { width, height }).await.is_err()
        {
            return;
        }
        changes.recv().await;
    }
}

/// Columns and rows of the terminal.
fn terminal_size() -> Option<(u16, u16)> {
    let size = terminal_size::terminal_size_of(std::io::stdout())?;
    Some((size.0.0, size.1.0))
}

/// A terminal in raw mode; dropping it restores the old settings, also on a panic.
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> Result<Self> {
        let fail = |error: nix::Error| Error::io("set the terminal", error.into());
        let stdin = std::io::stdin();
        let old = tcgetattr(stdin.as_fd()).map_err(fail)?;
        let mut raw = old.clone();
        cfmakeraw(&mut raw);
        tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw).map_err(fail)?;
        Ok(Self(old))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // The process is about to end; there is nothing left to do about a failure.
        let _ = tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, &self.0);
    }
}
