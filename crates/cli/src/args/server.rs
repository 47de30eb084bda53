//! `nanocloud server`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

// A field is the setting of its name, unless it is skipped.
/// Run the server. A flag overrides its variable, and the variable overrides the configuration file.
#[derive(Args, Clone, Debug, Default, Serialize)]
pub struct Server {
    /// Address to listen on [env: NANOCLOUD_LISTEN] [default: 127.0.0.1:6443]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Directory for sockets, on a tmpfs [env: NANOCLOUD_RUN_ROOT] [default: /run/nanocloud]
    #[arg(long, value_name = "DIR")]
    pub run_root: Option<String>,
    /// Network bridge of the pods [env: NANOCLOUD_BRIDGE] [default: nanocloud0]
    #[arg(long, value_name = "NAME")]
    pub bridge: Option<String>,
    /// Network of pod addresses [env: NANOCLOUD_POD_CIDR] [default: 10.88.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pub pod_cidr: Option<String>,
    /// Network of service addresses [env: NANOCLOUD_SERVICE_CIDR] [default: 10.96.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pub service_cidr: Option<String>,
    /// Name of this node [env: NANOCLOUD_NODE] [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Where the state is stored: local, or etcd=https://HOST:2379,... [env: NANOCLOUD_KEYSPACE] [default: local]
    #[arg(long, value_name = "ENGINE")]
    pub keyspace: Option<String>,
    /// Address for etcd clients, which need an administrator's certificate [env: NANOCLOUD_ETCD_LISTEN] [default: off]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub etcd_listen: Option<String>,
    /// Address to listen on for other members of the cluster [env: NANOCLOUD_PEER_LISTEN] [default: none, alone]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub peer_listen: Option<String>,
    /// Address at which other members reach it, if not the one above [env: NANOCLOUD_PEER_ADDRESS]
    #[arg(long, value_name = "HOST:PORT")]
    pub peer_address: Option<String>,
    /// URL at which others reach the API, if not the listen address [env: NANOCLOUD_API_URL]
    #[arg(long, value_name = "URL")]
    pub api_url: Option<String>,
    /// Whether this node runs pods [env: NANOCLOUD_AGENT] [default: true]
    #[arg(long, value_name = "BOOL")]
    pub agent: Option<String>,
    /// Join a cluster with the token that `nanocloud member add` printed; prefer the variable or --join-file, because
    /// other users of this machine can see arguments [env: NANOCLOUD_JOIN]
    #[arg(long, value_name = "TOKEN")]
    #[serde(skip)]
    pub join: Option<String>,
    /// File with the join token [env: NANOCLOUD_JOIN_FILE]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub join_file: Option<PathBuf>,
    /// Log format: text or json [env: NANOCLOUD_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Log filter, such as info or kubelet=debug [env: NANOCLOUD_LOG] [default: info]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}
