//! Starting, stopping, logs, removal.

use std::time::Duration;

use runtime::container::{ExitCause, LogTarget, State, WritableLayer};

use crate::host::{Host, Result, problem};

#[tokio::test]
async fn exit_codes_and_signals_are_kept() -> Result {
    let host = Host::new()?;
    host.runtime.start(host.spec("code", "exit 42")).await?;
    let exit = host.runtime.wait("code").await?;
    assert_eq!((exit.code, exit.signal, exit.oom_killed, exit.cause), (42, None, false, ExitCause::Process));
    // The first process of a pid namespace ignores its own signals, so a child shows it.
    host.runtime.start(host.spec("signal", "echo ready; sleep 1000")).await?;
    host.logged("signal", "ready").await?;
    host.runtime.signal("signal", libc::SIGKILL)?;
    let exit = host.runtime.wait("signal").await?;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    assert!(host.runtime.get("code").is_some_and(|info| matches!(info.state, State::Exited(_))));
    host.leaves_nothing().await
}

#[tokio::test]
async fn stopping_asks_first_and_kills_then() -> Result {
    let host = Host::new()?;
    host.runtime.start(host.spec("polite", "trap 'echo bye; exit 5' TERM; echo ready; sleep 1000 & wait")).await?;
    host.logged("polite", "ready").await?;
    let exit = host.runtime.stop("polite", libc::SIGTERM, Duration::from_secs(30)).await?;
    assert_eq!(exit.code, 5);
    assert!(host.log("polite").await?.ends_with("bye\n"));
    host.runtime.start(host.spec("stubborn", "trap '' TERM; echo ready; sleep 1000")).await?;
    host.logged("stubborn", "ready").await?;
    let exit = host.runtime.stop("stubborn", libc::SIGTERM, Duration::from_millis(50)).await?;
    assert_eq!(exit.code, 137);
    assert_eq!(host.runtime.stop("stubborn", libc::SIGTERM, Duration::ZERO).await?, exit, "stopping again is no error");
    host.leaves_nothing().await
}

#[tokio::test]
async fn ids_are_taken_until_removed_and_removal_is_idempotent() -> Result {
    let host = Host::new()?;
    host.runtime.start(host.spec("c", "sleep 1000")).await?;
    assert!(problem(host.runtime.start(host.spec("c", "true")).await).contains("already exists"));
    assert!(problem(host.runtime.remove("c").await).contains("stop it first"));
    host.runtime.stop("c", libc::SIGKILL, Duration::ZERO).await?;
    host.runtime.remove("c").await?;
    host.runtime.remove("c").await?;
    assert!(host.run(host.spec("c", "echo again")).await?.1.ends_with("again\n"));
    host.leaves_nothing().await
}

#[tokio::test]
async fn logs_rotate_and_keep_order() -> Result {
    let host = Host::new()?;
    let mut spec = host.spec("c", "seq 1 3000");
    spec.log = Some(LogTarget { path: host.log_path("c"), max_bytes: 20_000, max_files: 3 });
    let (code, log) = host.run(spec).await?;
    assert_eq!(code, 0);
    let numbers: Vec<u32> = log.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(numbers.last(), Some(&3000));
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "no line is lost between");
    let files = std::fs::read_dir(host.root.join("logs/c"))?.count();
    assert_eq!(files, 3);
    for entry in std::fs::read_dir(host.root.join("logs/c"))? {
        assert!(entry?.metadata()?.len() <= 20_000);
    }
    host.leaves_nothing().await
}

#[tokio::test]
async fn writable_layer_can_be_elsewhere_and_goes_with_the_container() -> Result {
    let host = Host::new()?;
    // Not in memory: a directory of the test's own on the disk.
    let disk = tempfile::Builder::new().prefix("nct").tempdir_in("/var/tmp")?;
    let writable = disk.path().join("c");
    let mut spec = host.root_spec("c", "echo kept > /file; cat /file");
    spec.writable = WritableLayer::Dir(writable.clone());
    assert_eq!(host.run(spec).await?, (0, "kept\n".to_owned()));
    assert!(writable.join("upper/file").exists());
    assert!(!host.layer.join("file").exists());
    host.runtime.remove("c").await?;
    assert!(!writable.exists());
    host.leaves_nothing().await
}

#[tokio::test]
async fn layers_stack_with_whiteouts() -> Result {
    let host = Host::new()?;
    let middle = host.root.join("middle");
    let top = host.root.join("top");
    std::fs::create_dir_all(middle.join("data/old"))?;
    std::fs::create_dir_all(top.join("data"))?;
    std::fs::write(middle.join("data/gone"), "x")?;
    std::fs::write(middle.join("data/stays"), "x")?;
    nix::sys::stat::mknod(&top.join("data/gone"), nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::empty(), 0)?;
    let mut spec = host.spec("c", "ls /data");
    spec.layers.extend([middle, top]);
    assert_eq!(host.run(spec).await?, (0, "old\nstays\n".to_owned()));
    host.leaves_nothing().await
}

#[tokio::test]
async fn hundreds_of_layers_can_be_stacked() -> Result {
    let host = Host::new()?;
    let mut spec = host.spec("c", "ls /many | wc -l");
    for number in 0..120 {
        let layer = host.root.join(format!("{number:0>64}")).join("diff");
        std::fs::create_dir_all(layer.join("many"))?;
        std::fs::write(layer.join("many").join(number.to_string()), "")?;
        spec.layers.push(layer);
    }
    assert_eq!(host.run(spec).await?, (0, "120\n".to_owned()));
    host.leaves_nothing().await
}

#[tokio::test]
async fn many_at_once_do_not_disturb_each_other() -> Result {
    let host = Host::new()?;
    let runs =
        (0..12).map(|number| host.run(host.spec(&format!("c{number}"), &format!("echo {number}; exit {number}"))));
    for (number, result) in futures::future::join_all(runs).await.into_iter().enumerate() {
        assert_eq!(result?, (i32::try_from(number)?, format!("{number}\n")));
    }
    host.leaves_nothing().await
}

/// Memory that no other process shares, as if none of the shim's program were.
fn private_kib(rollup: &str) -> u64 {
    let lines = rollup.lines().filter(|line| line.starts_with("Private_"));
    lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

#[tokio::test]
async fn a_shim_is_small() -> Result {
    let host = Host::new()?;
    let info = host.runtime.start(host.spec("c", "echo ready; sleep 1000")).await?;
    host.logged("c", "ready").await?;
    let path = format!("/proc/{}/smaps_rollup", info.shim_pid);
    let mut rollup = std::fs::read_to_string(&path)?;
    // It gives back what starting took once it is idle.
    for _ in 0..200 {
        if private_kib(&rollup) < 4096 {
            return host.leaves_nothing().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        rollup = std::fs::read_to_string(&path)?;
    }
    panic!("a shim has {} KiB of its own:\n{rollup}", private_kib(&rollup));
}
