//! The two servers under measurement.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts what it measures")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use trust::{Authority, ExposeSecret};

use crate::Failure;
use crate::client::Client;

/// How long a server may take to serve.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which server.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Ours: the program of the example `serve`.
    EtcdServer(PathBuf),
    /// Debian's.
    Etcd,
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Kind::EtcdServer(_) => "nanocloud",
            Kind::Etcd => "etcd",
        }
    }
}

/// A server that runs, with a folder of its own: one process, or several that replicate to each other over TLS.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    dir: PathBuf,
    members: Vec<Member>,
    processes: Vec<Child>,
}

/// Where one process is reached.
#[derive(Debug)]
struct Member {
    port: u16,
    peer: u16,
}

fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Server {
    /// Starts a fresh one of that many members below `dir`.
    pub async fn start(kind: Kind, dir: &Path, members: usize) -> Result<Self, Failure> {
        let dir = dir.join(kind.name());
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)?;
        let (authority, key) = Authority::generate("bench", Timestamp::now())?;
        std::fs::write(dir.join("ca.pem"), authority.certificate_pem())?;
        std::fs::write(dir.join("ca.key"), key.expose_secret())?;
        let members = (0..members).map(|_| Ok(Member { port: free_port()?, peer: free_port()? }));
        let members = members.collect::<Result<_, Failure>>()?;
        let mut server = Server { kind, dir, members, processes: Vec::new() };
        server.spawn()?;
        server.ready().await?;
        Ok(server)
    }

    fn spawn(&mut self) -> Result<(), Failure> {
        for number in 0..self.members.len() {
            let log = std::fs::File::options().create(true).append(true).open(self.dir.join("log"))?;
            let mut command = self.command(number);
            let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
            self.processes.push(started.map_err(|error| format!("cannot start {}: {error}", self.kind.name()))?);
        }
        Ok(())
    }

    fn command(&self, number: usize) -> Command {
        let Member { port, peer } = &self.members[number];
        let data = self.dir.join(format!("data{number}"));
        match &self.kind {
            Kind::EtcdServer(program) => {
                let mut command = Command::new(program);
                // As the binary sets it for itself: memory freed by one thread serves the others (mallopt(3)).
                command.env("MALLOC_ARENA_MAX", "2");
                command.arg(format!("127.0.0.1:{port}")).arg(data);
                if self.members.len() > 1 {
                    let peers = self.members.iter().map(|member| format!("127.0.0.1:{}", member.peer));
                    command.arg((number + 1).to_string()).arg(peers.collect::<Vec<_>>().join(",")).arg(&self.dir);
                }
                command
            }
            Kind::Etcd => {
                let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("https://127.0.0.1:{peer}"));
                let cluster = self.members.iter().enumerate();
                let cluster = cluster.map(|(n, member)| format!("m{n}=https://127.0.0.1:{}", member.peer));
                let mut command = Command::new("etcd");
                command.args(["--log-level", "error", "--quota-backend-bytes", "8589934592", "--peer-auto-tls"]);
                command.arg("--name").arg(format!("m{number}")).arg("--data-dir").arg(data);
                command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
                command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
                command.arg("--initial-cluster").arg(cluster.collect::<Vec<_>>().join(","));
                command
            }
        }
    }

    /// Waits until every member serves.
    async fn ready(&self) -> Result<(), Failure> {
        let began = Instant::now();
        for url in self.urls() {
            loop {
                let answered = async { Client::connect(&url).await?.get("none").await };
                match answered.await {
                    Ok(_) => break,
                    Err(error) if began.elapsed() > PATIENCE => return Err(error),
                    Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
        }
        Ok(())
    }

    /// Ends it, and starts it again on its data; the time from the start until it serves.
    pub async fn restart(&mut self) -> Result<Duration, Failure> {
        self.stop()?;
        let began = Instant::now();
        self.spawn()?;
        self.ready().await?;
        Ok(began.elapsed())
    }

    fn stop(&mut self) -> Result<(), Failure> {
        for mut process in self.processes.drain(..) {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Ends it and removes what it wrote.
    pub fn end(mut self) -> Result<(), Failure> {
        self.stop()?;
        Ok(std::fs::remove_dir_all(&self.dir)?)
    }

    /// Where its members serve.
    pub fn urls(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("http://127.0.0.1:{}", member.port)).collect()
    }

    /// Resident memory of its processes in bytes.
    pub fn memory(&self) -> Result<u64, Failure> {
        self.processes.iter().map(memory).sum()
    }

    /// CPU time that its processes used so far, user and system.
    pub fn cpu(&self) -> Result<Duration, Failure> {
        self.processes.iter().map(cpu).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended, or to be ended; either way nothing outlives this program.
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn memory(process: &Child) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    let file = status.lines().find_map(|line| line.strip_prefix("RssFile:")).ok_or("no RssFile")?;
    let bytes = |line: &str| line.trim().trim_end_matches(" kB").parse::<u64>().map(|kb| kb * 1024);
    Ok(bytes(line)? + bytes(file)?)
}

fn cpu(process: &Child) -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id()))?;
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no name in stat")?.1.split_whitespace().collect();
    // proc(5): utime and stime are fields 14 and 15, in hundredths of a second; the name was field 2.
    let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}
