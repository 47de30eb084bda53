//! Daemons and shims that die.

use std::process::Stdio;
use std::time::Duration;

use runtime::container::{ExitCause, Runtime, State};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::host::{Host, Result};

/// Set in the process that plays the daemon.
const DAEMON_ROLE: &str = "NANOCLOUD_TEST_DAEMON";

/// The daemon of the next test: starts a container and waits to be killed. As a test of its own,
/// without the variable, it has nothing to do.
#[tokio::test]
async fn daemon_process() -> Result {
    let Ok(role) = std::env::var(DAEMON_ROLE) else {
        return Ok(());
    };
    let (run_root, cgroup_root) = role.split_once(' ').ok_or("two words")?;
    let config = runtime::container::RuntimeConfig {
        run_root: run_root.into(),
        cgroup_root: cgroup_root.into(),
        shim_exe: crate::host::shim_exe(),
        shim_args: vec!["shim".into()],
    };
    let runtime = Runtime::open(config)?;
    let root = std::path::Path::new(run_root).parent().ok_or("no parent")?;
    let mut spec = runtime::container::ContainerSpec::new(
        "c",
        vec![root.join("layer")],
        ["sh", "-c", "trap 'exit 6' TERM; echo one; read line; echo two; while true; do sleep 0.01; done"]
            .map(str::to_owned)
            .to_vec(),
    );
    spec.env = vec![("PATH".into(), "/bin".into())];
    spec.stdin = true;
    spec.labels.insert("pod".into(), "p1".into());
    spec.log = Some(runtime::container::LogTarget::new(root.join("logs/c/0.log")));
    let info = runtime.start(spec).await?;
    println!("\nstarted {} {}", info.pid, info.shim_pid);
    std::future::pending::<()>().await;
    Ok(())
}

#[tokio::test]
async fn containers_outlive_a_killed_daemon_and_are_adopted() -> Result {
    let host = Host::new()?;
    let mut daemon = tokio::process::Command::new(std::env::current_exe()?)
        .args(["--exact", "adoption::daemon_process", "--nocapture"])
        .env(DAEMON_ROLE, format!("{} {}", host.config.run_root.display(), host.config.cgroup_root))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(daemon.stdout.take().ok_or("no stdout")?).lines();
    let pids = loop {
        let line = lines.next_line().await?.ok_or("the daemon ended early")?;
        if let Some(pids) = line.strip_prefix("started ") {
            break pids.to_owned();
        }
    };
    daemon.kill().await?;

    let adoption = host.runtime.adopt().await?;
    assert!(adoption.swept.is_empty());
    let [info] = adoption.containers.as_slice() else { panic!("{adoption:?}") };
    assert_eq!(format!("{} {}", info.pid, info.shim_pid), pids, "same processes");
    assert_eq!((info.state.clone(), info.labels.get("pod").map(String::as_str)), (State::Running, Some("p1")));
    assert!(host.runtime.adopt().await?.containers.is_empty(), "adopting again finds nothing new");
    // Its log goes on, and it can be used as before.
    let mut attached = host.runtime.attach("c", true).await?;
    tokio::io::AsyncWriteExt::write_all(attached.stdin.as_mut().ok_or("no stdin")?, b"go\n").await?;
    host.logged("c", "two").await?;
    assert_eq!(host.log("c").await?, "one\ntwo\n");
    let exit = host.runtime.stop("c", libc::SIGTERM, Duration::from_secs(30)).await?;
    assert_eq!((exit.code, exit.cause), (6, ExitCause::Process));
    host.leaves_nothing().await
}

/// A daemon that is killed while a container starts leaves a record; the next one asks the shim that wrote it.
#[tokio::test]
async fn a_shim_whose_record_is_found_can_be_asked() -> Result {
    let host = Host::new()?;
    for number in 0..10 {
        let id = format!("c{number}");
        let dir = host.config.run_root.join("containers").join(&id);
        let asked = tokio::task::spawn_blocking(move || {
            while !dir.join("record.json").exists() {
                std::thread::yield_now();
            }
            std::os::unix::net::UnixStream::connect(dir.join("shim.sock")).map(drop)
        });
        host.runtime.start(host.spec(&id, "sleep 1000")).await?;
        asked.await??;
    }
    host.leaves_nothing().await
}

#[tokio::test]
async fn ends_while_nobody_watches_are_found() -> Result {
    let host = Host::new()?;
    host.runtime.start(host.spec("c", "exit 9")).await?;
    let exit = host.runtime.wait("c").await?;
    let later = Runtime::open(host.config.clone())?;
    let adoption = later.adopt().await?;
    assert_eq!(adoption.containers[0].state, State::Exited(exit));
    host.leaves_nothing().await
}

#[tokio::test]
async fn a_killed_shim_takes_its_container_along() -> Result {
    let host = Host::new()?;
    let info = host.runtime.start(host.spec("c", "sleep 1000 & echo ready; sleep 1000")).await?;
    host.logged("c", "ready").await?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(info.shim_pid), nix::sys::signal::Signal::SIGKILL)?;
    let exit = host.runtime.wait("c").await?;
    assert_eq!((exit.cause, exit.code), (ExitCause::ShimLost, 137));
    let pids = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"]
        .map(|mount| std::path::Path::new(mount).join(&host.config.cgroup_root));
    let procs = pids.iter().map(|group| group.join("c/cgroup.procs")).find(|file| file.exists()).ok_or("no cgroup")?;
    assert_eq!(std::fs::read_to_string(procs)?, "", "nothing of it lives");
    host.leaves_nothing().await
}

#[tokio::test]
async fn a_shim_killed_while_nobody_watches_is_reported_on_adoption() -> Result {
    let host = Host::new()?;
    let info = host.runtime.start(host.spec("c", "echo ready; sleep 1000")).await?;
    host.logged("c", "ready").await?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(info.shim_pid), nix::sys::signal::Signal::SIGKILL)?;
    let later = Runtime::open(host.config.clone())?;
    let adoption = later.adopt().await?;
    assert!(matches!(&adoption.containers[0].state, State::Exited(exit) if exit.cause == ExitCause::ShimLost));
    host.runtime.wait("c").await?;
    host.leaves_nothing().await
}

#[tokio::test]
async fn torn_leftovers_are_swept() -> Result {
    let host = Host::new()?;
    let containers = host.config.run_root.join("containers");
    std::fs::create_dir_all(containers.join("empty"))?;
    std::fs::create_dir_all(containers.join("torn/rootfs"))?;
    std::fs::write(containers.join("torn/record.json"), "{\"id\":")?;
    let mut swept = host.runtime.adopt().await?.swept;
    swept.sort();
    assert_eq!(swept, ["empty", "torn"]);
    host.leaves_nothing().await
}
