//! A member's process, which does not outlive the test.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where and as whom a process runs.
#[derive(Clone, Debug)]
pub struct Place {
    /// The member.
    pub id: u64,
    /// Network namespace; none for the test's own.
    pub namespace: Option<String>,
    /// Where it serves clients.
    pub clients: String,
    /// Where it is reached by other members.
    pub peers: String,
    /// The cluster it is to be taken into.
    pub cluster: Option<u64>,
}

impl Place {
    /// Alone, on loopback.
    pub fn alone() -> Self {
        let any = || "127.0.0.1:0".to_owned();
        Place { id: 1, namespace: None, clients: any(), peers: any(), cluster: None }
    }
}

/// A process of the program `member`.
pub struct Process {
    child: Child,
    /// Where it serves clients.
    pub address: SocketAddr,
}

impl Process {
    /// Starts a member on its directory and waits until it serves.
    pub fn start(place: &Place, dir: &Path) -> Self {
        let member = env!("CARGO_BIN_EXE_member");
        let mut command = match &place.namespace {
            None => Command::new(member),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace, member]);
                command
            }
        };
        command.arg(place.id.to_string()).arg(dir).arg(&place.clients).arg(&place.peers);
        command.args(place.cluster.map(|cluster| cluster.to_string()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a member starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("a member says where it serves");
        let address = line.trim().parse().unwrap_or_else(|_| panic!("{place:?} did not start: {line:?}"));
        Process { child, address }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("the process is there");
    }

    /// Stops it, as a machine that hangs.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("is killed");
        self.child.wait().expect("ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
