//! From a request to a running program.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::notify_socket::NotifySocket;
use libcontainer::syscall::syscall::SyscallType;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2};

use super::dir::{Record, ShimDir};
use super::executor::Program;
use super::overlay::Overlay;
use crate::cgroup::Hierarchy;
use crate::container::{ContainerSpec, HostFacts, Namespace, WritableLayer, oci_spec};
use crate::process::Process;
use crate::rooted::{self, Links};
use crate::seccomp::{self, Filter};
use crate::wire::{self, StartRequest};

/// Name of the socket over which libcontainer hands the terminal.
const CONSOLE_SOCKET: &str = "console.sock";

/// A running container, as the shim holds it.
pub(super) struct Launched {
    pub(super) record: Record,
    pub(super) spec: ContainerSpec,
    pub(super) filter: Option<Filter>,
    pub(super) cgroups: Hierarchy,
    pub(super) stdio: Stdio,
    /// The mount namespace this process came from.
    pub(super) host_mounts: File,
}

/// The shim's ends of the program's standard streams.
pub(super) enum Stdio {
    Pipes { stdin: Option<OwnedFd>, stdout: OwnedFd, stderr: OwnedFd },
    Terminal(OwnedFd),
}

/// What failed, in words for the caller.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaunchError {
    #[error("{step}: {problem}")]
    Step { step: &'static str, problem: String },
    #[error("{0}")]
    Program(String),
}

fn step<E: std::error::Error>(step: &'static str) -> impl FnOnce(E) -> LaunchError {
    move |error| {
        let mut problem = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !problem.contains(&text) {
                problem = format!("{problem}: {text}");
            }
            source = cause.source();
        }
        LaunchError::Step { step, problem }
    }
}

/// Starts the container. On failure nothing of it runs; files are left to the daemon.
pub(super) fn launch(dir: &ShimDir, request: StartRequest) -> Result<Launched, LaunchError> {
    let StartRequest { spec, cgroup, .. } = request;
    let cgroups = Hierarchy::detect().map_err(step("look at cgroups"))?;
    let filter = seccomp::filter(&spec.seccomp).map_err(step("compile the system call filter"))?;
    let writable = match &spec.writable {
        WritableLayer::RunRoot => dir.path().to_owned(),
        WritableLayer::Dir(path) => path.clone(),
    };
    let bundle = dir.path().join("bundle");
    let rootfs = dir.path().join("rootfs");
    write_bundle(&bundle, &spec, &rootfs, &cgroup, &cgroups).map_err(step("write the bundle"))?;

    // In a mount namespace of our own the overlay needs no unmounting: it goes with the container.
    let host = File::open("/proc/self/ns/mnt").map_err(step("keep the mount namespace"))?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(step("make a mount namespace"))?;
    let private = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(step("isolate mounts"))?;
    let (upper, work) = (writable.join("upper"), writable.join("work"));
    let overlay = Overlay { layers: &spec.layers, upper: &upper, work: &work, target: &rootfs };
    overlay.mount().map_err(step("mount the root filesystem"))?;
    make_cwd(&rootfs, &spec).map_err(step("make the working directory"))?;

    let created = create(dir, &bundle, &spec, filter.clone())?;
    match start(dir, &spec, &created, &cgroup, &writable) {
        Ok(record) => Ok(Launched { record, spec, filter, cgroups, stdio: created.stdio, host_mounts: host }),
        Err(error) => {
            // It may have ended by itself.
            let _ = kill(created.pid, Signal::SIGKILL);
            let _ = waitpid(created.pid, None);
            Err(error)
        }
    }
}

fn write_bundle(
    bundle: &Path,
    spec: &ContainerSpec,
    rootfs: &Path,
    cgroup: &Path,
    cgroups: &Hierarchy,
) -> io::Result<()> {
    fs::create_dir_all(bundle)?;
    fs::create_dir_all(rootfs)?;
    let (_, open_files_max) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let host = HostFacts { cgroup_v2: cgroups.is_v2(), limits_swap: cgroups.limits_swap(), open_files_max };
    fs::write(bundle.join("config.json"), oci_spec(spec, rootfs, cgroup, host).to_string())
}

/// Inside the image's links, and the user's if it had to be made.
fn make_cwd(rootfs: &Path, spec: &ContainerSpec) -> io::Result<()> {
    let root = File::open(rootfs)?;
    let Some(below) = spec.cwd.strip_prefix("/").ok().and_then(rooted::relative) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    match rooted::open(&root, &below, OFlag::O_PATH | OFlag::O_DIRECTORY, Links::InRoot) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = rooted::open_or_make_directory(&root, &below, Links::InRoot)?;
            std::os::unix::fs::fchown(made.as_fd(), Some(spec.user.uid), Some(spec.user.gid))
        }
        result => result.map(drop),
    }
}

struct Created {
    pid: Pid,
    stdio: Stdio,
    /// Reading end: what failed in executing the program.
    failures: OwnedFd,
    notify: PathBuf,
}

