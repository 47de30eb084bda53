//! Names that a container chooses and that lead to the host: the working directory, the program, the first line of a
//! script, `/etc/passwd`.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use runtime::container::{ExecSpec, MountSpec, Runtime, RuntimeConfig};

use crate::host::{Host, Result, example, problem};

/// Numbers of descriptors that are tried: those of the shim and of its children lie below.
const NUMBERS: std::ops::Range<u32> = 0..80;
/// From a control group's directory, or any other of the host's, to its root.
const UP: &str = "../../../../../../../..";

async fn sleeping(host: &Host) -> Result {
    host.runtime.start(host.root_spec("c", "echo ready; sleep 1000")).await?;
    host.logged("c", "ready").await
}

/// Places in which the kernel's own links stand for open files and directories of processes.
fn doors() -> Vec<String> {
    let own = NUMBERS.map(|number| format!("/proc/self/fd/{number}"));
    let others = ["/proc/self/cwd", "/proc/self/root", "/proc/1/cwd", "/proc/1/root", "/proc/thread-self/cwd"];
    own.chain(others.map(str::to_owned)).collect()
}

async fn run_in(host: &Host, script: &str) -> Result<String> {
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    let capture = host.runtime.exec("c", ExecSpec::new(argv)).await?.output(1 << 16).await?;
    assert_eq!(capture.exit.code, 0, "{}", String::from_utf8_lossy(&capture.stderr));
    Ok(String::from_utf8_lossy(&capture.stdout).into_owned())
}

#[tokio::test]
async fn a_working_directory_that_became_a_link_of_the_kernel_is_not_entered() -> Result {
    let host = Host::new()?;
    sleeping(&host).await?;
    for door in doors() {
        run_in(&host, &format!("rm -f /place; ln -s {door} /place")).await?;
        for cwd in ["/place", "/place/etc"] {
            let mut spec = ExecSpec::new(["sh", "-c", "pwd"].map(str::to_owned).to_vec());
            spec.cwd = Some(cwd.into());
            let text = problem(host.runtime.exec("c", spec).await);
            assert!(text.contains("working directory /place"), "{door}: {text}");
        }
    }
    // Links that lead somewhere inside are the image's own business.
    run_in(&host, "rm -f /place; mkdir -p /real/sub; ln -s ../../../real /place").await?;
    let mut spec = ExecSpec::new(["sh", "-c", "/bin/busybox pwd -P"].map(str::to_owned).to_vec());
    spec.cwd = Some("/place/sub".into());
    let capture = host.runtime.exec("c", spec).await?.output(1 << 16).await?;
    assert_eq!(String::from_utf8_lossy(&capture.stdout), "/real/sub\n");
    host.leaves_nothing().await
}

#[tokio::test]
async fn an_image_whose_working_directory_is_a_link_of_the_kernel_does_not_start() -> Result {
    let host = Host::new()?;
    for (number, door) in doors().into_iter().enumerate().filter(|(number, _)| number % 4 == 3 || *number > 79) {
        let layer = host.root.join(format!("door{number}"));
        std::fs::create_dir(&layer)?;
        symlink(&door, layer.join("place"))?;
        let mut spec = host.root_spec(&format!("c{number}"), "pwd");
        spec.layers.push(layer);
        spec.cwd = "/place".into();
        let text = problem(host.runtime.start(spec).await);
        assert!(text.contains("working directory /place"), "{door}: {text}");
    }
    host.leaves_nothing().await
}

#[tokio::test]
async fn a_volume_is_not_mounted_in_proc_by_way_of_a_link_of_the_image() -> Result {
    let host = Host::new()?;
    let (layer, volume) = (host.root.join("links"), host.root.join("volume"));
    std::fs::create_dir(&layer)?;
    std::fs::create_dir(&volume)?;
    for (number, (link, target)) in [("/proc/sys", "/place"), ("/proc", "/place/self/attr")].into_iter().enumerate() {
        let layer = layer.join(number.to_string());
        std::fs::create_dir(&layer)?;
        symlink(link, layer.join("place"))?;
        let mut spec = host.root_spec(&format!("c{number}"), "true");
        spec.layers.push(layer);
        spec.mounts.push(MountSpec::bind(&volume, target, false));
        let text = problem(host.runtime.start(spec).await);
        assert!(text.contains(target) && text.contains("leads into /proc"), "{text}");
    }
    host.leaves_nothing().await
}

/// A program of the host by way of each door. It is in no container: only its own path names it, and that is the host's.
fn programs(host: &Host) -> Vec<String> {
    let program = host.layer.join("bin/busybox");
    doors().into_iter().map(|door| format!("{door}/{UP}{}", program.display())).collect()
}

/// Whether a program was not even looked for beyond the link, or there is nothing that the link could lead to.
fn is_refused(problem: &str) -> bool {
    ["a link of the kernel", "does not exist in the container"].iter().any(|reason| problem.contains(reason))
}

