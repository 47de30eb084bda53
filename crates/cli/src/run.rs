//! From the command line to the exit code.

use std::io::ErrorKind;

use clap::CommandFactory;

use crate::{
    args::{Cli, Keyspace, KeyspaceAction, SnapshotAction, Verb},
    connection::Sources,
    context::Context,
    error::{Error, Result},
    exit::Exit,
    note, outln,
    print::{bytes, while_read},
    verbs::{access, apply, cluster, events, exec, get, install, keyspace, lifecycle, logs, member, status, version},
};

/// Runs a command that uses a server, prints its result or error, and returns the exit code.
pub async fn run(cli: Cli, sources: &dyn Sources) -> Exit {
    dispatch(&cli, sources).await.unwrap_or_else(|error| conclude(&error))
}

/// Prints why a command ended, and returns the exit code. A closed pipe is no failure; nor is `--curl`, which prints the
/// request that was not sent.
pub fn conclude(error: &Error) -> Exit {
    match error {
        Error::Output(source) if source.kind() == ErrorKind::BrokenPipe => Exit::Done,
        Error::Request(client::Error::NotSent { command }) => {
            outln!("{command}").map_or_else(|error| conclude(&error), |()| Exit::Done)
        }
        _ => {
            note!("{}", error.report());
            error.exit()
        }
    }
}

/// Rejects `--curl` for commands that send no request.
///
/// # Errors
/// [`Error::Usage`].
pub fn check(cli: &Cli) -> Result<()> {
    let sends = match &cli.verb {
        Verb::Setup(_) | Verb::Server(_) | Verb::Shim { .. } | Verb::Teardown(_) | Verb::Image(_) => false,
        Verb::Cluster(_) | Verb::Completion { .. } | Verb::Manual { .. } => false,
        Verb::Ca(args) => args.common_name.is_some(),
        Verb::Config(args) => args.token.is_some() && args.action.is_none(),
        Verb::Keyspace(Keyspace { action: KeyspaceAction::Snapshot { action } }) => {
            matches!(action, SnapshotAction::Save { offline: false, .. })
        }
        _ => true,
    };
    if cli.global.curl && !sends {
        return Err(Error::usage("--curl", "this command sends no request", "leave --curl out"));
    }
    Ok(())
}

async fn dispatch(cli: &Cli, sources: &dyn Sources) -> Result<Exit> {
    match &cli.verb {
        Verb::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "nanocloud", &mut script);
            return bytes(&script).map(|()| Exit::Done);
        }
        Verb::Manual { directory } => {
            let io = |error| Error::io(format!("write {}", directory.display()), error);
            manual(directory).map_err(io)?;
            return Ok(Exit::Done);
        }
        Verb::Cluster(args) => return cluster::run(args),
        Verb::Version { output } => return version::run(&cli.global, sources, *output).await,
        Verb::Config(args) => return access::config(&cli.global, sources, args).await,
        _ => {}
    }
    let context = Context::open(&cli.global, sources)?;
    match &cli.verb {
        Verb::Install(args) => install::run(&context, args).await,
        Verb::Uninstall(args) => lifecycle::uninstall(&context, args).await,
        Verb::Start(args) => lifecycle::act(&context, args, lifecycle::Action::Start).await,
        Verb::Stop(args) => lifecycle::act(&context, args, lifecycle::Action::Stop).await,
        Verb::Restart(args) => lifecycle::act(&context, args, lifecycle::Action::Restart).await,
        Verb::Status(args) => status::run(&context, args).await,
        Verb::Logs(args) => while_read(logs::run(&context, args)).await,
        Verb::Exec(args) => exec::run(&context, args).await,
        Verb::Events(args) => while_read(events::run(&context, args)).await,
        Verb::Get(args) => while_read(get::run(&context, args)).await,
        Verb::Apply(args) => apply::apply(&context, args).await,
        Verb::Delete(args) => apply::delete(&context, args).await,
        Verb::Token(args) => access::token(&context, args).await,
        Verb::Member(args) => member::run(&context, &args.action).await,
        Verb::Ca(args) => access::ca(&context, args).await,
        Verb::Keyspace(args) => keyspace::run(&context, &args.action).await,
        _ => Err(Error::usage("command", "it runs on this machine and does not use a server", "see nanocloud --help")),
    }
}

/// Writes a manual page for each command into a directory.
fn manual(directory: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(Cli::command(), directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_is_shown_has_a_manual_page() {
        let folder = tempfile::tempdir().unwrap();
        manual(&folder.path().join("pages")).unwrap();
        let page = |name: &str| std::fs::read_to_string(folder.path().join("pages").join(name));
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let text = page(&format!("nanocloud-{}.1", command.get_name())).unwrap();
            assert!(text.contains(".SH NAME"), "{}", command.get_name());
        }
        assert!(page("nanocloud.1").unwrap().contains("Exit codes"));
        assert!(page("nanocloud-shim.1").is_err(), "hidden commands have none");
    }
}
