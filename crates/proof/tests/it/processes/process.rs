//! A member's process, which does not outlive the test.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A process of the program `member`.
pub struct Process {
    child: Child,
    /// Where it serves clients.
    pub address: SocketAddr,
}

impl Process {
    /// Starts member `id` on its directory and waits until it serves.
    pub fn start(id: u64, dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_member"))
            .args([&id.to_string(), dir.to_str().expect("a path in UTF-8"), "127.0.0.1:0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a member starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("a member says where it serves");
        let address = line.trim().parse().unwrap_or_else(|_| panic!("member {id} did not start: {line:?}"));
        Process { child, address }
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
