//! A node of its own for each test: own roots, bridge, addresses, port and control group.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// Longest wait for anything; reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);

pub struct Node {
    folder: tempfile::TempDir,
    name: String,
    /// Name of its Node object.
    node: &'static str,
    net: u8,
    listen: String,
    /// Where other members reach it, when it has any.
    peer: Option<String>,
    program: PathBuf,
    server: Option<Child>,
}

impl Node {
    /// A node with these images in its catalog; `net` tells the addresses of tests apart.
    pub fn new(net: u8, images: &[&str]) -> Self {
        let node = Self::prepared("test", net, None, images);
        node.ok(&["setup"]);
        node
    }

    /// The first node of a cluster.
    pub fn first(name: &'static str, net: u8, images: &[&str]) -> Self {
        let node = Self::prepared(name, net, Some(free_address()), images);
        node.ok(&["setup"]);
        node
    }

    /// A node that joins the cluster of another one and serves.
    pub fn join(other: &Self, name: &'static str, net: u8, images: &[&str]) -> Self {
        let mut node = Self::prepared(name, net, Some(free_address()), images);
        let word = node.folder.path().join("join");
        fs::write(&word, other.ok(&["member", "add"])).unwrap();
        node.start_with(&["--join-file", word.to_str().unwrap()]);
        node
    }

    fn prepared(name: &'static str, net: u8, peer: Option<String>, images: &[&str]) -> Self {
        let node = Self {
            folder: tempfile::tempdir().unwrap(),
            name: format!("nct{net}-{}", std::process::id() % 100_000),
            node: name,
            net,
            listen: free_address(),
            peer,
            program: env!("CARGO_BIN_EXE_nanocloud").into(),
            server: None,
        };
        let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dockyard");
        if !images.is_empty() {
            let mut build = node.command(&["image", "build", "--cache"]);
            build.arg(cache()).args(images.iter().map(|image| recipes.join(image)));
            succeed(build.output().unwrap());
        }
        node
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn run_root(&self) -> PathBuf {
        PathBuf::from(format!("/run/{}", self.name))
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--state-root")
            .arg(self.state())
            .args(words)
            .env_remove("KUBECONFIG")
            .env("NANOCLOUD_RUN_ROOT", self.run_root())
            .env("NANOCLOUD_LISTEN", &self.listen)
            .env("NANOCLOUD_NODE", self.node)
            .env("NANOCLOUD_BRIDGE", &self.name)
            .env("NANOCLOUD_POD_CIDR", format!("10.{}.0.0/17", self.net))
            .env("NANOCLOUD_SERVICE_CIDR", format!("10.{}.128.0/17", self.net))
            .env("NANOCLOUD_CGROUP", &self.name)
            .stdin(Stdio::null());
        if let Some(peer) = &self.peer {
            command.env("NANOCLOUD_PEER_LISTEN", peer);
        }
        command
    }

    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs a verb that must succeed and returns what it printed.
    pub fn ok(&self, words: &[&str]) -> String {
        succeed(self.run(words))
    }

    /// What kubectl prints, as the administrator at this node. It must succeed.
    pub fn kubectl(&self, words: &[&str]) -> String {
        succeed(self.run_kubectl(words))
    }

    /// What kubectl complains of.
    pub fn kubectl_refused(&self, words: &[&str]) -> String {
        let output = self.run_kubectl(words);
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn run_kubectl(&self, words: &[&str]) -> Output {
        let assets = self.state().join("secure_assets");
        let mut command = Command::new("kubectl");
        command.arg("--server").arg(format!("https://{}", self.listen)).env_remove("KUBECONFIG");
        command.arg("--cache-dir").arg(self.folder.path().join("kubectl")).env("HOME", self.folder.path());
        for (flag, file) in [
            ("--certificate-authority", "ca.crt"),
            ("--client-certificate", "admin.pem"),
            ("--client-key", "admin.pem"),
        ] {
            command.arg(flag).arg(assets.join(file));
        }
        command.args(words).output().expect("kubectl is installed (scripts/install-kubectl)")
    }

    pub fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.ok(words)).unwrap()
    }

