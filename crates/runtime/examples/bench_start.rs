//! Container create + start + exit + delete of `true`, ours against crun and runc: same root
//! filesystem, same namespaces, limits and filter, interleaved runs, one table.
//!
//! ```text
//! cargo run --release -p runtime --example bench_start -- [rounds] [alone] [SHIM]
//! ```
//!
//! `alone` leaves the others out. SHIM is the path of a nanocloud binary that becomes the shims, so
//! that its size counts, too; without it this small program does.
//!
//! It makes its own mount namespace and hides the bare cgroup2 mount of hybrid hosts in it, because
//! crun refuses those. Peers that are not installed are left out.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts what it measures")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use runtime::container::{ContainerSpec, Runtime, RuntimeConfig, UserIds};
use serde_json::{Value, json};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Rounds unless told otherwise; the first of each is not counted.
const ROUNDS_DEFAULT: usize = 30;

fn main() -> Result {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.next_if(|verb| verb == "shim").is_some() {
        runtime::shim::main(args);
    }
    let mut wanted = Wanted { rounds: ROUNDS_DEFAULT, alone: false, shim: std::env::current_exe()? };
    for word in args {
        match word.to_str().map(str::parse) {
            Some(Ok(rounds)) => wanted.rounds = rounds,
            _ if word == "alone" => wanted.alone = true,
            _ => wanted.shim = std::path::absolute(word)?,
        }
    }
    hide_unified()?;
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    tokio.block_on(run(&wanted))
}

/// What the command line asks for.
struct Wanted {
    rounds: usize,
    alone: bool,
    shim: PathBuf,
}

/// In a mount namespace of this process only.
fn hide_unified() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    let unified = Path::new("/sys/fs/cgroup/unified");
    if unified.exists() {
        mount(Some("none"), unified, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    }
    Ok(())
}

struct Bench {
    root: PathBuf,
    name: String,
    runtime: Runtime,
}

async fn run(wanted: &Wanted) -> Result {
    let name = format!("ncbench{}", std::process::id());
    let root = Path::new("/run").join(&name);
    fs::create_dir(&root)?;
    // Run roots are memory, for all of them.
    mount(Some("none"), &root, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    let result = measure(&root, &name, wanted).await;
    nix::mount::umount2(&root, nix::mount::MntFlags::MNT_DETACH)?;
    fs::remove_dir(&root)?;
    remove_cgroups(&name);
    result
}

/// A peer leaves the parent group of its containers behind, empty, in each hierarchy it used.
fn remove_cgroups(name: &str) {
    for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        // Not there, or not empty: then it is not ours to remove.
        let _ = fs::remove_dir(hierarchy.path().join(name));
    }
}

async fn measure(root: &Path, name: &str, wanted: &Wanted) -> Result {
    let rootfs = root.join("rootfs");
    fs::create_dir_all(rootfs.join("bin"))?;
    for directory in ["proc", "sys", "dev", "etc", "tmp"] {
        fs::create_dir_all(rootfs.join(directory))?;
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new).into_iter().find(|path| path.exists());
    fs::copy(busybox.ok_or("apt-get install busybox-static")?, rootfs.join("bin/true"))?;
    std::os::unix::fs::symlink("true", rootfs.join("bin/sleep"))?;
    let runtime = Runtime::open(RuntimeConfig {
        run_root: root.join("run"),
        cgroup_root: name.to_owned(),
        shim_exe: wanted.shim.clone(),
        shim_args: vec!["shim".into()],
    })?;
    let bench = Bench { root: root.to_owned(), name: name.to_owned(), runtime };
    let peers: Vec<&str> = ["crun", "runc"].into_iter().filter(|peer| !wanted.alone && installed(peer)).collect();
    let mut times: Vec<(String, Vec<Duration>)> = Vec::new();
    times.push(("nanocloud".to_owned(), Vec::new()));
    times.push(("nanocloud, to running".to_owned(), Vec::new()));
    times.extend(peers.iter().map(|peer| ((*peer).to_owned(), Vec::new())));
    fs::create_dir_all(root.join("bundle"))?;
    fs::write(root.join("bundle/config.json"), bench.config(&rootfs).to_string())?;
    // On a node something runs already: parent cgroups are there.
    bench.neighbour(&rootfs).await?;
    for round in 0..=wanted.rounds {
        // In turns first: what one leaves to the kernel (grace periods, caches) meets the next.
        let mut row = vec![Duration::ZERO; times.len()];
        for turn in 0..=peers.len() {
            match (turn + round) % (peers.len() + 1) {
                0 => (row[1], row[0]) = bench.ours(round, &rootfs).await?,
                peer => row[peer + 1] = bench.peer(peers[peer - 1], round)?,
            }
        }
        if round > 0 {
            times.iter_mut().zip(row).for_each(|((_, list), time)| list.push(time));
        }
    }
    bench.runtime.stop("neighbour", libc::SIGKILL, Duration::ZERO).await?;
    bench.runtime.remove("neighbour").await?;
    print(&mut times);
    Ok(())
}

