//! The node object and its lease.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use api::{
    Time,
    kinds::{Lease, Namespace, Node},
    names::{label, namespace::NODE_LEASES},
};
use client::{Api, Client};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::LeaseSpec,
        core::v1::{NodeAddress, NodeCondition, NodeStatus, NodeSystemInfo},
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::MicroTime},
};
use nix::sys::statvfs::statvfs;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, PODS_MAX},
    pod::lookup::Allocatable,
};

/// Time between two renewals of the lease (Kubernetes).
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Seconds after which a lease that was not renewed means a lost node (Kubernetes).
const LEASE_SECONDS: i32 = 40;
/// Heartbeats between two writes of an unchanged status.
const STATUS_EVERY: u32 = 30;
/// How often a status is written before a conflict is an error (Kubernetes).
const REPORT_ATTEMPTS: u32 = 5;
/// Pause before a failed registration is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Below this share of free space, in percent, the node says that its disk is under pressure (Kubernetes).
const DISK_FREE_MIN: u64 = 10;
/// Below this much available memory in bytes the node says that memory is under pressure (Kubernetes).
const MEMORY_AVAILABLE_MIN: u64 = 100 << 20;

/// What the host has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) cpus: usize,
    pub(crate) memory: u64,
    memory_available: u64,
    disk: u64,
    disk_free_percent: u64,
    network: net::Health,
    info: BTreeMap<&'static str, String>,
}

/// What a node is short of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Pressure {
    memory: bool,
    disk: bool,
}

impl Host {
    fn pressure(&self) -> Pressure {
        Pressure { memory: self.memory_available < MEMORY_AVAILABLE_MIN, disk: self.disk_free_percent < DISK_FREE_MIN }
    }

    /// What pods can have of it: as its status says, all.
    pub(crate) fn allocatable(&self) -> Allocatable {
        let cpu_millis = u64::try_from(self.cpus).unwrap_or(u64::MAX).saturating_mul(1000);
        Allocatable { cpu_millis, memory_bytes: self.memory, disk_bytes: self.disk }
    }
}

/// Reads what the host has; what cannot be read is zero or empty.
pub(crate) fn look(state_root: &Path) -> Host {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let meminfo = read("/proc/meminfo");
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
    };
    let (disk, free) = statvfs(state_root)
        .map_or((0, 0), |fs| (fs.blocks() * fs.fragment_size(), fs.blocks_available() * fs.fragment_size()));
    let os_release = read("/etc/os-release");
    let pretty = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    Host {
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        memory: kib("MemTotal"),
        memory_available: kib("MemAvailable"),
        disk,
        disk_free_percent: free.saturating_mul(100).checked_div(disk).unwrap_or(100),
        network: net::Health::Well,
        info: BTreeMap::from([
            ("kernel", read("/proc/sys/kernel/osrelease")),
            ("machine", read("/etc/machine-id")),
            ("boot", read("/proc/sys/kernel/random/boot_id")),
            ("os", pretty.unwrap_or("Linux").trim_matches('"').to_owned()),
        ]),
    }
}

