//! Probes as the pod describes them.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{Container, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::error::{Error, Result};

/// What a probe decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The container has come up; until then the others do not run.
    Startup,
    /// The container works; if not, it is ended.
    Liveness,
    /// The container takes traffic.
    Readiness,
}

impl Kind {
    /// The word in events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// What is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// A program in the container that exits 0.
    Exec(Vec<String>),
    /// A request that is answered with a status from 200 to 399.
    Http {
        /// Host, if not the pod's address.
        host: Option<String>,
        /// Port.
        port: u16,
        /// Path with query.
        path: String,
        /// Over TLS; the certificate is not checked (Kubernetes).
        tls: bool,
        /// Extra headers.
        headers: Vec<(String, String)>,
    },
    /// A connection that is accepted.
    Tcp {
        /// Host, if not the pod's address.
        host: Option<String>,
        /// Port.
        port: u16,
    },
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSpec {
    /// What it decides.
    pub kind: Kind,
    /// What is tried.
    pub check: Check,
    /// Wait after the container's start.
    pub initial_delay: Duration,
    /// Time between tries.
    pub period: Duration,
    /// Longest time of one try.
    pub timeout: Duration,
    /// Successes in a row that make it pass.
    pub successes: u32,
    /// Failures in a row that make it fail.
    pub failures: u32,
    /// Time between TERM and KILL after it failed, if not the pod's.
    pub grace: Option<Duration>,
}

/// The probes of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probes {
    /// Startup.
    pub startup: Option<ProbeSpec>,
    /// Liveness.
    pub liveness: Option<ProbeSpec>,
    /// Readiness.
    pub readiness: Option<ProbeSpec>,
}

impl Probes {
    /// Reads the probes of a container.
    ///
    /// # Errors
    /// [`Error::Refused`] for a probe this node cannot run.
    pub fn of(container: &Container) -> Result<Self> {
        let read = |probe: Option<&Probe>, kind| probe.map(|p| read(container, p, kind)).transpose();
        Ok(Self {
            startup: read(container.startup_probe.as_ref(), Kind::Startup)?,
            liveness: read(container.liveness_probe.as_ref(), Kind::Liveness)?,
            readiness: read(container.readiness_probe.as_ref(), Kind::Readiness)?,
        })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.startup.is_none() && self.liveness.is_none() && self.readiness.is_none()
    }
}

fn read(container: &Container, probe: &Probe, kind: Kind) -> Result<ProbeSpec> {
    let seconds = |n: Option<i32>, default: u64| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(default);
    let count = |n: Option<i32>, default: u32| n.and_then(|n| u32::try_from(n).ok()).unwrap_or(default).max(1);
    let grace = probe.termination_grace_period_seconds.and_then(|n| u64::try_from(n).ok());
    Ok(ProbeSpec {
        kind,
        check: check(container, probe, kind)?,
        initial_delay: Duration::from_secs(seconds(probe.initial_delay_seconds, 0)),
        period: Duration::from_secs(seconds(probe.period_seconds, 10).max(1)),
        timeout: Duration::from_secs(seconds(probe.timeout_seconds, 1).max(1)),
        successes: count(probe.success_threshold, 1),
        failures: count(probe.failure_threshold, 3),
        grace: grace.map(Duration::from_secs),
    })
}

fn check(container: &Container, probe: &Probe, kind: Kind) -> Result<Check> {
    let field = format!("container {} {}Probe", container.name, kind.name().to_ascii_lowercase());
    if let Some(exec) = &probe.exec {
        let command = exec.command.clone().unwrap_or_default();
        return if command.is_empty() {
            Err(Error::refused(field, "exec needs a command"))
        } else {
            Ok(Check::Exec(command))
        };
    }
    if let Some(get) = &probe.http_get {
        let path = get.path.clone().unwrap_or_else(|| "/".into());
        return Ok(Check::Http {
            host: get.host.clone().filter(|h| !h.is_empty()),
            port: port(container, &get.port)
                .ok_or_else(|| Error::refused(field, "the port is neither a number nor the name of a port"))?,
            path: if path.starts_with('/') { path } else { format!("/{path}") },
            tls: get.scheme.as_deref().is_some_and(|s| s.eq_ignore_ascii_case("https")),
            headers: get.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone())).collect(),
        });
    }
    if let Some(tcp) = &probe.tcp_socket {
        let port = port(container, &tcp.port);
        let port = port.ok_or_else(|| Error::refused(field, "the port is neither a number nor the name of a port"))?;
        return Ok(Check::Tcp { host: tcp.host.clone().filter(|h| !h.is_empty()), port });
    }
    Err(Error::refused(field, "exec, httpGet and tcpSocket are available on this node"))
}

/// A port by number or by the name it has in the container.
pub(crate) fn port(container: &Container, wanted: &IntOrString) -> Option<u16> {
    match wanted {
        IntOrString::Int(number) => u16::try_from(*number).ok().filter(|n| *n > 0),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|p| p.name.as_ref() == Some(name));
            let number = named.map(|p| p.container_port).or_else(|| name.parse().ok())?;
            u16::try_from(number).ok().filter(|n| *n > 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn probes(container: serde_json::Value) -> Result<Probes> {
        Probes::of(&serde_json::from_value(container).unwrap())
    }

    #[test]
    fn fields_defaults_and_named_ports_are_read() {
        let found = probes(json!({"name": "c", "ports": [{"name": "web", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "ok", "port": "web", "scheme": "HTTPS"}, "failureThreshold": 1},
            "livenessProbe": {"tcpSocket": {"port": 3306}, "periodSeconds": 5, "timeoutSeconds": 2, "initialDelaySeconds": 7},
            "startupProbe": {"exec": {"command": ["true"]}, "terminationGracePeriodSeconds": 3}}))
        .unwrap();
        let ready = found.readiness.unwrap();
        assert_eq!(ready.check, Check::Http { host: None, port: 8080, path: "/ok".into(), tls: true, headers: vec![] });
        assert_eq!(
            (ready.period, ready.timeout, ready.failures, ready.successes),
            (Duration::from_secs(10), Duration::from_secs(1), 1, 1)
        );
        assert_eq!(found.liveness.unwrap().initial_delay, Duration::from_secs(7));
        assert_eq!(found.startup.unwrap().grace, Some(Duration::from_secs(3)));
    }

    #[test]
    fn what_cannot_be_probed_is_refused() {
        for bad in [
            json!({"grpc": {"port": 1}}),
            json!({"exec": {}}),
            json!({"tcpSocket": {"port": "nope"}}),
            json!({"httpGet": {"port": 0}}),
        ] {
            assert!(probes(json!({"name": "c", "livenessProbe": bad})).is_err(), "{bad}");
        }
    }
}
