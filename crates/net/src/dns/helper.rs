//! The server's side of the helper: finds it, starts it, keeps it, tells it the names.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    net::SocketAddrV4,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{MetadataExt as _, PermissionsExt as _},
            process::CommandExt as _,
        },
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use ipnet::Ipv4Net;
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    file,
    process::{LOCK, RECORD, Record, ZONE, holder},
    server::listen,
    zone::Zone,
};
use crate::{Error, NetworkConfig, Result};

/// The directory in the run root.
const DIR: &str = "dns";
/// What the helper wrote to its standard error.
const LOG: &str = "helper.log";
/// Most bytes of its last words.
const LAST_WORDS_MAX: usize = 512;
/// DNS port.
const PORT: u16 = 53;
/// Longest time from exec to the record.
const START_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time from SIGKILL to the end.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two looks at files that give no event.
const LOOK_PAUSE: Duration = Duration::from_millis(5);
/// Pause before a helper that ended, or could not be started, is started again.
const AGAIN_PAUSE: Duration = Duration::from_secs(1);
/// The running program, also when its file was replaced (proc_pid_exe(5)).
const SELF: &str = "/proc/self/exe";

/// Keeps the helper of one network.
#[derive(Debug, Clone)]
pub struct Helper {
    dir: PathBuf,
    listen: SocketAddrV4,
    resolv_conf: PathBuf,
    pods: Ipv4Net,
    args: Vec<OsString>,
}

/// A helper that lives.
struct Running {
    record: Record,
    process: AsyncFd<OwnedFd>,
}

impl Helper {
    /// The helper that answers on the bridge's address, port 53. It is this very program, started with `args`, which
    /// must lead to [`super::main`]. `resolv_conf` names the resolvers for foreign names.
    #[must_use]
    pub fn new(network: &NetworkConfig, args: Vec<OsString>, resolv_conf: PathBuf) -> Self {
        let listen = SocketAddrV4::new(network.gateway(), PORT);
        Self { dir: dir(network), listen, resolv_conf, pods: network.pod_cidr, args }
    }

    /// Keeps one helper alive until `stop`; it goes on afterwards. One of another program, address or resolver
    /// configuration is replaced; one that ends is followed by another.
    pub async fn keep(&self, stop: CancellationToken) {
        loop {
            let turn = async {
                match self.ensure().await {
                    Ok(running) => {
                        running.ended().await;
                        tracing::warn!(pid = running.record.pid, said = self.last_words(), "the DNS helper ended");
                    }
                    Err(error) => {
                        let source = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::error!(%error, source, "pods have no names yet");
                    }
                }
                sleep(AGAIN_PAUSE).await;
            };
            if stop.run_until_cancelled(turn).await.is_none() {
                return;
            }
        }
    }

    /// The helper that runs, or a new one.
    async fn ensure(&self) -> Result<Running> {
        let fail = |action| move |source| Error::DnsHelper { action, source };
        prepare(&self.dir)?;
        let found = find(&self.dir).await.map_err(fail("look for"))?;
        if let Some(running) = found {
            if self.suits(&running.record) {
                tracing::info!(pid = running.record.pid, "DNS helper adopted");
                return Ok(running);
            }
            // The new sockets are there before the old ones go.
            let sockets = self.listen()?;
            running.kill().await.map_err(fail("replace"))?;
            return self.start(sockets).await;
        }
        self.start(self.listen()?).await
    }

    fn listen(&self) -> Result<super::server::Sockets> {
        listen(self.listen).map_err(|source| Error::DnsListen { address: self.listen.into(), source })
    }

    /// Whether a helper is the one that would be started now.
    fn suits(&self, record: &Record) -> bool {
        let program = |path: &str| fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
        let same = match (program(SELF), program(&format!("/proc/{}/exe", record.pid))) {
            (Ok(ours), Ok(theirs)) => ours == theirs,
            _ => false,
        };
        same && record.listen == self.listen && record.resolv_conf == self.resolv_conf && record.pods == Some(self.pods)
    }

