//! What the first process makes of an image's root, whatever the image holds.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use runtime::container::{MountSpec, UserIds};

use crate::host::{Host, Result, problem};

#[tokio::test]
async fn links_of_an_image_lead_no_mount_out() -> Result {
    let host = Host::new()?;
    let outside = host.root.join("outside");
    std::fs::create_dir(&outside)?;
    let volume = host.root.join("volume");
    std::fs::create_dir(&volume)?;
    std::fs::write(volume.join("file"), "from the volume\n")?;
    let layer = host.root.join("hostile");
    std::fs::create_dir_all(layer.join("etc"))?;
    symlink(&outside, layer.join("absolute"))?;
    // The link leads somewhere inside, too.
    std::fs::create_dir_all(layer.join(outside.strip_prefix("/")?))?;
    symlink("../../../../../../..", layer.join("up"))?;
    symlink("../run/none/such", layer.join("etc/resolv.conf"))?;
    let inside = outside.display().to_string();
    let mut spec =
        host.root_spec("c", &format!("cat {inside}/x/file /y{inside}/file /etc/resolv.conf; ls /etc | grep passwd"));
    spec.layers.push(layer.clone());
    spec.mounts.push(MountSpec::bind(&volume, "/absolute/x", true));
    spec.mounts.push(MountSpec::bind(&volume, format!("/up/y{inside}"), true));
    spec.mounts.push(MountSpec::bind(volume.join("file"), "/etc/resolv.conf", true));
    let (code, log) = host.run(spec).await?;
    assert_eq!((code, log.matches("from the volume\n").count()), (0, 3), "{log}");
    assert!(log.ends_with("passwd\n"), "{log}");
    assert_eq!(std::fs::read_dir(&outside)?.count(), 0, "nothing was made on the host");

    // Links in the place of the kernel's own directories are no places to mount on.
    for (number, name) in ["proc", "dev", "sys"].into_iter().enumerate() {
        let layer = host.root.join(format!("link-{name}"));
        std::fs::create_dir_all(&layer)?;
        symlink("etc", layer.join(name))?;
        let mut spec = host.root_spec(&format!("k{number}"), "true");
        // A file or link hides the directory of the layer below.
        spec.layers.push(layer);
        let text = problem(host.runtime.start(spec).await);
        assert!(text.contains(&format!("/{name}")), "{text}");
    }
    host.leaves_nothing().await
}

#[tokio::test]
async fn nothing_of_the_host_is_mounted() -> Result {
    let host = Host::new()?;
    let (code, log) = host.run(host.root_spec("c", "cat /proc/self/mountinfo; ls -a /")).await?;
    assert_eq!(code, 0, "{log}");
    let (mounts, names): (Vec<&str>, Vec<&str>) = log.lines().partition(|line| line.contains(" - "));
    let places: BTreeSet<&str> = mounts.iter().filter_map(|line| line.split(' ').nth(4)).collect();
    let kernel = ["/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"];
    for place in kernel {
        assert!(places.contains(place), "{place} is missing: {log}");
    }
    let masked = |place: &str| place.starts_with("/proc/") || place.starts_with("/sys/");
    let strange: Vec<_> = places.iter().filter(|place| !kernel.contains(place) && !masked(place)).collect();
    assert!(strange.is_empty(), "{strange:?}");
    assert!(mounts.iter().all(|line| !line.contains("shared:") && !line.contains("master:")), "{log}");
    let expected = ["etc", "bin", "dev", "proc", "root", "sys", "tmp", ".", ".."];
    assert_eq!(names.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from(expected));
    host.leaves_nothing().await
}

#[tokio::test]
async fn kernel_interfaces_are_hidden_or_read_only() -> Result {
    let host = Host::new()?;
    let script = "cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c; \
                  ls /proc/acpi /proc/scsi /sys/firmware 2>/dev/null | grep -v : | grep -c .; \
                  (echo h > /proc/sysrq-trigger) 2>&1; (echo 1 > /proc/irq/default_smp_affinity) 2>&1; \
                  touch /proc/acpi/x 2>&1; echo over";
    let (_, log) = host.run(host.root_spec("c", script)).await?;
    assert!(log.starts_with("0\n0\n"), "{log}");
    assert!(log.matches("Read-only file system").count() >= 2, "{log}");
    host.leaves_nothing().await
}