/// The status of the node. Conditions keep the time of their last change.
pub(crate) fn status(config: &Config, host: &Host, before: Option<&NodeStatus>, now: Timestamp) -> NodeStatus {
    let resources = BTreeMap::from([
        ("cpu".to_owned(), Quantity(host.cpus.to_string())),
        ("memory".to_owned(), Quantity(format!("{}Ki", host.memory >> 10))),
        ("ephemeral-storage".to_owned(), Quantity(format!("{}Ki", host.disk >> 10))),
        ("pods".to_owned(), Quantity(PODS_MAX.to_string())),
    ]);
    let address = |kind: &str, address: String| NodeAddress { type_: kind.into(), address };
    let info = |name: &str| host.info.get(name).cloned().unwrap_or_default();
    let facts = [
        ("MemoryPressure", host.pressure().memory, ["KubeletHasSufficientMemory", "KubeletHasInsufficientMemory"]),
        ("DiskPressure", host.pressure().disk, ["KubeletHasNoDiskPressure", "KubeletHasDiskPressure"]),
        ("NetworkUnavailable", host.network != net::Health::Well, ["NetworkReady", "NetworkBroken"]),
        ("PIDPressure", false, ["KubeletHasSufficientPID", "KubeletHasInsufficientPID"]),
        ("Ready", true, ["KubeletNotReady", "KubeletReady"]),
    ];
    let conditions = facts.map(|(name, is, reasons)| {
        let status = if is { "True" } else { "False" };
        let known =
            before.iter().flat_map(|b| b.conditions.iter().flatten()).find(|c| c.type_ == name && c.status == status);
        NodeCondition {
            type_: name.to_owned(),
            status: status.to_owned(),
            reason: Some(reasons[usize::from(is)].to_owned()),
            message: match &host.network {
                net::Health::Broken(why) if name == "NetworkUnavailable" => Some(why.clone()),
                _ => None,
            },
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: known.and_then(|c| c.last_transition_time.clone()).or(Some(Time(now))),
        }
    });
    NodeStatus {
        addresses: Some(vec![
            address("InternalIP", config.host_ip.to_string()),
            address("Hostname", config.node_name.clone()),
        ]),
        allocatable: Some(resources.clone()),
        capacity: Some(resources),
        conditions: Some(conditions.into()),
        node_info: Some(NodeSystemInfo {
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64".into(),
                "aarch64" => "arm64".into(),
                other => other.into(),
            },
            boot_id: info("boot"),
            container_runtime_version: format!("nanocloud://{}", config.version),
            kernel_version: info("kernel"),
            kubelet_version: format!("v{}", config.version),
            machine_id: info("machine"),
            operating_system: std::env::consts::OS.into(),
            os_image: info("os"),
            ..Default::default()
        }),
        ..before.cloned().unwrap_or_default()
    }
}

/// Whether a status has to be written: it differs in more than the times of its heartbeats, or it is `due` anyway.
fn must_write(before: Option<&NodeStatus>, after: &NodeStatus, due: bool) -> bool {
    let without_heartbeats = |status: &NodeStatus| {
        let mut status = status.clone();
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = None;
        }
        status
    };
    due || before.map(without_heartbeats) != Some(without_heartbeats(after))
}

