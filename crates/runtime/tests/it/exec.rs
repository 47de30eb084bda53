//! Programs executed in running containers.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use runtime::container::{ExecSpec, OUTPUT_AFTER_END, StdinMode, TermSize, UserIds};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::host::{Host, Result, problem};

fn shell(script: &str) -> ExecSpec {
    ExecSpec::new(["sh", "-c", script].map(str::to_owned).to_vec())
}

async fn sleeping() -> Result<Host> {
    let host = Host::new()?;
    let mut spec = host.spec("c", "echo ready; sleep 1000");
    spec.env.push(("OWN".into(), "from the container".into()));
    host.runtime.start(spec).await?;
    host.logged("c", "ready").await?;
    Ok(host)
}

#[tokio::test]
async fn streams_codes_and_signals_are_the_programs() -> Result {
    let host = sleeping().await?;
    let capture = host.runtime.exec("c", shell("echo out; echo err >&2; exit 7")).await?.output(1 << 16).await?;
    assert_eq!((capture.exit.code, capture.exit.signal, capture.exit.timed_out), (7, None, false));
    assert_eq!((capture.stdout.as_slice(), capture.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    let capture = host.runtime.exec("c", shell("kill -SEGV $$")).await?.output(1 << 16).await?;
    assert_eq!((capture.exit.code, capture.exit.signal), (139, Some(11)));
    let mut spec = shell("cat");
    spec.stdin = StdinMode::Pipe;
    let mut session = host.runtime.exec("c", spec).await?;
    let mut stdin = session.stdin.take().ok_or("no stdin")?;
    let sent = vec![b'x'; 1 << 20];
    let writing = sent.clone();
    let write = tokio::spawn(async move { stdin.write_all(&writing).await });
    let capture = session.output(2 << 20).await?;
    write.await??;
    assert_eq!(capture.stdout, sent);
    assert_eq!(capture.exit.code, 0);
    host.leaves_nothing().await
}

#[tokio::test]
async fn environment_directory_user_and_descriptors_are_as_asked() -> Result {
    let host = sleeping().await?;
    let capture = host.runtime.exec("c", shell("echo $OWN; echo $HOME")).await?.output(1 << 16).await?;
    assert_eq!(String::from_utf8_lossy(&capture.stdout), "from the container\n/tmp\n");
    let mut memory = File::from(memfd_create(c"values", MFdFlags::empty())?);
    memory.write_all(b"password=hunter2\n")?;
    memory.rewind()?;
    let mut spec = ExecSpec::new(
        ["/bin/sh", "-c", "env | /bin/busybox sort; cat <&3; pwd; id; ls /proc/self/fd"].map(str::to_owned).to_vec(),
    );
    spec.inherit_env = false;
    spec.env = vec![("PATH".into(), "/bin".into()), ("LANG".into(), "C".into())];
    spec.cwd = Some("/etc".into());
    spec.user = Some(UserIds { uid: 1234, gid: 1235, groups: vec![1236] });
    spec.extra_fds = vec![OwnedFd::from(memory)];
    let capture = host.runtime.exec("c", spec).await?.output(1 << 16).await?;
    let text = String::from_utf8_lossy(&capture.stdout).into_owned();
    assert!(text.starts_with("LANG=C\n"), "{text}");
    assert!(!text.contains("OWN"), "{text}");
    assert!(text.contains("password=hunter2\n/etc\nuid=1234 gid=1235 groups=1236\n"), "{text}");
    // 0 to 3 and the one by which ls lists.
    assert!(text.ends_with("0\n1\n2\n3\n4\n"), "no further descriptor is inherited: {text}");
    host.leaves_nothing().await
}

#[tokio::test]
async fn terminals_have_a_size_that_can_change() -> Result {
    let host = sleeping().await?;
    let mut spec = shell("tty; stty size; read line; stty size; echo got $line; exit 3");
    spec.tty = Some(TermSize { rows: 24, columns: 80 });
    let mut session = host.runtime.exec("c", spec).await?;
    assert!(session.stderr.is_none());
    let mut seen = String::new();
    let mut buffer = [0; 1024];
    while !seen.contains("24 80") {
        let read = session.stdout.read(&mut buffer).await?;
        assert_ne!(read, 0, "{seen}");
        seen += &String::from_utf8_lossy(&buffer[..read]);
    }
    assert!(seen.contains("/dev/pts/"), "{seen}");
    session.control.resize(TermSize { rows: 50, columns: 132 })?;
    session.stdin.as_mut().ok_or("no stdin")?.write_all(b"hello\n").await?;
    session.stdout.read_to_string(&mut seen).await?;
    assert!(seen.contains("50 132") && seen.contains("got hello"), "{seen}");
    assert_eq!(session.control.wait().await?.code, 3);
    host.leaves_nothing().await
}

#[tokio::test]
async fn time_limits_hangups_and_ends_kill() -> Result {
    let host = sleeping().await?;
    let mut spec = shell("sleep 1000 & sleep 1000");
    spec.timeout = Some(Duration::from_millis(50));
    let exit = host.runtime.exec("c", spec).await?.control.wait().await?;
    assert_eq!((exit.code, exit.timed_out), (137, true));
    let mut session = host.runtime.exec("c", shell("echo up; sleep 1000 & wait")).await?;
    let mut line = [0; 3];
    session.stdout.read_exact(&mut line).await?;
    let mut stdout = session.stdout;
    drop(session.control);
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).await?;
    assert!(rest.is_empty(), "hanging up killed the whole group, or this would not end");
    let session = host.runtime.exec("c", shell("trap '' TERM; sleep 1000")).await?;
    host.runtime.stop("c", libc::SIGKILL, Duration::ZERO).await?;
    assert_eq!(session.control.wait().await?.code, 137, "it ends with its container");
    host.leaves_nothing().await
}

#[tokio::test]
async fn what_is_left_in_the_background_is_not_waited_for() -> Result {
    let host = sleeping().await?;
    let run = host.runtime.exec("c", shell("sleep 1000 & echo out; exit 3")).await?.output(1 << 16);
    let capture = tokio::time::timeout(Duration::from_secs(10), run).await??;
    assert_eq!((capture.exit.code, capture.stdout.as_slice()), (3, &b"out\n"[..]));
    // What was written in time is read in full, however late.
    let mut session = host.runtime.exec("c", shell("sleep 1000 & dd if=/dev/zero bs=60000 count=1 2>&1")).await?;
    assert_eq!(session.control.wait().await?.code, 0);
    tokio::time::sleep(2 * OUTPUT_AFTER_END).await;
    let mut all = Vec::new();
    session.stdout.read_to_end(&mut all).await?;
    assert_eq!(all.iter().filter(|byte| **byte == 0).count(), 60_000);
    host.leaves_nothing().await
}

#[tokio::test]
async fn what_cannot_be_executed_says_why() -> Result {
    let host = sleeping().await?;
    let text = problem(host.runtime.exec("c", ExecSpec::new(vec!["nope".into()])).await);
    assert!(text.contains("nope") && text.contains("PATH"), "{text}");
    let mut spec = shell("true");
    spec.cwd = Some("/no/where".into());
    let text = problem(host.runtime.exec("c", spec).await);
    assert!(text.contains("/no/where"), "{text}");
    let text = problem(host.runtime.exec("other", shell("true")).await);
    assert!(text.contains("no container other"), "{text}");
    host.runtime.stop("c", libc::SIGKILL, Duration::ZERO).await?;
    let text = problem(host.runtime.exec("c", shell("true")).await);
    assert!(text.contains("not running"), "{text}");
    host.leaves_nothing().await
}

#[tokio::test]
async fn attaching_shows_output_and_takes_input() -> Result {
    let host = Host::new()?;
    let mut spec = host.spec("c", "while read line; do echo heard $line; done; echo over");
    spec.stdin = true;
    host.runtime.start(spec).await?;
    let mut attached = host.runtime.attach("c", true).await?;
    attached.stdin.as_mut().ok_or("no stdin")?.write_all(b"one\n").await?;
    let mut buffer = [0; 64];
    let read = attached.stdout.read(&mut buffer).await?;
    assert_eq!(&buffer[..read], b"heard one\n");
    drop(attached);
    let mut again = host.runtime.attach("c", false).await?;
    host.runtime.close_stdin("c").await?;
    let read = again.stdout.read(&mut buffer).await?;
    assert_eq!(&buffer[..read], b"over\n");
    assert_eq!(host.runtime.wait("c").await?.code, 0);
    assert_eq!(host.log("c").await?, "heard one\nover\n");
    host.leaves_nothing().await
}

#[tokio::test]
async fn the_end_of_the_input_comes_after_all_of_it() -> Result {
    let host = Host::new()?;
    // More than a pipe takes at once waits for the program, which reads byte by byte at first.
    let mut spec = host.spec("c", "read first; echo $first; wc -c");
    spec.stdin = true;
    host.runtime.start(spec).await?;
    let mut attached = host.runtime.attach("c", true).await?;
    let mut stdin = attached.stdin.take().ok_or("no stdin")?;
    stdin.write_all(b"go\n").await?;
    stdin.write_all(&vec![b'x'; 50_000]).await?;
    drop(stdin);
    host.runtime.close_stdin("c").await?;
    assert_eq!(host.runtime.wait("c").await?.code, 0);
    assert_eq!(host.log("c").await?, "go\n50000\n");
    host.leaves_nothing().await
}

#[tokio::test]
async fn a_container_can_have_a_terminal() -> Result {
    let host = Host::new()?;
    let mut spec = host.spec("c", "tty; read line; stty size; echo $line; exit 4");
    spec.tty = true;
    host.runtime.start(spec).await?;
    host.logged("c", "/dev/").await?;
    host.runtime.resize("c", TermSize { rows: 33, columns: 44 }).await?;
    let mut attached = host.runtime.attach("c", true).await?;
    attached.stdin.as_mut().ok_or("no stdin")?.write_all(b"typed\n").await?;
    assert_eq!(host.runtime.wait("c").await?.code, 4);
    let log = host.log("c").await?;
    assert!(log.contains("33 44") && log.contains("typed"), "{log}");
    host.leaves_nothing().await
}
