//! Servers on loopback addresses, without pods, that are one cluster.

mod etcdctl;
mod grow;
mod load;
mod replace;
mod restore;

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::node::{succeed, tail};

/// Longest wait for anything; reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);

/// Where a server is: its name, state and addresses.
#[derive(Clone, Debug)]
struct Place {
    name: &'static str,
    folder: PathBuf,
    listen: String,
    peer: String,
    etcd: String,
}

/// One server of a cluster.
struct Member {
    place: Place,
    folder: tempfile::TempDir,
    server: Option<Child>,
}

/// A port that is free on these loopback addresses. It is none that the kernel gives to connections, since a server that
/// starts again needs it again, and tests at the same time begin to look at different ones.
fn free_port(hosts: &[&str]) -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(97);
    let is_free = |port: &u16| hosts.iter().all(|host| TcpListener::bind((*host, *port)).is_ok());
    let ports = std::iter::repeat_with(|| first.wrapping_add(TAKEN.fetch_add(1, Ordering::SeqCst)));
    let mut ports = ports.take(1_000).map(|number| u16::try_from(10_000 + number % 20_000).unwrap());
    ports.find(is_free).expect("one of a thousand ports is free")
}

impl Place {
    fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nanocloud"));
        command
            .arg("--state-root")
            .arg(self.state())
            .args(words)
            .env_remove("KUBECONFIG")
            .env("NANOCLOUD_RUN_ROOT", self.folder.join("run"))
            .env("NANOCLOUD_LISTEN", &self.listen)
            .env("NANOCLOUD_PEER_LISTEN", &self.peer)
            .env("NANOCLOUD_ETCD_LISTEN", &self.etcd)
            .env("NANOCLOUD_NODE", self.name)
            .env("NANOCLOUD_AGENT", "false")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn ok(&self, words: &[&str]) -> String {
        succeed(self.run(words))
    }

    /// What a verb prints as JSON; nothing when it fails.
    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_slice(&self.run(words).stdout).unwrap_or_default()
    }

    /// Writes a ConfigMap.
    fn write(&self, key: &str, value: &str) -> Output {
        let file = self.folder.join(format!("{key}.yaml"));
        let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {key}}}\ndata: {{value: {value}}}\n");
        fs::write(&file, text).unwrap();
        self.run(&["apply", "-f", file.to_str().unwrap()])
    }

    fn read(&self, key: &str) -> Option<String> {
        self.json(&["get", "configmap", key, "-o", "json"])["data"]["value"].as_str().map(str::to_owned)
    }

    /// Names of all ConfigMaps.
    fn keys(&self) -> Vec<String> {
        let listed = self.ok(&["get", "configmaps", "-o", "json"]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
        listed["items"].as_array().unwrap().iter().map(name).collect()
    }

    /// etcd's client, as the administrator, at this member.
    fn etcdctl(&self, words: &[&str]) -> Output {
        let assets = self.state().join("secure_assets");
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").arg("--endpoints").arg(format!("https://{}", self.etcd));
        for (flag, file) in [("--cacert", "ca.crt"), ("--cert", "admin.pem"), ("--key", "admin.pem")] {
            command.arg(flag).arg(assets.join(file));
        }
        command.args(words).output().expect("etcdctl is installed (etcd-client)")
    }

    /// The members, as this one sees them.
    fn members(&self) -> Vec<Value> {
        self.json(&["member", "list", "-o", "json"])["items"].as_array().cloned().unwrap_or_default()
    }

    /// Names of the members of which that is true, in order.
    fn named(&self, is: impl Fn(&Value) -> bool) -> Vec<String> {
        let members = self.members();
        let members = members.iter().filter(|member| is(member));
        let mut names: Vec<String> = members.map(|member| member["name"].as_str().unwrap_or_default().into()).collect();
        names.sort();
        names
    }

    fn voters(&self) -> Vec<String> {
        self.named(|member| member["role"] == "Voter")
    }

    fn leader(&self) -> Option<String> {
        self.named(|member| member["leads"] == true).pop()
    }
}

impl std::ops::Deref for Member {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl Member {
    /// A server that serves etcd's clients at this port.
    fn new(name: &'static str, host: &str, etcd: u16) -> Self {
        let [listen, peer] = [(), ()].map(|()| format!("{host}:{}", free_port(&[host])));
        Self::at(Place { name, folder: PathBuf::new(), listen, peer, etcd: format!("{host}:{etcd}") })
    }

    /// A server at these addresses, with a folder of its own.
    fn at(place: Place) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { place: Place { folder: folder.path().to_owned(), ..place }, folder, server: None }
    }

    /// The first member of a cluster, which serves.
    fn first(name: &'static str, host: &str) -> Self {
        // Members expect each other's faces at one port.
        let mut member = Self::new(name, host, free_port(&["127.0.0.1", "127.0.0.2", "127.0.0.3"]));
        member.ok(&["setup"]);
        member.start(None);
        member.serves();
        member
    }

    /// A server that joins through another one, and serves.
    fn join(through: &Place, name: &'static str, host: &str) -> Self {
        let etcd = through.etcd.rsplit(':').next().unwrap().parse().unwrap();
        let mut member = Self::new(name, host, etcd);
        member.start(Some(&through.ok(&["member", "add"])));
        member.serves();
        member
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    fn start(&mut self, join: Option<&str>) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = self.command(&["server"]);
        if let Some(word) = join {
            let file = self.folder.path().join("join");
            fs::write(&file, word).unwrap();
            command.arg("--join-file").arg(file);
        }
        self.server = Some(command.stderr(log).stdout(Stdio::null()).spawn().unwrap());
    }

    /// `kill -9`.
    fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// Waits until the server ends by itself, and answers what it logged.
    fn ended(&mut self) -> String {
        let mut server = self.server.take().unwrap();
        let start = Instant::now();
        while server.try_wait().unwrap().is_none() {
            if start.elapsed() > PATIENCE {
                server.kill().unwrap();
                server.wait().unwrap();
                panic!("{} goes on\n{}", self.name, self.log());
            }
            std::thread::park_timeout(PAUSE);
        }
        self.log()
    }

    fn log(&self) -> String {
        tail(&fs::read_to_string(self.log_file()).unwrap_or_default())
    }

    fn until(&self, what: &str, condition: impl Fn(&Place) -> bool) {
        let start = Instant::now();
        while !condition(&self.place) {
            assert!(start.elapsed() < PATIENCE, "{} waited in vain until {what}\n{}", self.name, self.log());
            std::thread::park_timeout(PAUSE);
        }
    }

    fn serves(&self) {
        self.until("it serves", |member| member.run(&["get", "namespaces"]).status.success());
    }

    fn voters_are(&self, names: &[&str]) {
        self.until(&format!("{names:?} vote"), |member| member.voters() == names);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// Three servers `a`, `b` and `c` that vote; `a` leads.
fn three() -> [Member; 3] {
    let a = Member::first("a", "127.0.0.1");
    let b = Member::join(&a, "b", "127.0.0.2");
    let c = Member::join(&a, "c", "127.0.0.3");
    a.voters_are(&["a", "b", "c"]);
    [a, b, c]
}
