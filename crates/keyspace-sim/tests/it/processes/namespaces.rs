//! A network of the test's own: a namespace for each member, one for clients, and a bridge between them.

use std::io::Write;
use std::process::{Command, Stdio};

/// The namespaces, removed however the test ends.
pub struct Network {
    name: String,
    members: u64,
}

fn ip(words: &[&str]) {
    let output = Command::new("ip").args(words).output().expect("ip is installed (iproute2)");
    assert!(output.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Network {
    /// A network for so many members; `tag` tells networks of one test program apart.
    pub fn new(tag: &str, members: u64) -> Self {
        let network = Network { name: format!("proof-{tag}-{}", std::process::id()), members };
        let hub = network.hub();
        ip(&["netns", "add", &hub]);
        ip(&["-n", &hub, "link", "set", "lo", "up"]);
        ip(&["-n", &hub, "link", "add", "br0", "type", "bridge"]);
        ip(&["-n", &hub, "address", "add", "10.97.0.254/24", "dev", "br0"]);
        ip(&["-n", &hub, "link", "set", "br0", "up"]);
        for id in 1..=members {
            let (member, port) = (network.member(id), format!("port{id}"));
            ip(&["netns", "add", &member]);
            ip(&["link", "add", &port, "netns", &hub, "type", "veth", "peer", "name", "eth0", "netns", &member]);
            ip(&["-n", &hub, "link", "set", &port, "master", "br0", "up"]);
            ip(&["-n", &member, "address", "add", &format!("{}/24", Self::address(id)), "dev", "eth0"]);
            ip(&["-n", &member, "link", "set", "eth0", "up"]);
            ip(&["-n", &member, "link", "set", "lo", "up"]);
        }
        network
    }

    /// The namespace of clients.
    pub fn hub(&self) -> String {
        format!("{}-hub", self.name)
    }

    /// The namespace of a member.
    pub fn member(&self, id: u64) -> String {
        format!("{}-{id}", self.name)
    }

    /// The address of a member.
    pub fn address(id: u64) -> String {
        format!("10.97.0.{id}")
    }

    /// Cuts a member off from all others; clients still reach it.
    pub fn cut_off(&self, id: u64) {
        let others: Vec<String> = (1..=self.members).filter(|other| *other != id).map(Self::address).collect();
        let others = others.join(", ");
        self.nft(
            id,
            &format!(
                "table ip cut {{
                    chain in {{ type filter hook input priority 0; ip saddr {{ {others} }} drop; }}
                    chain out {{ type filter hook output priority 0; ip daddr {{ {others} }} drop; }}
                }}"
            ),
        );
    }

    /// Undoes [`Network::cut_off`].
    pub fn heal(&self, id: u64) {
        self.nft(id, "table ip cut; delete table ip cut");
    }

    fn nft(&self, id: u64, rules: &str) {
        let mut nft = Command::new("ip")
            .args(["netns", "exec", &self.member(id), "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nft is installed (nftables)");
        nft.stdin.take().expect("piped").write_all(rules.as_bytes()).expect("takes rules");
        assert!(nft.wait().expect("ends").success(), "nft: {rules}");
    }

    /// Runs `work` on a thread that is in the namespace of clients.
    pub fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let hub = std::fs::File::open(format!("/var/run/netns/{}", self.hub())).expect("the namespace is there");
        let ran = std::thread::spawn(move || {
            nix::sched::setns(hub, nix::sched::CloneFlags::CLONE_NEWNET).expect("enters the namespace (needs root)");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(work)
        });
        ran.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in (1..=self.members).map(|id| self.member(id)).chain([self.hub()]) {
            let _ = Command::new("ip").args(["netns", "del", &namespace]).stderr(Stdio::null()).status();
        }
    }
}
