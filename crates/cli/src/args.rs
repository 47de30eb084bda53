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
#[command(name = "nanocloud", version, about = "Install services and keep them running", after_help = crate::exit::Exit::help())]
pub struct Cli {
    /// Which server, and with which credentials.
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
    /// File with the CA certificate that signed the server's [env: NANOCLOUD_CA]
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Kubeconfig file [env: KUBECONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig, if not the current one
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
    /// Namespace [default: that of the context, or `default`]
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Prepare this machine: create keys, CA and directories, and print a single-use token
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
    /// Remove all containers, networks and mounts of the server from this machine
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
    /// Show all services, or one with its conditions, bindings, endpoints, pods and events
    Status(Status),
    /// Print the log of a service or pod
    Logs(Logs),
    /// Run a command in a service or pod
    Exec(Exec),
    /// Show events
    Events(Events),
    /// Show objects of any kind
    Get(Get),
    /// Create or update objects from a file
    Apply(Apply),
    /// Delete objects
    Delete(Delete),
    /// Issue a single-use token
    Token(Token),
    /// List, add, promote or remove members of the cluster, or transfer leadership
    Member(Members),
    /// Print a script that installs a kubeconfig; `config check` checks the server's settings
    Config(Config),
    /// Print the CA certificate, or issue a client certificate
    Ca(Ca),
    /// Maintain the keyspace: size, compaction, alarms, snapshots
    Keyspace(Keyspace),
    /// Build or list images of the local catalog
    Image(Image),
    /// Validate the description of a cluster, or print its schema
    Cluster(Cluster),
    /// Print the completion script for a shell
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write a manual page for every command (for packages)
    #[command(hide = true)]
    Manual {
        /// Directory, which is created if needed.
        directory: PathBuf,
    },
    /// Print the versions of this program and of the server
    Version {
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// Prepare this machine.
#[derive(Args, Debug)]
pub struct Setup {
    /// Recreate what is missing or damaged; intact keys are kept
    #[arg(long)]
    pub repair: bool,
    /// With --repair: replace keys even if data encrypted with them is lost
    #[arg(long, requires = "repair")]
    pub accept_loss: bool,
    /// Further names and addresses for the server's certificate
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// How many backups of each service to keep
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub retention: u32,
    /// Do not print a token, for service managers, whose logs would show it
    #[arg(long)]
    pub no_token: bool,
}

/// Remove an instance from this machine.
#[derive(Args, Debug)]
pub struct Teardown {
    /// Where the server ran
    #[command(flatten)]
    pub server: Server,
    /// Also delete the state root: keys, data and volumes are lost
    #[arg(long)]
    pub purge: bool,
}

/// Install a service.
#[derive(Args, Debug)]
pub struct Install {
    /// Service to install, from the catalog
    pub service: String,
    /// Where
    #[command(flatten)]
    pub namespace: Namespace,
    /// Name of the bundle [default: that of the service]
    #[arg(long)]
    pub name: Option<String>,
    /// Option of the service; may be repeated
    #[arg(short, long = "option", value_name = "NAME=VALUE")]
    pub options: Vec<String>,
    /// Image to run instead of the one in the catalog
    #[arg(long)]
    pub image: Option<String>,
    /// Pull the image even if it is cached
    #[arg(long)]
    pub update: bool,
    /// Prepare everything, but do not start it
    #[arg(long)]
    pub no_start: bool,
    /// If it is installed already, run its bindings again
    #[arg(long)]
    pub force_bindings: bool,
    /// Return as soon as the server has accepted the request
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait, such as 90s or 5m
    #[arg(long, value_parser = humantime::parse_duration, default_value = "5m")]
    pub timeout: Duration,
    /// Output format of the result
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
    /// Return as soon as the server has accepted the request
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
    /// Return as soon as the server has accepted the request
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait, such as 90s or 5m
    #[arg(long, value_parser = humantime::parse_duration, default_value = "2m")]
    pub timeout: Duration,
}

/// Show services.
#[derive(Args, Debug)]
pub struct Status {
    /// Name of the bundle [default: all]
    pub service: Option<String>,
    /// Where
    #[command(flatten)]
    pub namespace: Namespace,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Output format
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
    /// Keep printing lines as they are written
    #[arg(short, long)]
    pub follow: bool,
    /// Only this many of the last lines
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u64>,
    /// Only lines newer than this, such as 10m
    #[arg(long, value_parser = humantime::parse_duration)]
    pub since: Option<Duration>,
    /// Print the time before each line
    #[arg(long)]
    pub timestamps: bool,
    /// Print the log of the container before its last restart
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
    /// Pass standard input to the command
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Run the command in a terminal
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
    /// Keep printing events as they happen
    #[arg(short, long)]
    pub follow: bool,
    /// Only these reasons, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub reason: Vec<String>,
    /// Only this type of event
    #[arg(long, ignore_case = true, value_parser = ["Normal", "Warning"])]
    pub level: Option<String>,
    /// Only events of this bundle and of what belongs to it
    #[arg(long)]
    pub bundle: Option<String>,
    /// Only events newer than this, such as 10m
    #[arg(long, value_parser = humantime::parse_duration)]
    pub since: Option<Duration>,
    /// Only this many of the last events
    #[arg(long)]
    pub limit: Option<usize>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Show objects.
#[derive(Args, Debug)]
pub struct Get {
    /// Kind such as pods, its short name, KIND/NAME, or `all`
    pub kind: String,
    /// Name of one object
    pub name: Option<String>,
    /// Where
    #[command(flatten)]
    pub namespace: Namespace,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Label selector, such as app=web
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// Field selector, such as spec.nodeName=a
    #[arg(long)]
    pub field_selector: Option<String>,
    /// Keep printing objects as they change
    #[arg(short, long)]
    pub watch: bool,
    /// Output format; for jsonpath, custom columns and templates use kubectl
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Create or change objects.
#[derive(Args, Debug)]
pub struct Apply {
    /// YAML or JSON file; `-` is standard input
    #[arg(short, long)]
    pub filename: PathBuf,
    /// Where objects go that do not name a namespace
    #[command(flatten)]
    pub namespace: Namespace,
    /// Validate on the server, but save nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Server-side apply: the server merges, and records who owns which field
    #[arg(long)]
    pub server_side: bool,
    /// With --server-side: name of the field manager
    #[arg(long, value_name = "NAME", default_value = api::names::manager::NANOCLOUD, requires = "server_side")]
    pub field_manager: String,
    /// With --server-side: take over fields that other managers own
    #[arg(long, requires = "server_side")]
    pub force_conflicts: bool,
    /// Delete the objects of this apply set that the file does not contain any more
    #[arg(long, value_name = "NAME", conflicts_with = "dry_run")]
    pub apply_set: Option<String>,
}

/// Delete objects.
#[derive(Args, Debug)]
pub struct Delete {
    /// Kind or KIND/NAME
    #[arg(required_unless_present = "filename")]
    pub kind: Option<String>,
    /// Names of the objects
    pub names: Vec<String>,
    /// Delete the objects in this file
    #[arg(short, long, conflicts_with = "kind")]
    pub filename: Option<PathBuf>,
    /// Where
    #[command(flatten)]
    pub namespace: Namespace,
    /// Succeed if an object does not exist
    #[arg(long)]
    pub ignore_not_found: bool,
}

/// Issue a single-use token.
#[derive(Args, Debug)]
pub struct Token {
    /// User that the token is for
    #[arg(long, default_value = "admin")]
    pub user: String,
    /// How long the token can be exchanged, such as 15m
    #[arg(long, value_parser = humantime::parse_duration, default_value = "15m")]
    pub ttl: Duration,
    /// Groups of that user, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub groups: Vec<String>,
    /// Scopes that the token is limited to, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub scopes: Vec<String>,
    /// Also show the token as a QR code
    #[arg(long)]
    pub qr: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Print a script that installs a kubeconfig.
#[derive(Args, Debug)]
pub struct Config {
    /// Single-use token to exchange [default: use the keys of the server on this machine]
    #[arg(long)]
    pub token: Option<String>,
    /// Name of the user in the kubeconfig
    #[arg(long, default_value = "admin")]
    pub user: String,
    /// Name of the cluster in the kubeconfig
    #[arg(long, default_value = "nanocloud")]
    pub cluster: String,
    /// Host at which clients reach the server [default: the address it listens on]
    #[arg(long)]
    pub host: Option<String>,
    /// What to do instead
    #[command(subcommand)]
    pub action: Option<ConfigAction>,
}

/// What else `config` does.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Check the settings of the server, and print them with their defaults
    Check(Server),
}

/// Print or issue certificates.
#[derive(Args, Debug)]
pub struct Ca {
    /// Common name of a new certificate [default: print the CA certificate]
    pub common_name: Option<String>,
    /// Names and addresses of a server, separated by commas; the certificate is then for servers, too
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
    /// Validate a description and show its nodes
    Check {
        /// JSON file written by Nix; `-` is standard input
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
        /// Directories of recipes; the recipe a recipe is based on is looked for beside it
        #[arg(required = true)]
        recipes: Vec<PathBuf>,
        /// Cache of packages between builds [default: <state root>/cache/images]
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