#[tokio::test]
async fn a_program_of_the_host_is_not_executed_by_way_of_a_descriptor() -> Result {
    let host = Host::new()?;
    sleeping(&host).await?;
    for (number, name) in programs(&host).into_iter().enumerate() {
        let argv = vec![name.clone(), "echo".to_owned(), "out".to_owned()];
        let text = problem(host.runtime.exec("c", ExecSpec::new(argv.clone())).await);
        assert!(is_refused(&text), "{name}: {text}");
        // The streams are open in any case.
        assert!(number > 2 || text.contains("a link of the kernel"), "{name}: {text}");
        if number % 8 == 3 || number > 79 {
            let mut spec = host.root_spec(&format!("c{number}"), "");
            spec.argv = argv;
            let text = problem(host.runtime.start(spec).await);
            assert!(is_refused(&text), "{name}: {text}");
        }
    }
    // A link of the image to such a place, found in PATH or by name.
    run_in(&host, "ln -s /proc/self/exe /bin/own; ln -s /proc/self/exe /own").await?;
    for name in ["own", "/own", "/proc/self/exe"] {
        let text = problem(host.runtime.exec("c", ExecSpec::new(vec![name.to_owned()])).await);
        assert!(text.contains("a link of the kernel") || text.contains("PATH"), "{name}: {text}");
    }
    host.leaves_nothing().await
}

#[tokio::test]
async fn the_first_line_of_a_script_reaches_nothing_of_the_host() -> Result {
    let host = Host::new()?;
    sleeping(&host).await?;
    for interpreter in programs(&host) {
        run_in(&host, &format!("printf '#!{interpreter} echo\\n' > /script; chmod 755 /script")).await?;
        let text = problem(host.runtime.exec("c", ExecSpec::new(vec!["/script".to_owned()])).await);
        assert!(text.contains("execute \"/script\""), "{interpreter}: {text}");
    }
    // Others run as ever, under the name they were called by.
    run_in(&host, "printf '#!/bin/sh\\necho $0 $1\\n' > /bin/script; chmod 755 /bin/script").await?;
    for (name, shown) in [("script", "/bin/script x\n"), ("/bin/../bin/script", "/bin/../bin/script x\n")] {
        let argv = [name, "x"].map(str::to_owned).to_vec();
        let capture = host.runtime.exec("c", ExecSpec::new(argv)).await?.output(1 << 16).await?;
        assert_eq!(String::from_utf8_lossy(&capture.stdout), shown);
    }
    host.leaves_nothing().await
}

#[tokio::test]
async fn a_process_on_its_way_holds_no_directory_of_the_host() -> Result {
    let mut host = Host::new()?;
    host.config = RuntimeConfig { shim_exe: example("shim_watched"), ..host.config.clone() };
    host.runtime = Runtime::open(host.config.clone())?;
    sleeping(&host).await?;
    let started = host.log("c").await?;
    let executed = run_in(&host, "true").await?;
    for (way, text) in [("start", started), ("exec", executed)] {
        let targets: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("descriptor "))
            .filter_map(|line| line.split_once(' '))
            .map(|(_, target)| target)
            .collect();
        assert!(targets.len() >= 4, "{way}: streams and the way to tell failures are there: {text}");
        let harmless = |target: &str| target.starts_with("pipe:[") || target == "anon_inode:[pidfd]";
        let device = |target: &str| matches!(target, "/dev/null" | "/null") || target.starts_with("pidfd:");
        // The conversation by which a terminal would be handed over.
        let socket = |target: &str| target.starts_with("socket:[") && way == "exec";
        let strange: Vec<_> = targets.iter().filter(|at| !harmless(at) && !device(at) && !socket(at)).collect();
        assert!(strange.is_empty(), "{way}: {strange:?}");
    }
    host.leaves_nothing().await
}

#[tokio::test]
async fn what_stands_for_the_list_of_users_neither_blocks_nor_fills_memory() -> Result {
    let host = Host::new()?;
    for (number, kind) in ["pipe", "endless", "link", "huge"].into_iter().enumerate() {
        let layer = host.root.join(kind);
        std::fs::create_dir_all(layer.join("etc"))?;
        let passwd = layer.join("etc/passwd");
        match kind {
            "pipe" => nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::from_bits_truncate(0o666))?,
            "endless" => symlink("/dev/zero", &passwd)?,
            "link" => symlink("/proc/self/fd/0", &passwd)?,
            _ => std::fs::File::create(&passwd)?.set_len(1 << 40)?,
        }
        std::fs::set_permissions(&layer, std::fs::Permissions::from_mode(0o755))?;
        let id = format!("c{number}");
        let mut spec = host.spec(&id, "echo ready $HOME; sleep 1000");
        spec.layers.push(layer);
        tokio::time::timeout(Duration::from_secs(20), host.runtime.start(spec)).await??;
        host.logged(&id, "ready /\n").await?;
        let argv = ["sh", "-c", "echo $HOME"].map(str::to_owned).to_vec();
        let session = tokio::time::timeout(Duration::from_secs(20), host.runtime.exec(&id, ExecSpec::new(argv)));
        assert_eq!(session.await??.output(64).await?.stdout, b"/\n", "{kind}");
    }
    host.leaves_nothing().await
}
