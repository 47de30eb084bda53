//! Environment, ports, volumes, probes and limits of the container.

use indexmap::IndexMap;

use crate::document::ProbeDocument;
use crate::expr::Template;
use crate::kind::parse_publish;
use crate::resolution::{Check, PortPlan, Probe, Resources, Value, VolumePlan};
use crate::resolve::options::{Resolver, State};

impl Resolver<'_> {
    pub(super) fn environment(&mut self) -> IndexMap<String, Value> {
        let surface = self.surface;
        let mut found = IndexMap::new();
        for (name, expression) in &surface.env {
            if let State::Known(value) = self.expression(expression) {
                found.insert(name.clone(), value);
            }
        }
        found
    }

    pub(super) fn ports(&self) -> Vec<PortPlan> {
        let publish = |option: &Option<String>| match option
            .as_deref()
            .map(|option| self.surface.options.get_key_value(option))
        {
            Some(Some((key, _))) => match self.state(key) {
                State::Known(Value::Literal(value)) => parse_publish(value).flatten(),
                _ => None,
            },
            _ => None,
        };
        let ports = &self.surface.document.ports;
        ports
            .iter()
            .map(|port| PortPlan {
                name: port.name.clone(),
                port: port.port,
                protocol: port.protocol,
                publish: publish(&port.publish),
            })
            .collect()
    }

    pub(super) fn volumes(&mut self) -> Vec<VolumePlan> {
        let surface = self.surface;
        let mut found = Vec::new();
        for (volume, size) in surface.document.volumes.iter().zip(&surface.volume_sizes) {
            // Without a size (an option that is absent) the smallest claim is made.
            let size = self.quantity(Some(size)).unwrap_or_else(|| "1".to_owned());
            found.push(VolumePlan { name: volume.name.clone(), path: volume.path.clone(), size });
        }
        found
    }

    pub(super) fn resources(&mut self) -> Resources {
        let surface = self.surface;
        Resources {
            cpu: self.quantity(surface.cpu.as_ref()),
            memory: self.quantity(surface.memory.as_ref()),
            pids: surface.document.resources.pids,
        }
    }

    fn quantity(&mut self, template: Option<&Template>) -> Option<String> {
        match self.template(template?) {
            State::Known(Value::Literal(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn probe(&self, liveness: bool) -> Option<Probe> {
        let document = self.surface.probe(liveness)?;
        Some(Probe {
            check: self.check(document)?,
            period_seconds: document.period_seconds,
            timeout_seconds: document.timeout_seconds,
            failure_threshold: document.failure_threshold,
            initial_delay_seconds: document.initial_delay_seconds,
        })
    }

    fn check(&self, document: &ProbeDocument) -> Option<Check> {
        if let Some(http) = &document.http {
            let port = self.surface.port_number(&http.port)?;
            return Some(Check::Http { path: http.path.clone(), port });
        }
        if let Some(port) = &document.tcp {
            return Some(Check::Tcp { port: self.surface.port_number(port)? });
        }
        let command = document.exec.clone()?;
        Some(Check::Exec { command })
    }
}
