//! The command line, as clap reads it.

mod keyspace;
mod members;
mod output;
mod server;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

pub use keyspace::{Keyspace, KeyspaceAction, Member, Restore, SnapshotAction};
pub use members::{MemberAction, Members};
pub use output::Output;
pub use server::Server;

/// One program: server, controllers, kubelet, runtime and these commands.
#[derive(Debug, Parser)]
#[command(name = "nanocloud", version, about = "Installs services with their options, and keeps them running", after_help = crate::exit::Exit::help())]
pub struct Cli {
    /// Where the server is and as whom to speak.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags of every command.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// Address of the API server, such as https://127.0.0.1:6443 [env: NANOCLOUD_SERVER]
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// File with a bearer token [env: NANOCLOUD_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// File with the authority that signed the server's certificate [env: NANOCLOUD_CA]
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Kubeconfig to use [env: KUBECONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// State root of the server on this machine [env: NANOCLOUD_STATE_ROOT]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_root: Option<PathBuf>,
    /// Configuration file of the server on this machine [env: NANOCLOUD_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the request as a curl command and send nothing
    #[arg(long, global = true)]
    pub curl: bool,
}

/// A namespace.
#[derive(Args, Clone, Debug)]
pub struct Namespace {
    /// Namespace; the context's, or `default`
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Prepare this machine: keys, authority, directories; prints a single-use token
    Setup(Setup),
    /// Run the server
    Server(Server),
    /// Run one container (started by the server)
    #[command(hide = true)]
    Shim {
        /// For the shim.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Remove every process, network and mount of this instance
    Teardown(Teardown),
    /// Install a service and wait until it is ready
    Install(Install),
    /// Remove a service with everything that belongs to it
    Uninstall(Uninstall),
    /// Start a service that was stopped
    Start(Service),
    /// Stop a service; its volumes stay
    Stop(Service),
    /// Restart a service
    Restart(Service),
    /// Show services, or one with its conditions, bindings, endpoints, pods and events
    Status(Status),
    /// Print the log of a service or pod
    Logs(Logs),
    /// Run a command in a service or pod
    Exec(Exec),
    /// Show events
    Events(Events),
    /// Show objects
    Get(Get),
    /// Create or change objects from a file
    Apply(Apply),
    /// Delete objects
    Delete(Delete),
    /// Issue a single-use token
    Token(Token),
    /// Show, add, promote, remove members of the cluster, or hand leadership over
    Member(Members),
    /// Print a script that installs a kubeconfig, or check the server's configuration
    Config(Config),
    /// Print the authority's certificate, or issue a certificate
    Ca(Ca),
    /// Look after the keyspace: room, alarms, snapshots
    Keyspace(Keyspace),
    /// Build or list images of the local catalog
    Image(Image),
    /// Check the description of a cluster, or print its schema
    Cluster(Cluster),
    /// Print completions for a shell
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write manual pages of every command into a folder (for packages)
    #[command(hide = true)]
    Manual {
        /// The folder; it is made if needed.
        directory: PathBuf,
    },
    /// Print versions of this program and of the server
    Version {
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// Prepare this machine.
#[derive(Args, Debug)]
pub struct Setup {
    /// Make again what is missing or broken; sound keys are kept
    #[arg(long)]
    pub repair: bool,
    /// With --repair: replace keys even when data sealed with them is lost
    #[arg(long, requires = "repair")]
    pub accept_loss: bool,
    /// More names or addresses of the server's certificate
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// Backups kept of each service
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub retention: u32,
    /// Issue no token; for service managers, whose log would show it
    #[arg(long)]
    pub no_token: bool,
}

/// Remove an instance from this machine.
#[derive(Args, Debug)]
pub struct Teardown {
    /// Where the server ran
    #[command(flatten)]
    pub server: Server,
    /// Remove the state root, too: keys, data and volumes are lost
    #[arg(long)]
    pub purge: bool,
}

/// Install a service.
#[derive(Args, Debug)]
pub struct Install {
    /// Service of the catalog
    pub service: String,
    /// Where
    #[command(flatten)]
    pub namespace: Namespace,
    /// Name of the bundle, if not the service's
    #[arg(long)]
    pub name: Option<String>,
    /// An option of the service
    #[arg(short, long = "option", value_name = "NAME=VALUE")]
    pub options: Vec<String>,
    /// Image to run instead of the catalog's
    #[arg(long)]
    pub image: Option<String>,
    /// Pull the image even if it is cached
    #[arg(long)]
    pub update: bool,
    /// Prepare everything and leave it stopped
    #[arg(long)]
    pub no_start: bool,
    /// Run the bindings of an installed service again
    #[arg(long)]
    pub force_bindings: bool,
    /// Return as soon as the server took the request
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait, such as 90s or 5m
    #[arg(long, value_parser = humantime::parse_duration, default_value = "5m")]
    pub timeout: Duration,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// A service.
#[derive(Args, Debug)]
pub struct Service {
    /// Name of the bundle
    pub service: String,
    /// Where
    #[command(flatten)]
    pub namespace: Namespace,
    /// Return as soon as the server took the request
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait, such as 90s or 5m
    #[arg(long, value_parser = humantime::parse_duration, default_value = "2m")]
    pub timeout: Duration,
}

/// Remove a service.
#[derive(Args, Debug)]
pub struct Uninstall {
    /// Name of the bundle
    pub service: String,
    /// Where
    #[command(flatten)]
    pub namespace: Namespace,
    /// Keep its volumes
    #[arg(long)]
    pub keep_volumes: bool,
    /// Return as soon as the server took the request
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait, such as 90s or 5m
    #[arg(long, value_parser = humantime::parse_duration, default_value = "2m")]
    pub timeout: Duration,
}

/// Show services.
#[derive(Args, Debug)]
pub struct Status {
    /// Name of the bundle; all without it
    pub service: Option<String>,
    /// Where
    #[command(flatten)]
    pub namespace: Namespace,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Print a log.
#[derive(Args, Debug)]
pub struct Logs {
    /// Name of the bundle or pod
    pub name: String,
    /// Where
    #[command(flatten)]
    pub namespace: Namespace,
    /// Container of the pod
    #[arg(short, long)]
    pub container: Option<String>,
    /// Go on with lines written later
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last lines
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u64>,
    /// Only lines of the last time, such as 10m
    #[arg(long, value_parser = humantime::parse_duration)]
    pub since: Option<Duration>,
    /// Begin every line with its time
    #[arg(long)]
    pub timestamps: bool,
    /// The run before the last restart
    #[arg(short, long)]
    pub previous: bool,
}

/// Run a command.
#[derive(Args, Debug)]
pub struct Exec {
    /// Name of the bundle or pod
    pub name: String,
    /// Where
    #[command(flatten)]
    pub namespace: Namespace,
    /// Container of the pod
    #[arg(short, long)]
    pub container: Option<String>,
    /// Send standard input
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Program and arguments, after `--`
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// Show events.
#[derive(Args, Debug)]
pub struct Events {
    /// Where
    #[command(flatten)]
    pub namespace: Namespace,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Go on with later events
    #[arg(short, long)]
    pub follow: bool,
    /// Only these reasons, with commas between them
    #[arg(long, value_delimiter = ',')]
    pub reason: Vec<String>,
    /// Only this level: Normal or Warning
    #[arg(long, ignore_case = true, value_parser = ["Normal", "Warning"])]
    pub level: Option<String>,
    /// Only about this bundle and what belongs to it
    #[arg(long)]
    pub bundle: Option<String>,
    /// Only of the last time, such as 10m
    #[arg(long, value_parser = humantime::parse_duration)]
    pub since: Option<Duration>,
    /// Only the last ones
    #[arg(long)]
    pub limit: Option<usize>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Show objects.
#[derive(Args, Debug)]
pub struct Get {
    /// Kind, short name, KIND/NAME, or `all`
    pub kind: String,
    /// Name
    pub name: Option<String>,
    /// Where
    #[command(flatten)]
    pub namespace: Namespace,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only with these labels
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// Only with these fields
    #[arg(long)]
    pub field_selector: Option<String>,
    /// Go on with every change
    #[arg(short, long)]
    pub watch: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Create or change objects.
#[derive(Args, Debug)]
pub struct Apply {
    /// YAML or JSON; `-` is standard input
    #[arg(short, long)]
    pub filename: PathBuf,
    /// Where objects go that name no namespace
    #[command(flatten)]
    pub namespace: Namespace,
    /// Only check
    #[arg(long)]
    pub dry_run: bool,
    /// Let the server merge, so that fields of others stay theirs
    #[arg(long)]
    pub server_side: bool,
    /// With --server-side: in whose name the fields are set
    #[arg(long, value_name = "NAME", default_value = api::names::manager::NANOCLOUD, requires = "server_side")]
    pub field_manager: String,
    /// With --server-side: take fields that others have set
    #[arg(long, requires = "server_side")]
    pub force_conflicts: bool,
    /// Treat the file as all there is of this set, and delete what it no longer names
    #[arg(long, value_name = "NAME", conflicts_with = "dry_run")]
    pub apply_set: Option<String>,
}

/// Delete objects.
#[derive(Args, Debug)]
pub struct Delete {
    /// Kind or KIND/NAME
    #[arg(required_unless_present = "filename")]
    pub kind: Option<String>,
    /// Names
    pub names: Vec<String>,
    /// Objects of this file
    #[arg(short, long, conflicts_with = "kind")]
    pub filename: Option<PathBuf>,
    /// Where
    #[command(flatten)]
    pub namespace: Namespace,
    /// It is no error when there is none
    #[arg(long)]
    pub ignore_not_found: bool,
}

/// Issue a single-use token.
#[derive(Args, Debug)]
pub struct Token {
    /// User the bearer becomes
    #[arg(long, default_value = "admin")]
    pub user: String,
    /// How long it can be exchanged, such as 15m
    #[arg(long, value_parser = humantime::parse_duration, default_value = "15m")]
    pub ttl: Duration,
    /// Groups the bearer joins
    #[arg(long, value_delimiter = ',')]
    pub groups: Vec<String>,
    /// Scopes the bearer is limited to
    #[arg(long, value_delimiter = ',')]
    pub scopes: Vec<String>,
    /// Show it as a QR code, too
    #[arg(long)]
    pub qr: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Print a script that installs a kubeconfig.
#[derive(Args, Debug)]
pub struct Config {
    /// Single-use token to exchange; without it this machine's own keys are used
    #[arg(long)]
    pub token: Option<String>,
    /// User of the kubeconfig
    #[arg(long, default_value = "admin")]
    pub user: String,
    /// Name of the cluster
    #[arg(long, default_value = "nanocloud")]
    pub cluster: String,
    /// Host of the server, if it is not the address it listens on
    #[arg(long)]
    pub host: Option<String>,
    /// What to do instead
    #[command(subcommand)]
    pub action: Option<ConfigAction>,
}

/// What else `config` does.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Check and print the server's configuration as it was resolved
    Check(Server),
}

/// Print or issue certificates.
#[derive(Args, Debug)]
pub struct Ca {
    /// Common name; without it the authority's certificate is printed
    pub common_name: Option<String>,
    /// More names and addresses
    #[arg(long, value_delimiter = ',')]
    pub additional: Vec<String>,
}

/// The description of a cluster.
#[derive(Args, Debug)]
pub struct Cluster {
    /// What to do
    #[command(subcommand)]
    pub action: ClusterAction,
}

/// What to do with the description of a cluster.
#[derive(Debug, Subcommand)]
pub enum ClusterAction {
    /// Check a description and show its nodes
    Check {
        /// JSON that Nix wrote; `-` is standard input
        #[arg(default_value = "/etc/nanocloud/cluster.json")]
        file: PathBuf,
    },
    /// Print the JSON Schema of descriptions
    Schema,
}

/// Images of the local catalog.
#[derive(Args, Debug)]
pub struct Image {
    /// What to do
    #[command(subcommand)]
    pub action: ImageAction,
}

/// What to do with images.
#[derive(Debug, Subcommand)]
pub enum ImageAction {
    /// Build images from recipes
    Build {
        /// Folders of recipes
        #[arg(required = true)]
        recipes: Vec<PathBuf>,
        /// Where packages are kept between builds [default: <state root>/cache/images]
        #[arg(long)]
        cache: Option<PathBuf>,
        /// Catalog to write to [default: <state root>/catalog]
        #[arg(long)]
        catalog: Option<PathBuf>,
    },
    /// List the images of the catalog
    List,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_the_dashes_is_the_command() {
        let cli = Cli::try_parse_from(["nanocloud", "exec", "web", "-it", "--", "sh", "-c", "exit 7"]).unwrap();
        let Verb::Exec(exec) = cli.verb else { panic!("{:?}", cli.verb) };
        assert!(exec.stdin && exec.tty);
        assert_eq!(exec.command, ["sh", "-c", "exit 7"]);
    }

    #[test]
    fn an_exec_without_command_is_refused() {
        assert!(Cli::try_parse_from(["nanocloud", "exec", "web"]).is_err());
    }
}