impl Bench {
    async fn neighbour(&self, rootfs: &Path) -> Result {
        let argv = ["/bin/sleep", "100000"].map(str::to_owned).to_vec();
        self.runtime.start(ContainerSpec::new("neighbour", vec![rootfs.to_owned()], argv)).await?;
        Ok(())
    }

    async fn ours(&self, round: usize, rootfs: &Path) -> Result<(Duration, Duration)> {
        let id = format!("ours{round}");
        let mut spec = ContainerSpec::new(&id, vec![rootfs.to_owned()], vec!["/bin/true".to_owned()]);
        spec.user = UserIds::ROOT;
        spec.resources.memory_bytes = Some(64 << 20);
        spec.resources.pids = Some(100);
        let begin = Instant::now();
        self.runtime.start(spec).await?;
        let running = begin.elapsed();
        let exit = self.runtime.wait(&id).await?;
        self.runtime.remove(&id).await?;
        if exit.code != 0 {
            return Err(format!("exit code {}", exit.code).into());
        }
        Ok((running, begin.elapsed()))
    }

    fn peer(&self, peer: &str, round: usize) -> Result<Duration> {
        let begin = Instant::now();
        let output = Command::new(peer)
            .arg("--root")
            .arg(self.root.join(peer))
            .args(["run", "--bundle"])
            .arg(self.root.join("bundle"))
            .arg(format!("{}-{peer}{round}", self.name))
            .stdin(Stdio::null())
            .output()?;
        let time = begin.elapsed();
        if !output.status.success() {
            return Err(format!("{peer}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(time)
    }

    /// As our own containers: no capability, the same filter, masked paths and limits.
    fn config(&self, rootfs: &Path) -> Value {
        let text = runtime::seccomp::baseline_text();
        let names: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
        let strict = json!(["nosuid", "noexec", "nodev"]);
        json!({
            "ociVersion": "1.0.2",
            "root": { "path": rootfs, "readonly": false },
            "process": {
                "user": { "uid": 0, "gid": 0 }, "args": ["/bin/true"], "env": ["PATH=/bin"], "cwd": "/",
                "noNewPrivileges": true,
                "capabilities": { "bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": [] },
            },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc", "options": strict },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
                { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                  "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
                { "destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
                { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": strict },
                { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
            ],
            "linux": {
                "cgroupsPath": format!("/{}/peer", self.name),
                "resources": { "devices": [{ "allow": false, "access": "rwm" }], "memory": { "limit": 64 << 20 }, "pids": { "limit": 100 } },
                "namespaces": [
                    { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" },
                ],
                "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
                "seccomp": { "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }] },
            },
        })
    }
}

fn installed(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn print(times: &mut [(String, Vec<Duration>)]) {
    println!("{:<24} {:>10} {:>10} {:>10} {:>8}", "create+start+exit", "median ms", "p90 ms", "min ms", "ratio");
    let mut base = None;
    for (name, list) in times {
        list.sort_unstable();
        let at = |part: usize| list[(list.len() - 1) * part / 100].as_secs_f64() * 1000.0;
        let base = *base.get_or_insert(at(50));
        println!("{name:<24} {:>10.1} {:>10.1} {:>10.1} {:>8.2}", at(50), at(90), at(0), at(50) / base);
    }
}
