//! The process beside each container: starts it, holds its output, records its end.
//!
//! It is a fresh single-threaded process because the container's first process begins as its copy, and
//! only a process with one thread can be copied and go on. It keeps no async runtime and little memory,
//! and lives exactly as long as its container: each dies with the other.
//!
//! ```text
//!  main ─► launch ─────────► serve ─────────────► finish
//!          cgroup, clone3    poll: child ended,   drain output, kill the rest,
//!            └► init         output, requests     exit file, tell watchers
//!               root, confine, execve
//! ```

mod confine;
pub(crate) mod dir;
mod entry;
mod exec;
mod init;
mod launch;
mod look;
mod mounts;
mod namespaces;
mod output;
mod overlay;
mod pages;
mod rootfs;
mod serve;
mod streams;

pub use confine::confine;

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use crate::wire::{self, Reply, StartRequest};
use dir::ShimDir;

/// As [`main`], for tests: `look` is called in every process on its way into the container just before it enters the
/// working directory, with the program's streams in their places.
pub fn main_watched(args: impl IntoIterator<Item = OsString>, look: fn()) -> ! {
    look::set(look);
    main(args)
}

/// Runs as the shim of one container and never returns. Call it before any thread exists; `args`
/// are those after [`RuntimeConfig::shim_args`](crate::container::RuntimeConfig): the container's
/// directory.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ! {
    let mut args = args.into_iter();
    let code = match (args.next(), args.next()) {
        (Some(path), None) => match run(path) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("{error}");
                1
            }
        },
        _ => {
            eprintln!("this is started by the container runtime, with the directory of a container");
            64
        }
    };
    std::process::exit(code)
}

fn run(path: OsString) -> io::Result<()> {
    let dir = ShimDir::at(path.into()).ok_or_else(|| io::Error::other("the directory must be an absolute path"))?;
    let _lock = dir.lock()?;
    // Not of the daemon's session, so that no terminal signal meant for it comes here.
    nix::unistd::setsid()?;
    nix::sys::prctl::set_child_subreaper(true)?;
    nix::sys::prctl::set_name(c"nanocloud-shim")?;
    // Nor is it, or a child on its way into the container, to be looked into from there.
    nix::sys::prctl::set_dumpable(false)?;
    // A core of a program holds its secrets, and the host's core_pattern takes it out of the container.
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0)?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));

    let daemon = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Programs in the container must not hold the conversation with the daemon.
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    let Some((request, _)) = wire::receive::<StartRequest>(daemon.as_fd())? else {
        return Err(io::Error::other("the daemon hung up before it said what to start"));
    };
    if request.version != wire::VERSION {
        let problem =
            format!("the daemon speaks version {} of the shim protocol, this is {}", request.version, wire::VERSION);
        return wire::send(daemon.as_fd(), &Reply::Failed { problem }, &[]);
    }
    match launch::launch(&dir, request) {
        Ok(launched) => serve::Server::new(dir, launched, daemon)?.run(),
        Err(error) => wire::send(daemon.as_fd(), &Reply::Failed { problem: error.to_string() }, &[]),
    }
}
