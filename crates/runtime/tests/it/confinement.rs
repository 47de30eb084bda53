//! What a program in a container can and cannot do.

use runtime::container::{ExecSpec, MountSpec, Namespace, SeccompProfile, UserIds};

use crate::host::{Host, Result, problem};

/// Lines of `/proc/self/status` that tell of privileges.
const STATUS: &str = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status";

fn assert_powerless(status: &str) {
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(status.contains(&format!("{set}:\t0000000000000000")), "{status}");
    }
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    assert!(status.contains("Seccomp:\t2"), "{status}");
}

#[tokio::test]
async fn first_and_executed_programs_have_no_power() -> Result {
    let host = Host::new()?;
    for user in [UserIds::ROOT, UserIds::default()] {
        let id = format!("c{}", user.uid);
        let mut spec = host.spec(&id, &format!("{STATUS}; id; echo ready; sleep 1000"));
        spec.user = user.clone();
        host.runtime.start(spec).await?;
        host.logged(&id, "ready").await?;
        let log = host.log(&id).await?;
        assert_powerless(&log);
        assert!(log.contains(&format!("uid={}", user.uid)), "{log}");
        let script = format!("{STATUS}; id; readlink /proc/self/ns/pid; cat /proc/self/cgroup");
        let exec = ExecSpec::new(["sh", "-c", &script].map(str::to_owned).to_vec());
        let capture = host.runtime.exec(&id, exec).await?.output(1 << 20).await?;
        let text = String::from_utf8_lossy(&capture.stdout).into_owned();
        assert_powerless(&text);
        assert!(text.contains(&format!("uid={}", user.uid)), "{text}");
    }
    host.leaves_nothing().await
}

#[tokio::test]
async fn executed_programs_share_every_namespace_and_cgroup() -> Result {
    let host = Host::new()?;
    let info = host.runtime.start(host.root_spec("c", "echo ready; sleep 1000")).await?;
    host.logged("c", "ready").await?;
    let exec = ExecSpec::new(["sleep", "1000"].map(str::to_owned).to_vec());
    let session = host.runtime.exec("c", exec).await?;
    let inside = pids_of(&host.config.cgroup_root)?;
    let executed = inside.iter().find(|pid| **pid != info.pid && comm(**pid).as_deref() == Some("sleep"));
    let children = inside.iter().filter(|pid| comm(**pid).as_deref() == Some("sleep")).count();
    assert_eq!(children, 2, "the shell's sleep and the executed one are in the cgroup: {inside:?}");
    let executed = executed.ok_or("the executed program is not in the cgroup")?;
    for namespace in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let of = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/{namespace}"));
        assert_eq!(of(info.pid)?, of(*executed)?, "{namespace}");
        assert_ne!(of(info.pid)?, std::fs::read_link(format!("/proc/self/ns/{namespace}"))?, "{namespace}");
    }
    drop(session);
    host.leaves_nothing().await
}

fn pids_of(cgroup_root: &str) -> Result<Vec<i32>> {
    let mounts = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"];
    let group = mounts.iter().map(|mount| std::path::Path::new(mount).join(cgroup_root).join("c"));
    let file = group.map(|group| group.join("cgroup.procs")).find(|file| file.exists()).ok_or("no cgroup")?;
    Ok(std::fs::read_to_string(file)?.lines().filter_map(|line| line.parse().ok()).collect())
}

fn comm(pid: i32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned())
}

#[tokio::test]
async fn forbidden_system_calls_fail() -> Result {
    let host = Host::new()?;
    let script = "unshare -U true; echo $?; mount -t tmpfs x /tmp; echo $?; hostname other; echo $?; \
                  echo 1 > /proc/sys/kernel/hostname; echo $?; ls /sys/fs/cgroup | wc -l; touch /sys/x; echo $?";
    let (code, log) = host.run(host.root_spec("c", script)).await?;
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("unshare"), "{log}");
    assert!(log.matches("Operation not permitted").count() >= 2, "{log}");
    assert!(!log.contains("\n0\nmount"), "{log}");
    assert_eq!(log.matches("Read-only file system").count(), 2, "proc/sys and sys are read-only: {log}");
    host.leaves_nothing().await
}

