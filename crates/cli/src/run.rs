//! From the command line to the exit code.

use clap::CommandFactory;

use crate::{
    args::{Cli, Verb},
    connection::Sources,
    context::Context,
    error::{Error, Result},
    exit::Exit,
    verbs::{access, apply, cluster, events, exec, get, install, keyspace, lifecycle, logs, status, version},
};

/// Runs a verb that speaks to a server, prints its answer or its error, and returns how to end.
pub async fn run(cli: Cli, sources: &dyn Sources) -> Exit {
    match dispatch(&cli, sources).await {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("{}", error.report());
            error.exit()
        }
    }
}

async fn dispatch(cli: &Cli, sources: &dyn Sources) -> Result<Exit> {
    match &cli.verb {
        Verb::Completion { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "nanocloud", &mut std::io::stdout());
            return Ok(Exit::Done);
        }
        Verb::Manual { directory } => {
            let io = |error| Error::io(format!("write {}", directory.display()), error);
            std::fs::create_dir_all(directory).map_err(io)?;
            clap_mangen::generate_to(Cli::command(), directory).map_err(io)?;
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
        Verb::Start(args) => lifecycle::act(&context, args, "start").await,
        Verb::Stop(args) => lifecycle::act(&context, args, "stop").await,
        Verb::Restart(args) => lifecycle::act(&context, args, "restart").await,
        Verb::Status(args) => status::run(&context, args).await,
        Verb::Logs(args) => logs::run(&context, args).await,
        Verb::Exec(args) => exec::run(&context, args).await,
        Verb::Events(args) => events::run(&context, args).await,
        Verb::Get(args) => get::run(&context, args).await,
        Verb::Apply(args) => apply::apply(&context, args).await,
        Verb::Delete(args) => apply::delete(&context, args).await,
        Verb::Token(args) => access::token(&context, args).await,
        Verb::Ca(args) => access::ca(&context, args).await,
        Verb::Keyspace(args) => keyspace::run(&context, &args.action).await,
        _ => Err(Error::usage("command", "it works on this machine and not on a server", "see nanocloud --help")),
    }
}
