//! What tests of containers need: a root filesystem, a runtime of their own, and proof that
//! nothing is left behind.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use runtime::container::{ContainerError, ContainerSpec, LogTarget, Runtime, RuntimeConfig, State, UserIds};
use runtime::logs::{LogQuery, LogReader, StreamFilter, StreamKind};

pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Set where cgroup v2 and no other hierarchy is there, so that what depends on it cannot be left out in silence.
pub const EXPECT_CGROUP_V2: &str = "NANOCLOUD_EXPECT_CGROUP_V2";

/// Fails where cgroup v2 was promised and is not what containers get.
fn require_promised_cgroups() -> Result {
    if std::env::var_os(EXPECT_CGROUP_V2).is_none() {
        return Ok(());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let v1 = mounts.lines().filter(|line| line.contains(" - cgroup ")).count();
    let v2 = mounts.lines().filter(|line| line.contains(" /sys/fs/cgroup ") && line.contains(" - cgroup2 ")).count();
    if (v1, v2) == (0, 1) { Ok(()) } else { Err(format!("cgroup v2 alone was promised: {mounts}").into()) }
}

/// A statically linked busybox, which Debian's package busybox-static brings.
fn busybox() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let candidates = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
        candidates.into_iter().find(|path| path.exists()).unwrap_or_else(|| {
            panic!("no busybox on this machine: apt-get install busybox-static");
        })
    })
}

/// The example program of this crate that calls `shim::main`.
pub fn shim_exe() -> PathBuf {
    example("shim")
}

/// An example program of this crate.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("own path: {error}"));
    // <target>/release/deps/it-<hash>
    let release = test.ancestors().nth(2).unwrap_or_else(|| panic!("{} is in no target directory", test.display()));
    let program = release.join("examples").join(name);
    assert!(program.exists(), "{} is missing: cargo builds it with the tests of this crate", program.display());
    program
}

