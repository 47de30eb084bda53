//! Does the host have what the network needs, and what is done when it has not.

use std::{net::Ipv4Addr, time::Duration};

use ipnet::Ipv4Net;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    Network, NetworkConfig, Result,
    link::{in_time, is_up},
    netns,
    network::{State, bridge_parameters},
    sysctl,
    tables::Standing,
};

/// Time between two looks at the host. A look costs some netlink requests, and runs nothing as long as nobody changes
/// nftables.
const LOOK_PERIOD: Duration = Duration::from_secs(5);

/// How the pod network is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    #[default]
    Well,
    /// Pods cannot be reached as they should; why.
    Broken(String),
}

/// Something [`Network::check`] found to differ from what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// No bridge.
    #[error("bridge {0} is missing")]
    BridgeMissing(String),
    /// The bridge is down.
    #[error("bridge {0} is down")]
    BridgeDown(String),
    /// The bridge lacks its address.
    #[error("bridge {0} lacks the address {1}")]
    BridgeAddress(String, Ipv4Net),
    /// Service addresses do not lead to the bridge.
    #[error("the route to {0} does not lead to bridge {1}")]
    Route(Ipv4Net, String),
    /// A kernel parameter has another value.
    #[error("kernel parameter {0} is not {1}")]
    Sysctl(String, &'static str),
    /// No table, or another than the one that was loaded.
    #[error("the nftables tables {0} are missing or were changed")]
    Table(String),
    /// The interface of a running pod is not there, or not in the bridge.
    #[error("attachment {0} has no interface in the bridge")]
    Unplugged(String),
    /// A lease without namespace: a crash between the two, or a reboot.
    #[error("attachment {0} has an address and no network namespace")]
    NoNamespace(String),
    /// A namespace without lease.
    #[error("network namespace {0} belongs to no attachment")]
    Stray(String),
}

impl Finding {
    /// Whether pods cannot be reached as they should, which [`Network::repair`] mends. What is not of this kind is
    /// left of an attachment that was begun or ended halfway; whoever attaches and detaches finishes that.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        !matches!(self, Self::NoNamespace(_) | Self::Stray(_))
    }
}

impl Network {
    /// Compares the host with what this network needs. An empty answer means all is well.
    ///
    /// # Errors
    /// When the host's state cannot be read.
    pub async fn check(&self) -> Result<Vec<Finding>> {
        let mut state = self.state.lock().await;
        let mut findings = in_time("check", &self.config.bridge, self.check_bridge(&state)).await?;
        match state.tables.standing().await? {
            Standing::Right => {}
            Standing::Changed => findings.push(Finding::Table(self.config.table.clone())),
            Standing::Unknown => state.tables.restore().await?,
        }
        let unpinned = state.leases.all().filter(|lease| !netns::is_pinned(&self.pin(&lease.id)));
        findings.extend(unpinned.map(|lease| Finding::NoNamespace(lease.id.clone())));
        let pins = netns::pins(&self.pins())?;
        let strays = pins.into_iter().filter(|(id, _)| state.leases.get(id).is_none());
        findings.extend(strays.map(|(id, _)| Finding::Stray(id)));
        Ok(findings)
    }

    async fn check_bridge(&self, state: &State) -> Result<Vec<Finding>> {
        let NetworkConfig { bridge, pod_cidr, service_cidr, .. } = &self.config;
        let Some(link) = self.links.find(bridge).await? else {
            return Ok(vec![Finding::BridgeMissing(bridge.clone())]);
        };
        let index = link.header.index;
        if !is_up(&link) {
            return Ok(vec![Finding::BridgeDown(bridge.clone())]);
        }
        let mut findings = Vec::new();
        let wanted = (self.config.gateway(), pod_cidr.prefix_len());
        if !self.links.addresses(index).await?.contains(&wanted) {
            findings.push(Finding::BridgeAddress(bridge.clone(), Ipv4Net::new_assert(wanted.0, wanted.1)));
        }
        let some_service = Ipv4Addr::from(u32::from(service_cidr.network()).saturating_add(1));
        if self.links.way_to(some_service).await? != Some(index) {
            findings.push(Finding::Route(*service_cidr, bridge.clone()));
        }
        let differs = |(key, value): &(String, &str)| sysctl::get(key).is_ok_and(|is| is != *value);
        let differing = bridge_parameters(bridge).into_iter().filter(differs);
        findings.extend(differing.map(|(key, value)| Finding::Sysctl(key.replace('/', "."), value)));
        let plugged: Vec<String> = self.links.ports_of(index).await?.into_iter().map(|(name, _)| name).collect();
        let unplugged = state.leases.all().filter(|lease| {
            netns::is_pinned(&self.pin(&lease.id)) && !plugged.contains(&self.attachment(lease).host_veth)
        });
        findings.extend(unplugged.map(|lease| Finding::Unplugged(lease.id.clone())));
        Ok(findings)
    }

    /// Looks after the network until `stop`: what somebody removed or changed on the host is named in the log and in
    /// `health`, and made again.
    pub async fn keep(&self, health: &watch::Sender<Health>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_PERIOD)).await.is_some() {
            if stop.run_until_cancelled(self.look_after(health)).await.is_none() {
                return;
            }
        }
    }

    /// One look, and what it asks for.
    pub(crate) async fn look_after(&self, health: &watch::Sender<Health>) {
        let broken = match self.check().await {
            Ok(findings) => {
                let outages: Vec<String> = findings.iter().filter(|f| f.is_outage()).map(ToString::to_string).collect();
                outages.join("; ")
            }
            Err(error) => reason(&error),
        };
        if broken.is_empty() {
            set(health, Health::Well);
            return;
        }
        tracing::warn!(broken, "the pod network is not as it should be");
        set(health, Health::Broken(broken));
        match self.repair().await {
            Ok(()) => {
                tracing::info!("the pod network was repaired");
                set(health, Health::Well);
            }
            Err(error) => {
                let error = reason(&error);
                tracing::error!(error, "the pod network cannot be repaired yet");
                set(health, Health::Broken(error));
            }
        }
    }

    /// Makes again what [`Network::check`] would find missing: tables first, then the bridge, then what was plugged
    /// into it. Pods keep their addresses.
    ///
    /// # Errors
    /// The step that failed; repeat it then.
    pub async fn repair(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        state.tables.restore().await?;
        self.ensure_bridge().await?;
        let bridge = self.bridge_index().await?;
        let plugged: Vec<String> = self.links.ports_of(bridge).await?.into_iter().map(|(name, _)| name).collect();
        for attachment in state.leases.all().map(|lease| self.attachment(lease)) {
            if plugged.contains(&attachment.host_veth) || !netns::is_pinned(&attachment.netns) {
                continue;
            }
            if self.links.find(&attachment.host_veth).await?.is_some() {
                self.links.join_bridge(&attachment.host_veth, bridge).await?;
            }
            self.plug(&attachment).await?;
        }
        Ok(())
    }
}

/// Wakes those who wait for a change only if there is one.
fn set(health: &watch::Sender<Health>, now: Health) {
    health.send_if_modified(|before| {
        let differs = *before != now;
        *before = now;
        differs
    });
}

/// An error with its cause in one line.
fn reason(error: &crate::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