#[tokio::test]
async fn a_profile_of_ones_own_is_applied_to_both() -> Result {
    let host = Host::new()?;
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW",
        "syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":13}]}"#;
    let mut spec = host.spec("c", "busybox mkdir /tmp/a; echo ready; sleep 1000");
    spec.seccomp = SeccompProfile::Localhost(profile.to_owned());
    host.runtime.start(spec).await?;
    host.logged("c", "ready").await?;
    assert!(host.log("c").await?.contains("Permission denied"));
    let exec = ExecSpec::new(["busybox", "mkdir", "/tmp/b"].map(str::to_owned).to_vec());
    let capture = host.runtime.exec("c", exec).await?.output(1 << 16).await?;
    assert_eq!(capture.exit.code, 1);
    assert!(String::from_utf8_lossy(&capture.stderr).contains("Permission denied"));
    host.leaves_nothing().await
}

#[tokio::test]
async fn memory_limit_bites_and_is_told() -> Result {
    let host = Host::new()?;
    let mut spec = host.spec("c", "busybox tail /dev/zero");
    spec.argv = ["busybox", "tail", "/dev/zero"].map(str::to_owned).to_vec();
    spec.resources.memory_bytes = Some(24 << 20);
    host.runtime.start(spec).await?;
    let exit = host.runtime.wait("c").await?;
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (137, Some(9), true));
    assert!(host.runtime.stats("c").await?.oom_kills > 0);
    host.leaves_nothing().await
}

#[tokio::test]
async fn a_child_that_was_out_of_memory_says_nothing_of_its_parents_end() -> Result {
    let host = Host::new()?;
    let eaten = "(busybox tail /dev/zero); echo eaten";
    for (id, script, signal, code) in [
        ("well", format!("{eaten}; exit 0"), None, 0),
        ("asked", format!("trap 'exit 143' TERM; {eaten}; while true; do sleep 0.01; done"), Some(libc::SIGTERM), 143),
        ("killed", format!("{eaten}; sleep 1000"), Some(libc::SIGKILL), 137),
    ] {
        let mut spec = host.spec(id, &script);
        spec.resources.memory_bytes = Some(24 << 20);
        host.runtime.start(spec).await?;
        host.logged(id, "eaten").await?;
        if let Some(signal) = signal {
            host.runtime.signal(id, signal)?;
        }
        let exit = host.runtime.wait(id).await?;
        assert_eq!((exit.code, exit.oom_killed), (code, false), "{id}");
        assert!(host.runtime.stats(id).await?.oom_kills > 0, "{id}");
    }
    host.leaves_nothing().await
}

#[tokio::test]
async fn pids_limit_bites_and_stats_count() -> Result {
    let host = Host::new()?;
    let mut spec = host.spec("c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; echo unreached");
    spec.resources.pids = Some(5);
    let (code, log) = host.run(spec).await?;
    assert_ne!(code, 0, "{log}");
    assert!(log.contains("fork") && !log.contains("unreached"), "{log}");
    let mut spec = host.spec("s", "sleep 1000 & sleep 1000 & echo ready; wait");
    spec.resources.memory_bytes = Some(64 << 20);
    host.runtime.start(spec).await?;
    host.logged("s", "ready").await?;
    let stats = host.runtime.stats("s").await?;
    assert_eq!(stats.pids, 3, "{stats:?}");
    assert_eq!(stats.memory_limit_bytes, Some(64 << 20));
    assert!(stats.memory_bytes > 0 && stats.cpu_nanos > 0, "{stats:?}");
    host.leaves_nothing().await
}