fn create(dir: &ShimDir, bundle: &Path, spec: &ContainerSpec, filter: Option<Filter>) -> Result<Created, LaunchError> {
    let (failures, failures_end) = pipe2(OFlag::O_CLOEXEC).map_err(step("make a pipe"))?;
    let powerless = spec.capabilities.is_empty();
    let program =
        Program::new(&spec.argv, spec.env.clone(), spec.user.clone(), filter, powerless, failures_end.as_raw_fd())
            .map_err(step("read the command"))?;
    let state = dir.path().join("oci");
    fs::create_dir_all(&state).map_err(step("make the state directory"))?;
    let notify = state.join(dir.id()).join(libcontainer::notify_socket::NOTIFY_FILE);
    let builder = ContainerBuilder::new(dir.id().to_owned(), SyscallType::default())
        .with_root_path(state)
        .map_err(step("use the state directory"))?
        .with_executor(program);
    let (pid, stdio) = if spec.tty {
        let console = listen(dir, CONSOLE_SOCKET).map_err(step("listen for the terminal"))?;
        let builder = builder.with_console_socket(Some(dir.path().join(CONSOLE_SOCKET)));
        let pid = build(builder, bundle)?;
        (pid, Stdio::Terminal(terminal(&console).map_err(step("receive the terminal"))?))
    } else {
        let (stdin, stdin_end) = match spec.stdin {
            true => pipe2(OFlag::O_CLOEXEC).map(|(read, write)| (Some(write), read)).map_err(step("make a pipe"))?,
            false => (None, File::open("/dev/null").map_err(step("open /dev/null"))?.into()),
        };
        let (stdout, stdout_end) = pipe2(OFlag::O_CLOEXEC).map_err(step("make a pipe"))?;
        let (stderr, stderr_end) = pipe2(OFlag::O_CLOEXEC).map_err(step("make a pipe"))?;
        let builder = builder.with_stdin(stdin_end).with_stdout(stdout_end).with_stderr(stderr_end);
        (build(builder, bundle)?, Stdio::Pipes { stdin, stdout, stderr })
    };
    Ok(Created { pid, stdio, failures, notify })
}

fn build(builder: ContainerBuilder, bundle: &Path) -> Result<Pid, LaunchError> {
    let container = builder.as_init(bundle).with_systemd(false).with_detach(true).build();
    let container = container.map_err(step("create the container"))?;
    let pid = container.pid().map(|pid| Pid::from_raw(pid.as_raw()));
    pid.ok_or_else(|| LaunchError::Program("libcontainer named no process".to_owned()))
}

/// Listens on a name in the container's directory, which may be too long for a socket address.
pub(super) fn listen(dir: &ShimDir, name: &str) -> io::Result<UnixListener> {
    std::env::set_current_dir(dir.path())?;
    let listener = UnixListener::bind(name);
    std::env::set_current_dir("/")?;
    listener
}

fn terminal(console: &UnixListener) -> io::Result<OwnedFd> {
    let (connection, _) = console.accept()?;
    wire::receive_descriptor(connection.as_fd())
}

/// Lets the created process go on to the program, and waits until it has.
fn start(
    dir: &ShimDir,
    spec: &ContainerSpec,
    created: &Created,
    cgroup: &Path,
    writable: &Path,
) -> Result<Record, LaunchError> {
    let process = Process::of(created.pid.as_raw()).map_err(step("look at the process"))?;
    if let Some(wanted) = spec.resources.oom_score_adj {
        set_oom_score(process.pid, wanted);
    }
    if spec.namespaces.network == Namespace::New {
        loopback_up(process.pid).map_err(step("bring the loopback device up"))?;
    }
    NotifySocket::new(created.notify.clone()).notify_container_start().map_err(step("start the program"))?;
    // The other end closes itself when the program is executed.
    let problem = io::read_to_string(File::from(created.failures.try_clone().map_err(step("watch the program"))?));
    match problem.map_err(step("watch the program"))? {
        problem if problem.is_empty() => {}
        problem => return Err(LaunchError::Program(problem)),
    }
    let own = i32::try_from(std::process::id()).map_err(step("look at the shim"))?;
    let record = Record {
        id: spec.id.clone(),
        labels: spec.labels.clone(),
        layers: spec.layers.clone(),
        process,
        shim: Process::of(own).map_err(step("look at the shim"))?,
        started_at: Timestamp::now(),
        cgroup: cgroup.to_owned(),
        writable: (spec.writable != WritableLayer::RunRoot).then(|| writable.to_owned()),
    };
    dir.write_record(&record).map_err(step("write the record"))?;
    Ok(record)
}

/// Lowering it below the shim's own may be forbidden; then it stays as it is (proc_pid_oom_score_adj(5)).
fn set_oom_score(pid: i32, wanted: i32) {
    // Not being able to is no reason not to run.
    let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), wanted.clamp(-1000, 1000).to_string());
}

/// A new network namespace has a loopback device that is down.
fn loopback_up(pid: i32) -> io::Result<()> {
    let own = File::open("/proc/self/ns/net")?;
    setns(File::open(format!("/proc/{pid}/ns/net"))?, CloneFlags::CLONE_NEWNET)?;
    let result = set_up(c"lo");
    setns(own, CloneFlags::CLONE_NEWNET)?;
    result
}

fn set_up(device: &std::ffi::CStr) -> io::Result<()> {
    let socket = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Inet,
        nix::sys::socket::SockType::Datagram,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    // SAFETY: an ifreq of zeros is valid: an empty name and no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(device.to_bytes()) {
        *slot = byte.cast_signed();
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
