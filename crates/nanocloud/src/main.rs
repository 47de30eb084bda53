//! One binary: API server, keyspace, controllers, kubelet, runtime and command line.
//!
//! `main` disables core dumps, becomes a shim or the DNS helper if called as such (before any thread exists), parses the
//! command line, resolves the settings (before anything is bound), and runs.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod adapters;
mod certificates;
mod cluster;
mod host;
mod image_verbs;
mod keyspace;
mod node;
mod notify;
mod server;
mod settings;
mod setup;
mod sources;
mod store;
mod supervisor;
mod teardown;
mod telemetry;

use std::{
    env,
    ffi::{OsStr, OsString},
    process::ExitCode,
    time::Instant,
};

use clap::Parser;
use cli::{
    Cli, Exit,
    args::{ConfigAction, Global, KeyspaceAction, Server, Verb},
    note, out,
};
use settings::{Settings, SettingsError, Sources};

/// Worker threads of the server, which mostly waits.
const SERVER_THREADS: usize = 2;
/// Threads for blocking calls. Long ones have limits of their own (files of pods 8, volumes 4, unpacking one per
/// processor), which leave most of these to the API and its lists.
const BLOCKING_THREADS: usize = 64;
/// User and group `nobody`.
const NOBODY: u32 = 65534;

fn main() -> ExitCode {
    let started = Instant::now();
    if let Err(error) = host::forbid_core_dumps() {
        note!("error: core dumps cannot be forbidden: {error}");
        return ExitCode::from(Exit::Permission.code());
    }
    let mut words = env::args_os().skip(1);
    match words.next().as_deref().and_then(OsStr::to_str) {
        Some("shim") => runtime::shim::main(words),
        Some(node::DNS) => dns(words),
        _ => {}
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(answer(&error).code()),
    };
    ExitCode::from(run(cli, started).unwrap_or_else(|error| conclude(&error)).code())
}

/// Prints a message of clap: help and version go to standard output, anything else is a usage error.
fn answer(said: &clap::Error) -> Exit {
    if said.use_stderr() {
        // A failed write to standard error is ignored.
        let _ = said.print();
        return Exit::Usage;
    }
    said.print().map_or_else(|error| cli::conclude(&cli::Error::Output(error)), |()| Exit::Done)
}

/// Prints an error, and returns the exit code.
fn conclude(error: &anyhow::Error) -> Exit {
    if let Some(error) = error.downcast_ref::<cli::Error>() {
        return cli::conclude(error);
    }
    note!("error: {error:#}");
    exit_of(error)
}

/// The DNS server of pods, which runs as `nobody` and without capabilities.
fn dns(words: impl Iterator<Item = OsString>) -> ! {
    // It can also serve without a log.
    let _ = telemetry::start(telemetry::LogFormat::Text, "warn");
    let nobody = runtime::container::UserIds { uid: NOBODY, gid: NOBODY, groups: Vec::new() };
    net::dns::main(words, || runtime::shim::confine(&nobody))
}

/// The exit code of an error in a command on this machine.
fn exit_of(error: &anyhow::Error) -> Exit {
    if let Some(host) = error.downcast_ref::<host::HostError>() {
        return host.exit();
    }
    if error.is::<SettingsError>() {
        return Exit::Usage;
    }
    if error.is::<trust::Error>() {
        return Exit::Trust;
    }
    Exit::Fatal
}

fn settings(global: &Global, server: &Server) -> Result<Settings, SettingsError> {
    #[expect(clippy::disallowed_methods, reason = "where the environment is read")]
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    Settings::resolve(&Sources::open(global, server, &variable)?)
}

fn run(cli: Cli, started: Instant) -> anyhow::Result<Exit> {
    cli::check(&cli)?;
    let global = cli.global.clone();
    match &cli.verb {
        Verb::Setup(args) => setup::run(&settings(&global, &Server::default())?, args)?,
        Verb::Server(args) => {
            #[expect(clippy::disallowed_methods, reason = "where the environment is read")]
            let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
            let word = settings::join_token(args, &variable)?;
            let token = word.map(|word| trust::JoinToken::parse(&word)).transpose()?;
            serve(settings(&global, args)?, token, started)?
        }
        Verb::Teardown(args) => {
            let settings = settings(&global, &args.server)?;
            telemetry::start(settings.log_format, "warn")?;
            block_on(1, teardown::run(&settings, args.purge))?;
        }
        Verb::Image(args) => image_verbs::run(&settings(&global, &Server::default())?, &args.action)?,
        Verb::Keyspace(args) if matches!(args.action, KeyspaceAction::Snapshot { .. }) => {
            let KeyspaceAction::Snapshot { action } = &args.action else { return Ok(Exit::Usage) };
            let settings = settings(&global, &Server::default())?;
            return block_on(1, keyspace::run(&settings, &global, action));
        }
        Verb::Config(args) if matches!(args.action, Some(ConfigAction::Check(_))) => {
            let Some(ConfigAction::Check(server)) = &args.action else { return Ok(Exit::Usage) };
            out!("{}", toml::to_string(&settings(&global, server)?)?)?;
        }
        _ => {
            let machine = sources::Machine { global };
            return Ok(block_on(1, cli::run(cli, &machine)));
        }
    }
    Ok(Exit::Done)
}

fn serve(settings: Settings, join: Option<trust::JoinToken>, started: Instant) -> anyhow::Result<()> {
    telemetry::start(settings.log_format, &settings.log)?;
    telemetry::abort_on_panic();
    // No thread exists yet.
    runtime::memory::limit_arenas();
    #[expect(clippy::disallowed_methods, reason = "where the environment is read")]
    let notify = env::var_os("NOTIFY_SOCKET");
    block_on(SERVER_THREADS, server::run(settings, join, notify, started))
}

fn block_on<T>(threads: usize, future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build();
    // Without threads there is nothing else to do.
    runtime.expect("the system gives this process threads").block_on(future)
}