    async fn start(&self, sockets: super::server::Sockets) -> Result<Running> {
        let fail = |source| Error::DnsHelper { action: "start", source };
        let log = File::create(self.dir.join(LOG)).map_err(fail)?;
        #[expect(clippy::disallowed_methods, reason = "the helper is this program, and outlives the server")]
        let mut command = Command::new(SELF);
        command
            .arg0("nanocloud")
            .args(&self.args)
            .args([self.dir.as_os_str(), self.resolv_conf.as_os_str()])
            .arg(self.pods.to_string())
            .env_clear()
            .current_dir("/")
            .stdin(OwnedFd::from(sockets.udp))
            .stdout(OwnedFd::from(sockets.tcp))
            .stderr(Stdio::from(log));
        // Reaped by the runtime when it has ended.
        let mut child = tokio::process::Command::from(command).spawn().map_err(fail)?;
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(running) = find(&self.dir).await.map_err(fail)?
                && child.id().and_then(|pid| i32::try_from(pid).ok()) == Some(running.record.pid)
            {
                tracing::info!(pid = running.record.pid, listen = %self.listen, "DNS helper started");
                return Ok(running);
            }
            if let Some(status) = child.try_wait().map_err(fail)? {
                return Err(fail(io::Error::other(format!("it ended with {status}: {}", self.last_words()))));
            }
            if Instant::now() > deadline {
                // Without its record it cannot be found again, so it must not stay.
                let _ = child.kill().await;
                return Err(fail(io::ErrorKind::TimedOut.into()));
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    fn last_words(&self) -> String {
        let said = fs::read(self.dir.join(LOG)).unwrap_or_default();
        let tail = said.get(said.len().saturating_sub(LAST_WORDS_MAX)..).unwrap_or_default();
        String::from_utf8_lossy(tail).split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Running {
    /// The process of the record, if the lock is still held: then the handle is of the one that holds it.
    fn open(dir: &Path, record: Record) -> io::Result<Option<Self>> {
        let Some(pid) = Pid::from_raw(record.pid) else { return Ok(None) };
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if holder(dir)? != Some(record.pid) {
            return Ok(None);
        }
        // SAFETY: the handle stays the same open descriptor as long as the `AsyncFd` owns it.
        #[expect(unsafe_code, reason = "tokio leaves it to the caller that a descriptor is not exchanged")]
        let process = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) }?;
        Ok(Some(Self { record, process }))
    }

    /// Waits until the process has ended: its handle is readable then (pidfd_open(2)).
    async fn ended(&self) {
        // An error would mean that the runtime is going down.
        let _ = self.process.readable().await;
    }

    async fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.process, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
        timeout(END_TIMEOUT, self.ended()).await.map_err(|_| io::ErrorKind::TimedOut.into())
    }
}

/// Tells the helper of `network` the names; whether anything changed for it.
pub(crate) fn publish(network: &NetworkConfig, zone: &Zone) -> Result<bool> {
    let dir = dir(network);
    prepare(&dir)?;
    file::publish(&dir.join(ZONE), zone)
}

/// Ends the helper of `network` and removes its directory. Does nothing when there is none.
pub(crate) async fn end(network: &NetworkConfig) -> Result<()> {
    let dir = dir(network);
    let fail = |source| Error::DnsHelper { action: "end", source };
    if let Some(running) = find(&dir).await.map_err(fail)? {
        running.kill().await.map_err(fail)?;
    }
    match fs::remove_dir_all(&dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::File { action: "remove", path: dir, source })
        }
        _ => Ok(()),
    }
}

fn dir(network: &NetworkConfig) -> PathBuf {
    network.run_dir.join(DIR)
}

/// Makes the directory, open for the helper, which is not root.
fn prepare(dir: &Path) -> Result<()> {
    let made = fs::create_dir_all(dir).and_then(|()| fs::set_permissions(dir, fs::Permissions::from_mode(0o755)));
    made.map_err(|source| Error::File { action: "create", path: dir.to_owned(), source })
}

/// The helper that holds the lock; one that has just taken it is given time to say who it is.
async fn find(dir: &Path) -> io::Result<Option<Running>> {
    let deadline = Instant::now() + START_TIMEOUT;
    while let Some(pid) = holder(dir)? {
        let record = fs::read(dir.join(RECORD)).ok().and_then(|text| serde_json::from_slice::<Record>(&text).ok());
        if let Some(record) = record.filter(|record| record.pid == pid)
            && let Some(running) = Running::open(dir, record)?
        {
            return Ok(Some(running));
        }
        if Instant::now() > deadline {
            let text = format!("process {pid} holds {} and is no helper", dir.join(LOCK).display());
            return Err(io::Error::other(text));
        }
        sleep(LOOK_PAUSE).await;
    }
    Ok(None)
}