#[tokio::test]
async fn filesystem_is_as_described() -> Result {
    let host = Host::new()?;
    let volume = host.root.join("volume");
    std::fs::create_dir(&volume)?;
    std::fs::write(volume.join("file"), "from the host\n")?;
    let mut spec = host.root_spec(
        "c",
        "cat /data/file; touch /data/x; touch /x; touch /scratch/y && ls -ld /scratch; cd /w/o/r/k; echo ok",
    );
    spec.mounts.push(MountSpec::bind(&volume, "/data", true));
    spec.mounts.push(MountSpec::Tmpfs { target: "/scratch".into(), size_bytes: 1 << 20, mode: 0o750, uid: 7, gid: 8 });
    spec.read_only_rootfs = true;
    spec.cwd = "/w/o/r/k".into();
    let (_, log) = host.run(spec).await?;
    assert!(log.contains("from the host"), "{log}");
    assert!(log.contains("/data/x: Read-only file system") && log.contains("/x: Read-only file system"), "{log}");
    assert!(log.contains("ok\n"), "{log}");
    assert!(!volume.join("x").exists());
    assert!(!host.layer.join("w").exists(), "the layer is not written to");
    host.leaves_nothing().await
}

#[tokio::test]
async fn namespaces_and_sysctls_are_its_own_and_can_be_shared() -> Result {
    let host = Host::new()?;
    let mut spec = host.root_spec(
        "a",
        "hostname; ip addr show lo; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; echo ready; sleep 1000",
    );
    spec.hostname = Some("inside".into());
    spec.sysctls.insert("net.ipv4.ip_unprivileged_port_start".into(), "80".into());
    let first = host.runtime.start(spec).await?;
    host.logged("a", "ready").await?;
    let log = host.log("a").await?;
    assert!(log.starts_with("inside\n"), "{log}");
    assert!(log.contains("127.0.0.1/8") && log.contains("UP"), "the loopback device is up: {log}");
    assert!(log.contains("\n80\n"), "{log}");
    let mut second = host.root_spec("b", "hostname; readlink /proc/self/ns/net; kill -0 1 && echo sees");
    let shared = |kind: &str| Namespace::Path(format!("/proc/{}/ns/{kind}", first.pid).into());
    second.namespaces.network = shared("net");
    second.namespaces.uts = shared("uts");
    second.namespaces.ipc = shared("ipc");
    second.namespaces.pid = shared("pid");
    let (code, log) = host.run(second).await?;
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("inside") && log.contains("sees"), "{log}");
    let net = std::fs::read_link(format!("/proc/{}/ns/net", first.pid))?;
    assert!(log.contains(&net.display().to_string()), "{log}");
    host.leaves_nothing().await
}

#[tokio::test]
async fn what_cannot_start_says_why_and_leaves_nothing() -> Result {
    let host = Host::new()?;
    let mut spec = host.spec("c", "true");
    spec.argv = vec!["no-such-program".into()];
    let text = problem(host.runtime.start(spec.clone()).await);
    assert!(text.contains("no-such-program") && text.contains("PATH"), "{text}");
    spec.argv = vec!["/etc/passwd".into()];
    let text = problem(host.runtime.start(spec.clone()).await);
    assert!(text.contains("may not be executed"), "{text}");
    std::fs::write(host.layer.join("bin/broken"), "\0\0garbage")?;
    std::fs::set_permissions(host.layer.join("bin/broken"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    spec.argv = vec!["broken".into()];
    let text = problem(host.runtime.start(spec.clone()).await);
    assert!(text.contains("Exec format error"), "{text}");
    spec.layers = vec!["/no/such/layer".into()];
    let text = problem(host.runtime.start(spec).await);
    assert!(text.contains("mount the root filesystem"), "{text}");
    assert!(host.runtime.list().is_empty());
    host.leaves_nothing().await
}

#[tokio::test]
async fn a_profile_that_is_not_there_is_not_gone_without() -> Result {
    let host = Host::new()?;
    host.runtime.start(host.spec("c", "echo ready; sleep 1000")).await?;
    host.logged("c", "ready").await?;
    let mut spec = ExecSpec::new(["echo", "ran"].map(str::to_owned).to_vec());
    spec.apparmor = Some("nanocloud-no-such-profile".into());
    let refused = problem(host.runtime.exec("c", spec).await.map(|_| ()));
    assert!(refused.contains("AppArmor") && refused.contains("nanocloud-no-such-profile"), "{refused}");
    host.leaves_nothing().await
}
