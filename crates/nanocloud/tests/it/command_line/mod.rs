//! The command line against a server that takes everything.

mod recorder;

use std::{
    fs::File,
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

use clap::CommandFactory;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use recorder::Recorder;

/// Longest wait for a command to end; reached only when it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A line for each command that sends a request; several where flags decide which.
const SENDING: [&str; 37] = [
    "install web --option a=b --no-wait",
    "uninstall web --no-wait",
    "uninstall web --no-wait --keep-volumes",
    "start web --no-wait",
    "stop web --no-wait",
    "restart web --no-wait",
    "status",
    "status -A",
    "status web",
    "logs web --tail 5",
    "logs web-0",
    "exec web -- sh -c true",
    "events --reason Failed",
    "events --reason Failed,Killing --level warning -A",
    "get pods",
    "get pods -A -l app=web -o name",
    "get pods --field-selector spec.nodeName=a -o json",
    "get pod/web-0 -o yaml",
    "get all",
    "apply -f manifest.json",
    "apply -f manifest.json --server-side --field-manager nix --force-conflicts --dry-run",
    "delete pod a b",
    "delete -f manifest.json",
    "token --user jo",
    "config --token nc1.a.b",
    "ca web",
    "member list",
    "member status",
    "member add",
    "member promote a",
    "member remove a --force",
    "member lead a",
    "keyspace status",
    "keyspace compact --revision 7",
    "keyspace defragment",
    "keyspace alarms",
    "keyspace snapshot save saved",
];

/// The same for commands of this machine. Not one of them may do anything when it is given `--curl`.
const LOCAL: [&str; 15] = [
    "setup",
    "server",
    "teardown --purge",
    "ca",
    "config",
    "config check",
    "keyspace snapshot save file --offline",
    "keyspace snapshot restore file",
    "keyspace snapshot status file",
    "keyspace snapshot verify file",
    "image build folder",
    "image list",
    "cluster check file",
    "cluster schema",
    "completion bash",
];

/// Commands that print and need neither a server nor root.
const PRINTING: [&str; 9] = [
    "--help",
    "--version",
    "get --help",
    "help events",
    "ca",
    "config check",
    "cluster schema",
    "completion zsh",
    "completion fish",
];

fn recorder() -> Recorder {
    let recorder = Recorder::start();
    let manifest = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"it's": "$HOME"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b", "namespace": "other"}}]}"#;
    std::fs::write(recorder.folder().join("manifest.json"), manifest).unwrap();
    recorder
}

fn command(recorder: &Recorder, line: &str) -> Command {
    recorder.command(&line.split(' ').collect::<Vec<_>>())
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn curl_is_given_the_very_requests_that_a_command_sends() {
    let recorder = recorder();
    for line in SENDING.iter().chain(&["version"]) {
        // What it makes of such answers is of no interest here.
        command(&recorder, line).output().unwrap();
        let sent = recorder.take();
        let output = command(&recorder, &format!("--curl {line}")).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}: {}", text(&output));
        assert_eq!(recorder.take(), [], "{line} sends nothing");
        let printed = recorder.printed(&String::from_utf8(output.stdout).unwrap());
        assert!(!printed.is_empty(), "{line}: {sent:?}");
        for request in &printed {
            assert!(sent.contains(request), "{line} prints\n{request:?}\nand sends\n{sent:#?}");
        }
        let changes = |asked: &&recorder::Asked| asked.method != "GET";
        assert!(sent.iter().filter(changes).all(|request| printed.contains(request)), "{line}: {sent:#?}");
    }
}

#[test]
fn a_command_without_a_request_refuses_curl_and_does_nothing() {
    let recorder = recorder();
    for line in LOCAL {
        let output = command(&recorder, &format!("--curl {line}")).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{line}: {}", text(&output));
        assert!(text(&output).contains("--curl: this command sends no request"), "{line}: {}", text(&output));
    }
    assert!(!recorder.folder().join("state").exists());
}

#[test]
fn every_command_has_a_line_here() {
    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        let mut parts = command.get_subcommands().filter(|part| !part.is_hide_set()).peekable();
        if parts.peek().is_none() || command.get_name() == "config" {
            found.push(path.to_owned());
        }
        parts.for_each(|part| leaves(part, format!("{path} {}", part.get_name()).trim(), found));
    }
    let mut found = Vec::new();
    leaves(&cli::Cli::command(), "", &mut found);
    let lines = || SENDING.iter().chain(&LOCAL).chain(&["version"]);
    for path in found {
        assert!(lines().any(|line| *line == path || line.starts_with(&format!("{path} "))), "no line for {path:?}");
    }
}

#[test]
fn a_reader_that_went_away_ends_a_command_quietly() {
    let recorder = recorder();
    for line in SENDING.iter().chain(&PRINTING).chain(&["version", "version --curl", "get pods --curl"]) {
        // Of these the server's answers are good enough to come to an output.
        if line.contains("snapshot") || line.starts_with("member add") || line.starts_with("config --token") {
            continue;
        }
        let (read, write) = std::io::pipe().unwrap();
        drop(read);
        let output = command(&recorder, line).stdout(write).output().unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(0), "{line}: {said}");
        assert!(!said.contains("panicked") && !said.contains("error:"), "{line}: {said}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let recorder = recorder();
    for line in ["get pods", "status", "logs web", "exec web -- x", "events", "version", "get pods --curl"]
        .iter()
        .chain(&PRINTING)
    {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = command(&recorder, line).stdout(full).output().unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(said.contains("cannot write to standard output") && said.contains("remedy:"), "{line}: {said}");
    }
}

/// Waits until a command ends; one that hangs is killed.
fn end(mut child: Child) -> ExitStatus {
    let (ended, wait) = mpsc::channel();
    let pid = Pid::from_raw(child.id().cast_signed());
    std::thread::spawn(move || ended.send(child.wait().unwrap()));
    wait.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        kill(pid, Signal::SIGKILL).unwrap();
        panic!("the command did not end")
    })
}

#[test]
fn what_follows_ends_with_its_reader_and_with_ctrl_c() {
    let recorder = recorder();
    for line in ["logs web -f", "get pods -w", "get pods -w -o name", "events -f", "events -f -o yaml"] {
        let follow = || {
            let mut child = command(&recorder, line).stdout(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap());
            lines.read_line(&mut String::new()).unwrap();
            (child, lines)
        };
        let (child, lines) = follow();
        drop(lines);
        assert_eq!(end(child).code(), Some(0), "{line}");

        let (child, _lines) = follow();
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
        assert_eq!(end(child).code(), Some(130), "{line}");
    }
}
