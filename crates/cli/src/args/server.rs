//! `nanocloud server`.

use std::path::PathBuf;

use clap::Args;

/// Run the server. Each flag wins over its variable, the variable over the file.
#[derive(Args, Clone, Debug, Default)]
pub struct Server {
    /// Address to listen on [env: NANOCLOUD_LISTEN] [default: 127.0.0.1:6443]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Directory for sockets, on a tmpfs [env: NANOCLOUD_RUN_ROOT] [default: /run/nanocloud]
    #[arg(long, value_name = "DIR")]
    pub run_root: Option<PathBuf>,
    /// Bridge of the pods [env: NANOCLOUD_BRIDGE] [default: nanocloud0]
    #[arg(long, value_name = "NAME")]
    pub bridge: Option<String>,
    /// Addresses of pods [env: NANOCLOUD_POD_CIDR] [default: 10.88.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pub pod_cidr: Option<String>,
    /// Addresses of services [env: NANOCLOUD_SERVICE_CIDR] [default: 10.96.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pub service_cidr: Option<String>,
    /// Name of this node [env: NANOCLOUD_NODE] [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Where the state is: local, or etcd=https://HOST:2379,... [env: NANOCLOUD_KEYSPACE] [default: local]
    #[arg(long, value_name = "ENGINE")]
    pub keyspace: Option<String>,
    /// Serve etcd's clients there, with administrators' certificates [env: NANOCLOUD_ETCD_LISTEN] [default: off]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub etcd_listen: Option<String>,
    /// Address to listen on for other members of the cluster [env: NANOCLOUD_PEER_LISTEN] [default: none, alone]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub peer_listen: Option<String>,
    /// Where other members reach that, if not there [env: NANOCLOUD_PEER_ADDRESS]
    #[arg(long, value_name = "HOST:PORT")]
    pub peer_address: Option<String>,
    /// URL at which others reach the API, if not where it listens [env: NANOCLOUD_API_URL]
    #[arg(long, value_name = "URL")]
    pub api_url: Option<String>,
    /// Whether this node runs pods [env: NANOCLOUD_AGENT] [default: true]
    #[arg(long, value_name = "BOOL")]
    pub agent: Option<String>,
    /// Join a cluster with the word that `nanocloud member add` printed; better by file or variable, which other users
    /// of this machine do not see [env: NANOCLOUD_JOIN]
    #[arg(long, value_name = "WORD")]
    pub join: Option<String>,
    /// File with that word [env: NANOCLOUD_JOIN_FILE]
    #[arg(long, value_name = "FILE")]
    pub join_file: Option<PathBuf>,
    /// text or json [env: NANOCLOUD_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// What to log, such as info or kubelet=debug [env: NANOCLOUD_LOG] [default: info]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}
