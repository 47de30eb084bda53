//! The two servers under measurement.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::client::Client;

/// How long a server may take to serve.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which server.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Ours: the program of the example `serve`.
    Face(PathBuf),
    /// Debian's.
    Etcd,
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Kind::Face(_) => "nanocloud",
            Kind::Etcd => "etcd",
        }
    }
}

/// A server that runs, with a folder of its own.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    dir: PathBuf,
    port: u16,
    peer: u16,
    process: Child,
}

fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Server {
    /// Starts a fresh one below `dir`.
    pub async fn start(kind: Kind, dir: &Path) -> Result<Self, Failure> {
        let dir = dir.join(kind.name());
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)?;
        let (port, peer) = (free_port()?, free_port()?);
        let process = spawn(&kind, &dir, port, peer)?;
        let server = Server { kind, dir, port, peer, process };
        server.ready().await?;
        Ok(server)
    }

    async fn ready(&self) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            let answered = async { Client::connect(&self.url()).await?.get("none").await };
            match answered.await {
                Ok(_) => return Ok(()),
                Err(error) if began.elapsed() > PATIENCE => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    }

    /// Ends it, and starts it again on its data; the time from the start until it serves.
    pub async fn restart(&mut self) -> Result<Duration, Failure> {
        self.stop()?;
        let began = Instant::now();
        self.process = spawn(&self.kind, &self.dir, self.port, self.peer)?;
        self.ready().await?;
        Ok(began.elapsed())
    }

    fn stop(&mut self) -> Result<(), Failure> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Ends it and removes what it wrote.
    pub fn end(mut self) -> Result<(), Failure> {
        self.stop()?;
        Ok(std::fs::remove_dir_all(&self.dir)?)
    }

    /// Where it serves.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its resident memory in bytes.
    pub fn memory(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
        let file = status.lines().find_map(|line| line.strip_prefix("RssFile:")).ok_or("no RssFile")?;
        let bytes = |line: &str| line.trim().trim_end_matches(" kB").parse::<u64>().map(|kb| kb * 1024);
        Ok(bytes(line)? + bytes(file)?)
    }

    /// CPU time it used so far, user and system.
    pub fn cpu(&self) -> Result<Duration, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no name in stat")?.1.split_whitespace().collect();
        // proc(5): utime and stime are fields 14 and 15, in hundredths of a second; the name was field 2.
        let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(Duration::from_millis(ticks * 10))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended, or to be ended; either way it does not outlive this program.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(kind: &Kind, dir: &Path, port: u16, peer: u16) -> Result<Child, Failure> {
    let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
    let mut command = match kind {
        Kind::Face(program) => {
            let mut command = Command::new(program);
            command.arg(format!("127.0.0.1:{port}")).arg(dir.join("data"));
            command
        }
        Kind::Etcd => {
            let mut command = Command::new("etcd");
            command.args(["--name", "default", "--log-level", "error", "--quota-backend-bytes", "8589934592"]);
            command.arg("--data-dir").arg(dir.join("data"));
            command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.args(["--initial-cluster", &format!("default={peer}")]);
            command
        }
    };
    let log = std::fs::File::options().create(true).append(true).open(dir.join("log"))?;
    let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
    started.map_err(|error| format!("cannot start {}: {error}", kind.name()).into())
}
