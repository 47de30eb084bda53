//! The helper process: takes its sockets, gives up its privileges, answers.

use std::{
    env,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    net::{SocketAddr, SocketAddrV4},
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::Ipv4Net;
use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
    sys::stat::Mode,
};
use serde::{Deserialize, Serialize};

use super::{
    file::ZoneFile,
    server::{Server, Sockets},
};

/// Locked by the helper as long as it lives, with a record lock: the kernel then names its holder (F_GETLK in fcntl(2)),
/// and asking does not get in the way of locking.
pub(super) const LOCK: &str = "lock";
/// Who the helper is.
pub(super) const RECORD: &str = "helper.json";
/// What it answers.
pub(super) const ZONE: &str = "zone.json";
/// How often the helper looks whether its directory is still there.
const LOOK: Duration = Duration::from_secs(5);

/// Who holds the lock, written by the helper itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) pid: i32,
    pub(super) listen: SocketAddrV4,
    pub(super) resolv_conf: PathBuf,
    /// Who is answered; a helper that does not say so answers everybody.
    #[serde(default)]
    pub(super) pods: Option<Ipv4Net>,
}

/// Runs as the DNS server of pods and never returns. Call it before any thread exists. `args` are the helper's
/// directory, the host's resolver configuration and the range of pods; standard input and output are the sockets (UDP, TCP). `confine`
/// gives up all privileges: it is called when none are needed any more.
pub fn main(args: impl IntoIterator<Item = OsString>, confine: impl FnOnce() -> io::Result<()>) -> ! {
    let mut args = args.into_iter();
    let (dir, resolv_conf) = (args.next(), args.next());
    let pods = args.next().and_then(|text| text.to_str()?.parse::<Ipv4Net>().ok());
    let code = match (dir, resolv_conf, pods, args.next()) {
        (Some(dir), Some(resolv_conf), Some(pods), None) => {
            let Err(error) = run(Path::new(&dir), resolv_conf.into(), pods, confine);
            eprintln!("{error}");
            1
        }
        _ => {
            eprintln!("this is started by the server, with its sockets");
            64
        }
    };
    std::process::exit(code)
}

fn run(
    dir: &Path,
    resolv_conf: PathBuf,
    pods: Ipv4Net,
    confine: impl FnOnce() -> io::Result<()>,
) -> io::Result<std::convert::Infallible> {
    // Paths from here on are relative: the way to the directory may be closed to the user this becomes.
    env::set_current_dir(dir)?;
    // Never closed: it would let go of the lock.
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(LOCK)?;
    fcntl(&lock, FcntlArg::F_SETLK(&whole_file(libc::F_WRLCK)))?;
    // Not of the server's session, so that no terminal signal meant for it comes here.
    nix::unistd::setsid()?;
    nix::sys::prctl::set_name(c"nanocloud-dns")?;
    nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
    let sockets = take_sockets()?;
    let SocketAddr::V4(listen) = sockets.udp.local_addr()? else { return Err(io::ErrorKind::Unsupported.into()) };
    let pid = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    let record = Record { pid, listen, resolv_conf: resolv_conf.clone(), pods: Some(pods) };
    fs::write("helper.tmp", serde_json::to_vec(&record)?)?;
    fs::rename("helper.tmp", RECORD)?;
    confine()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::new(sockets, ZoneFile::new(ZONE.into()), resolv_conf, pods)?;
        tokio::select! {
            error = server.run() => Err(error),
            () = removed() => Err(io::Error::other("the directory was removed: nobody needs these answers")),
        }
    })
}

/// The sockets, and nothing in their place.
fn take_sockets() -> io::Result<Sockets> {
    let udp: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    let tcp: OwnedFd = io::stdout().as_fd().try_clone_to_owned()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    Ok(Sockets { udp: udp.into(), tcp: tcp.into() })
}

/// A record lock on all of a file.
fn whole_file(kind: libc::c_int) -> libc::flock {
    let kind = libc::c_short::try_from(kind).unwrap_or_default();
    libc::flock { l_type: kind, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 }
}

/// The process that holds the lock of the helper's directory.
pub(super) fn holder(dir: &Path) -> io::Result<Option<i32>> {
    let file = match File::open(dir.join(LOCK)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut lock = whole_file(libc::F_WRLCK);
    fcntl(&file, FcntlArg::F_GETLK(&mut lock))?;
    Ok((libc::c_int::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid))
}

/// Waits until the directory is gone, as after a run root was removed by hand: a helper nobody can find must not
/// answer beside the next one.
async fn removed() {
    while Path::new(LOCK).exists() {
        tokio::time::sleep(LOOK).await;
    }
}