    /// Starts the server and waits until it answers.
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    fn start_with(&mut self, words: &[&str]) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.state().join("server.log")).unwrap();
        let server = self.command(&["server"]).args(words).stderr(log).stdout(Stdio::null()).spawn().unwrap();
        self.server = Some(server);
        self.until("the server answers", |node| node.run(&["get", "nodes"]).status.success());
    }

    /// Waits until the server ends by itself, as that of a removed member does.
    pub fn ended(&mut self) {
        let mut server = self.server.take().unwrap();
        let start = Instant::now();
        while server.try_wait().unwrap().is_none() {
            if start.elapsed() > PATIENCE {
                server.kill().unwrap();
                server.wait().unwrap();
                panic!("the server goes on\n{}", tail(&self.log()));
            }
            std::thread::park_timeout(PAUSE);
        }
    }

    /// Ends the server as a crash would.
    pub fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// From now on another file is the program, as after an upgrade.
    pub fn replace_program(&mut self) {
        let next = self.folder.path().join("nanocloud");
        fs::copy(&self.program, &next).unwrap();
        self.program = next;
    }

    /// The process that answers the pods' questions for names.
    pub fn dns_helper(&self) -> Option<i32> {
        let folder = self.run_root().join("dns");
        let marks = ["dns", folder.to_str().unwrap()];
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.find(|pid: &i32| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&str> = line.split('\0').collect();
            words.get(1..3) == Some(&marks)
        })
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.state().join("server.log")).unwrap_or_default()
    }

    /// Waits for a condition that must come about.
    pub fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < PATIENCE, "waited in vain until {what}\n{}", self.account());
            std::thread::park_timeout(PAUSE);
        }
    }

    /// What a person would look at first when something does not come about.
    fn account(&self) -> String {
        let shown = [["get", "pods"], ["get", "events"]].map(|words| self.run(&words).stdout);
        let [pods, events] = shown.map(|text| String::from_utf8_lossy(&text).into_owned());
        format!("{}\n{pods}\n{}", tail(&self.log()), tail(&events))
    }

    pub fn is_ready(&self, bundle: &str) -> bool {
        let shown = self.run(&["get", "bundle", bundle, "-o", "json"]);
        let object: Value = serde_json::from_slice(&shown.stdout).unwrap_or_default();
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    }

    /// Processes in the containers of this node, by their control groups.
    pub fn container_processes(&self) -> Vec<u32> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let groups = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
            if groups.contains(&format!("/{}/", self.name)) {
                found.push(pid);
            }
        }
        found.sort_unstable();
        found
    }

    /// Everything of this node that is left on the host.
    pub fn leftovers(&self) -> Vec<String> {
        let output = |program: &str, words: &[&str]| {
            String::from_utf8(Command::new(program).args(words).output().unwrap().stdout).unwrap()
        };
        let table = self.name.replace('-', "_");
        let mut left: Vec<String> = Vec::new();
        for (what, text, mark) in [
            ("link", output("ip", &["-o", "link"]), self.name.as_str()),
            ("table", output("nft", &["list", "tables"]), &table),
            ("mount", fs::read_to_string("/proc/self/mounts").unwrap(), &self.name),
            ("mount", fs::read_to_string("/proc/self/mounts").unwrap(), self.folder.path().to_str().unwrap()),
        ] {
            left.extend(text.lines().filter(|line| line.contains(mark)).map(|line| format!("{what}: {line}")));
        }
        for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified"] {
            let group = Path::new(root).join(&self.name);
            left.extend(group.exists().then(|| format!("control group: {}", group.display())));
        }
        left.extend(self.run_root().exists().then(|| format!("folder: {}", self.run_root().display())));
        left.extend(self.dns_helper().map(|pid| format!("process: {pid}, the DNS helper")));
        left.extend(self.container_processes().iter().map(|pid| format!("process: {pid}")));
        left
    }

    /// Stops the server and removes everything; what is left fails the test.
    pub fn finish(mut self) {
        self.stop();
        self.ok(&["teardown", "--purge"]);
        assert_eq!(self.leftovers(), Vec::<String>::new());
    }

    fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(server.id()).unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
            assert!(server.wait().unwrap().success(), "{}", tail(&self.log()));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
        // After a failed test, too, nothing may stay on the host.
        let _ = self.run(&["teardown"]);
    }
}

fn free_address() -> String {
    format!("127.0.0.1:{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port())
}

pub fn succeed(output: Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?}\n{out}\n{err}", output.status);
    out.into_owned()
}

pub fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// Downloaded packages, kept between runs.
fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    base.unwrap().join("nanocloud/images")
}