/// Registers the node, keeps its status true and renews its lease until `stop`. A change of the network's health is
/// written at once.
pub(crate) async fn run(
    client: Client,
    config: Config,
    mut network: watch::Receiver<net::Health>,
    stop: CancellationToken,
) {
    let mut beats = 0_u32;
    loop {
        let health = network.borrow_and_update().clone();
        let result = match report(&client, &config, health, beats.is_multiple_of(STATUS_EVERY)).await {
            Ok(()) => renew(&client, &config).await,
            failed => failed,
        };
        let pause = match result {
            Ok(()) => {
                beats = beats.wrapping_add(1);
                HEARTBEAT
            }
            Err(error) => {
                tracing::warn!(error = crate::error::chain(&error), "node not registered");
                beats = 0;
                RETRY
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            Ok(()) = network.changed() => {}
        }
    }
}

/// Creates the node if there is none, and writes its status where it is not what it should be: another writer may have
/// changed it, as the controller does with a node that was not heard of for a while.
async fn report(client: &Client, config: &Config, network: net::Health, due: bool) -> client::Result<()> {
    let nodes = Api::<Node>::all(client.clone());
    let host = Host { network, ..look(&config.state_root) };
    let mut attempt = 1;
    loop {
        let known = match nodes.get_opt(&config.node_name).await? {
            Some(node) => node,
            None => nodes.create(&new_node(config)).await?,
        };
        let status = status(config, &host, known.status.as_ref(), Timestamp::now());
        if !must_write(known.status.as_ref(), &status, due) {
            return Ok(());
        }
        match nodes.replace_status(&Node { status: Some(status), ..known }).await {
            // The node was changed meanwhile, as the controller of nodes does with a new one.
            Err(error) if error.is_conflict() && attempt < REPORT_ATTEMPTS => attempt += 1,
            other => return other.map(drop),
        }
    }
}

fn new_node(config: &Config) -> Node {
    let mut node = Node::default();
    node.metadata.name = Some(config.node_name.clone());
    node.metadata.labels = Some(BTreeMap::from([
        (label::HOSTNAME.to_owned(), config.node_name.clone()),
        (label::OS.to_owned(), std::env::consts::OS.to_owned()),
    ]));
    node
}

async fn renew(client: &Client, config: &Config) -> client::Result<()> {
    let leases = Api::<Lease>::namespaced(client.clone(), NODE_LEASES);
    let now = MicroTime(Timestamp::now());
    let known = leases.get_opt(&config.node_name).await?;
    let fresh = known.is_none();
    let mut lease = known.unwrap_or_default();
    lease.metadata.name = Some(config.node_name.clone());
    lease.metadata.namespace = Some(NODE_LEASES.to_owned());
    let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
    spec.holder_identity = Some(config.node_name.clone());
    spec.lease_duration_seconds = Some(LEASE_SECONDS);
    spec.renew_time = Some(now);
    if !fresh {
        return match leases.replace(&lease).await {
            Err(error) if error.is_conflict() => Ok(()),
            other => other.map(drop),
        };
    }
    match leases.create(&lease).await {
        Err(error) if error.is_not_found() => {
            let mut namespace = Namespace::default();
            namespace.metadata.name = Some(NODE_LEASES.to_owned());
            match Api::<Namespace>::all(client.clone()).create(&namespace).await {
                Err(error) if !error.is_already_exists() => return Err(error),
                _ => {}
            }
            leases.create(&lease).await.map(drop)
        }
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn this_host_has_something() {
        let host = look(Path::new("/"));
        assert!(host.cpus > 0 && host.memory > 0 && host.disk > 0);
        assert!(!host.info["kernel"].is_empty());
    }

    #[test]
    fn conditions_keep_their_time_until_they_change() {
        let config = Config::new("n", Ipv4Addr::LOCALHOST, "/run/x", "/var/x");
        let mut host = look(Path::new("/"));
        host.disk_free_percent = 50;
        let first = status(&config, &host, None, Timestamp::UNIX_EPOCH);
        let later = Timestamp::from_second(100).unwrap();
        host.disk_free_percent = 5;
        let second = status(&config, &host, Some(&first), later);
        let changed = |name: &str| {
            let conditions = second.conditions.as_ref().unwrap();
            let found = conditions.iter().find(|c| c.type_ == name).unwrap();
            (found.status.clone(), found.last_transition_time.clone().unwrap().0)
        };
        assert_eq!(changed("Ready"), ("True".into(), Timestamp::UNIX_EPOCH));
        assert_eq!(changed("DiskPressure"), ("True".into(), later));
    }

    #[test]
    fn a_status_is_written_when_it_is_not_true_or_due() {
        let config = Config::new("n", Ipv4Addr::LOCALHOST, "/run/x", "/var/x");
        let host = Host { disk_free_percent: 50, memory_available: u64::MAX, ..look(Path::new("/")) };
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let first = status(&config, &host, None, at(0));
        assert!(must_write(None, &first, false), "a node without a status");
        let second = status(&config, &host, Some(&first), at(10));
        assert!(!must_write(Some(&first), &second, false), "only a heartbeat");
        assert!(must_write(Some(&first), &second, true));

        // The controller did not hear of the node for a while.
        let mut lost = first.clone();
        lost.conditions.iter_mut().flatten().find(|c| c.type_ == "Ready").unwrap().status = "Unknown".into();
        let third = status(&config, &host, Some(&lost), at(20));
        assert!(must_write(Some(&lost), &third, false), "a node that came back");

        let full = Host { disk_free_percent: 1, ..host };
        assert!(must_write(Some(&first), &status(&config, &full, Some(&first), at(30)), false), "pressure");
    }

    #[test]
    fn a_broken_network_is_a_condition_with_its_reason() {
        let config = Config::new("n", Ipv4Addr::LOCALHOST, "/run/x", "/var/x");
        let of = |network| {
            let host = Host { network, ..look(Path::new("/")) };
            let conditions = status(&config, &host, None, Timestamp::UNIX_EPOCH).conditions.unwrap();
            let found = conditions.into_iter().find(|c| c.type_ == "NetworkUnavailable").unwrap();
            (found.status, found.reason.unwrap(), found.message)
        };
        assert_eq!(of(net::Health::Well), ("False".into(), "NetworkReady".into(), None));
        let why = "bridge nanocloud0 is missing".to_owned();
        assert_eq!(of(net::Health::Broken(why.clone())), ("True".into(), "NetworkBroken".into(), Some(why)));
    }
}