#[tokio::test]
async fn devices_are_the_usual_ones_and_no_others_work() -> Result {
    let host = Host::new()?;
    let volume = host.root.join("volume");
    std::fs::create_dir(&volume)?;
    let all = Mode::from_bits_truncate(0o666);
    for place in [volume.join("node"), host.layer.join("node")] {
        mknod(&place, SFlag::S_IFCHR, all, makedev(1, 5))?;
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o666))?;
    }
    let script = "ls /dev; echo; ls -l /dev/null /dev/tty | cut -c1-10; head -c 3 /dev/zero | wc -c; \
                  echo lost > /dev/null; head -c 1 /volume/node; head -c 1 /node; \
                  busybox mknod /dev/mem c 1 1; ls -l /dev/fd/ > /dev/null && echo over";
    for user in [UserIds::ROOT, UserIds::default()] {
        let mut spec = host.spec(&format!("c{}", user.uid), script);
        spec.user = user;
        spec.mounts.push(MountSpec::bind(&volume, "/volume", false));
        let (_, log) = host.run(spec).await?;
        let (names, rest) = log.split_once("\n\n").ok_or("no list")?;
        let names: BTreeSet<&str> = names.lines().collect();
        let usual = [
            "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
            "urandom", "zero",
        ];
        assert_eq!(names, BTreeSet::from(usual));
        assert!(rest.contains("crw-rw-rw-\ncrw-rw-rw-\n3\n"), "{rest}");
        assert_eq!(rest.matches("node: Permission denied").count(), 2, "{rest}");
        assert!(rest.contains("/dev/mem: "), "{rest}");
        assert!(rest.contains("over\n"), "{rest}");
    }
    host.leaves_nothing().await
}

#[tokio::test]
async fn capabilities_that_are_kept_are_kept_and_no_others() -> Result {
    let host = Host::new()?;
    for user in [UserIds::ROOT, UserIds::default()] {
        let mut spec = host.spec(&format!("c{}", user.uid), "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status");
        spec.user = user;
        spec.privileged = true;
        spec.capabilities = vec!["CAP_NET_RAW".into(), "CAP_NET_BIND_SERVICE".into()];
        let (_, log) = host.run(spec).await?;
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert!(log.contains(&format!("{set}:\t0000000000002400")), "{log}");
        }
        assert!(log.contains("NoNewPrivs:\t1") && log.contains("Seccomp:\t2"), "{log}");
    }
    host.leaves_nothing().await
}

#[tokio::test]
async fn streams_belong_to_the_user_and_nothing_else_is_inherited() -> Result {
    let host = Host::new()?;
    let script = "echo again > /dev/stdout; echo wrong > /dev/stderr; ls /proc/self/fd; umask; id -G";
    let mut spec = host.spec("c", script);
    spec.user = UserIds { uid: 1234, gid: 1235, groups: vec![1236] };
    let (_, log) = host.run(spec).await?;
    assert!(log.contains("again\n") && log.contains("wrong\n"), "{log}");
    // 0 to 2 and the one by which ls lists.
    assert!(log.contains("0\n1\n2\n3\n0022\n1235 1236\n"), "{log}");
    host.leaves_nothing().await
}

#[tokio::test]
async fn no_core_is_dumped() -> Result {
    let host = Host::new()?;
    let script = "ulimit -c; ulimit -c unlimited 2>/dev/null; ulimit -c; echo ready; sleep 1000";
    host.runtime.start(host.spec("c", script)).await?;
    host.logged("c", "ready").await?;
    assert_eq!(host.log("c").await?, "0\n0\nready\n");
    let exec = runtime::container::ExecSpec::new(["sh", "-c", "ulimit -c"].map(str::to_owned).to_vec());
    assert_eq!(host.runtime.exec("c", exec).await?.output(64).await?.stdout, b"0\n");
    host.leaves_nothing().await
}

#[tokio::test]
async fn limits_are_written_before_the_program_runs() -> Result {
    let host = Host::new()?;
    let mut spec = host.spec("c", "ulimit -n; cat /proc/self/oom_score_adj; sleep 1000");
    spec.resources.memory_bytes = Some(32 << 20);
    spec.resources.cpu_millis = Some(250);
    spec.resources.cpu_shares = Some(512);
    spec.resources.pids = Some(12);
    spec.resources.open_files = Some(99);
    spec.resources.oom_score_adj = Some(321);
    spec.cgroup_parent = Some("pod1".into());
    let info = host.runtime.start(spec).await?;
    host.logged("c", "321\n").await?;
    assert!(host.log("c").await?.starts_with("99\n"));
    let value = |v1: &str, v2: &str| {
        let name = &host.config.cgroup_root;
        let controller = v1.split('.').next().unwrap_or_default();
        let files =
            [format!("/sys/fs/cgroup/{controller}/{name}/pod1/c/{v1}"), format!("/sys/fs/cgroup/{name}/pod1/c/{v2}")];
        files.iter().find_map(|file| std::fs::read_to_string(file).ok()).map(|text| text.trim().to_owned())
    };
    assert_eq!(value("memory.limit_in_bytes", "memory.max").as_deref(), Some("33554432"));
    assert_eq!(value("pids.max", "pids.max").as_deref(), Some("12"));
    let quota = value("cpu.cfs_quota_us", "cpu.max").ok_or("no quota")?;
    assert_eq!(quota.split(' ').next(), Some("25000"));
    let weight = value("cpu.shares", "cpu.weight").ok_or("no weight")?;
    assert!(["512", "20"].contains(&weight.as_str()), "{weight}");
    let pids = ["pids", ""].map(|at| format!("/sys/fs/cgroup/{at}/{}/pod1/c/cgroup.procs", host.config.cgroup_root));
    let listed = pids.iter().find_map(|file| std::fs::read_to_string(file).ok()).ok_or("no cgroup")?;
    assert!(listed.lines().any(|pid| pid == info.pid.to_string()), "{listed}");
    host.leaves_nothing().await
}