/// A root filesystem of one layer with busybox and little else.
pub fn make_rootfs(layer: &Path) -> io::Result<()> {
    for directory in ["bin", "etc", "proc", "sys", "dev", "tmp", "root"] {
        fs::create_dir_all(layer.join(directory))?;
    }
    fs::copy(busybox(), layer.join("bin/busybox"))?;
    for applet in [
        "sh", "true", "cat", "grep", "sleep", "echo", "stty", "id", "kill", "dd", "head", "readlink", "tail", "ls",
        "mount", "unshare", "yes", "ln", "rm", "mkdir", "chmod", "wc", "cut", "env", "hostname", "touch", "tty", "seq",
        "ping", "ip", "printf", "test",
    ] {
        symlink("busybox", layer.join("bin").join(applet))?;
    }
    fs::write(layer.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/tmp:/bin/sh\n")?;
    fs::write(layer.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
    fs::set_permissions(layer.join("tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o1777))
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A runtime with a run root and cgroup root of its own. Dropping it ends and removes everything.
pub struct Host {
    pub root: PathBuf,
    pub layer: PathBuf,
    pub config: RuntimeConfig,
    pub runtime: Runtime,
}

impl Host {
    pub fn new() -> Result<Self> {
        require_promised_cgroups()?;
        let name = format!("nct{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let root = Path::new("/run").join(&name);
        fs::create_dir(&root)?;
        let layer = root.join("layer");
        make_rootfs(&layer)?;
        let config = RuntimeConfig {
            run_root: root.join("run"),
            cgroup_root: name,
            shim_exe: shim_exe(),
            shim_args: vec!["shim".into()],
        };
        let runtime = Runtime::open(config.clone())?;
        Ok(Self { root, layer, config, runtime })
    }

    /// A container of nobody that runs a shell command and logs.
    pub fn spec(&self, id: &str, script: &str) -> ContainerSpec {
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        let mut spec = ContainerSpec::new(id, vec![self.layer.clone()], argv);
        spec.log = Some(LogTarget::new(self.log_path(id)));
        spec.env = vec![("PATH".into(), "/bin".into())];
        spec
    }

    pub fn root_spec(&self, id: &str, script: &str) -> ContainerSpec {
        let mut spec = self.spec(id, script);
        spec.user = UserIds::ROOT;
        spec
    }

    pub fn log_path(&self, id: &str) -> PathBuf {
        self.root.join("logs").join(id).join("0.log")
    }

    /// What the container printed: standard output first, then standard error. Two pipes have no common order.
    pub async fn log(&self, id: &str) -> Result<String> {
        use futures::TryStreamExt;
        let reader = LogReader::new(self.log_path(id));
        let mut bytes = Vec::new();
        for stream in [StreamKind::Stdout, StreamKind::Stderr] {
            let query = LogQuery { streams: StreamFilter::Only(stream), ..LogQuery::default() };
            bytes.extend(reader.read(query).try_collect::<Vec<_>>().await?.concat());
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Runs a container to its end; gives exit code and log.
    pub async fn run(&self, spec: ContainerSpec) -> Result<(i32, String)> {
        let id = spec.id.clone();
        self.runtime.start(spec).await?;
        let exit = self.runtime.wait(&id).await?;
        Ok((exit.code, self.log(&id).await?))
    }

    /// Waits until the log holds a text.
    pub async fn logged(&self, id: &str, text: &str) -> Result {
        use futures::StreamExt;
        let runtime = self.runtime.clone();
        let owner = id.to_owned();
        let ended = async move {
            // Not being known is as good as ended.
            let _ = runtime.wait(&owner).await;
        };
        let mut chunks = LogReader::new(self.log_path(id)).follow(LogQuery::default(), ended);
        let mut seen = String::new();
        while let Some(chunk) = chunks.next().await {
            seen += &String::from_utf8_lossy(&chunk?);
            if seen.contains(text) {
                return Ok(());
            }
        }
        Err(format!("{text:?} was not logged; this was: {seen}").into())
    }

    /// Ends and removes all containers, then looks for anything left of this test.
    pub async fn leaves_nothing(&self) -> Result {
        for info in self.runtime.list() {
            if info.state == State::Running {
                self.runtime.stop(&info.id, libc::SIGKILL, std::time::Duration::ZERO).await?;
            }
            self.runtime.remove(&info.id).await?;
        }
        let name = &self.config.cgroup_root;
        assert_eq!(cgroups(name), Vec::<PathBuf>::new(), "cgroups are left");
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        assert!(!mounts.contains(name.as_str()), "mounts are left");
        let left: Vec<_> = fs::read_dir(self.config.run_root.join("containers"))?.collect();
        assert!(left.is_empty(), "run directories are left: {left:?}");
        assert_eq!(processes(name), Vec::<String>::new(), "processes are left");
        Ok(())
    }
}

/// Cgroup directories of a test on any hierarchy.
pub fn cgroups(name: &str) -> Vec<PathBuf> {
    let mounts = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    let candidates = mounts.chain([PathBuf::from("/sys/fs/cgroup")]).map(|mount| mount.join(name));
    candidates.filter(|path| path.exists()).collect()
}

/// Living processes that name a test's directory on their command line (shims do).
fn processes(name: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = pids.filter(|entry| entry.file_name() != own.as_str()).filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.contains(name)).collect()
}

/// Kills what a failed test left, so that the next run starts clean.
impl Drop for Host {
    fn drop(&mut self) {
        for group in cgroups(&self.config.cgroup_root) {
            let _ = empty(&group);
        }
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("{}: {error}", self.root.display());
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "runs in Drop, which cannot await; dying processes give no event here")]
fn empty(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)?.flatten() {
        if entry.file_type()?.is_dir() {
            empty(&entry.path())?;
        }
    }
    for _ in 0..1000 {
        for pid in fs::read_to_string(group.join("cgroup.procs"))?.lines() {
            Command::new("kill").args(["-9", pid]).status()?;
        }
        if fs::remove_dir(group).is_ok() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// The field a spec was refused for, or what else happened.
pub fn problem<T: std::fmt::Debug>(result: std::result::Result<T, ContainerError>) -> String {
    match result {
        Ok(value) => format!("unexpected success: {value:?}"),
        Err(error) => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            text
        }
    }
}
