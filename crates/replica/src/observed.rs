//! What is measured when somebody looks: Raft, the state, room and alarms. Names get the prefix `nanocloud_keyspace_`.

use std::sync::{Arc, Weak};

use keyspace::{AlarmKind, Engine, EngineError, read};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::metrics::PREFIX;
use crate::parts::Parts;

/// Name, help, value.
type Reading = (&'static str, &'static str, u64);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlarmLabels {
    kind: String,
}

/// Reads a replica for as long as it is open; it does not keep it open.
#[derive(Debug)]
pub(crate) struct Observed(Weak<Parts>);

/// Registers what is measured when somebody looks.
pub(crate) fn register(parts: &Arc<Parts>, registry: &mut Registry) {
    registry.sub_registry_with_prefix(PREFIX).register_collector(Box::new(Observed(Arc::downgrade(parts))));
}

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(parts) = self.0.upgrade() else { return Ok(()) };
        let mut readings = raft(&parts);
        match state(&parts) {
            Ok(more) => readings.extend(more),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the keyspace was not measured"),
        }
        for (name, help, value) in readings {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let alarms = read::alarms(&parts.engine.view()).unwrap_or_default();
        let family: Family<AlarmLabels, Gauge> = Family::default();
        // Every kind of alarm has a series, so that its coming can be waited for.
        for kind in AlarmKind::ALL {
            let on = alarms.iter().filter(|alarm| alarm.kind == kind).count();
            let labels = AlarmLabels { kind: kind.to_string() };
            family.get_or_create(&labels).set(i64::try_from(on).unwrap_or(i64::MAX));
        }
        let help = "Members with an alarm of this kind";
        family.encode(encoder.encode_descriptor("alarms", help, None, MetricType::Gauge)?)
    }
}

fn raft(parts: &Parts) -> Vec<Reading> {
    let metrics = parts.raft.metrics();
    let metrics = metrics.borrow();
    let leads = metrics.current_leader == Some(parts.config.node_id);
    let index = |at: Option<crate::types::LogId>| at.map_or(0, |at| at.index);
    vec![
        ("raft_term", "Raft term", metrics.current_term),
        ("raft_leader", "Member that leads, 0 if there is none", metrics.current_leader.unwrap_or(0)),
        ("raft_is_leader", "1 if this member leads", u64::from(leads)),
        ("raft_voters", "Members with a vote", metrics.membership_config.membership().voter_ids().count() as u64),
        ("raft_log_last_index", "Newest log entry", metrics.last_log_index.unwrap_or(0)),
        ("raft_log_applied_index", "Newest log entry applied to the state", index(metrics.last_applied)),
        ("raft_log_purged_index", "Newest log entry cut off behind a snapshot", index(metrics.purged)),
        ("raft_snapshot_index", "Log entry of the newest snapshot", index(metrics.snapshot)),
    ]
}

fn state(parts: &Parts) -> Result<Vec<Reading>, EngineError> {
    let view = parts.engine.view();
    let (_, compacted) = read::revisions(&view)?;
    let mut readings = vec![
        ("compact_revision", "Oldest revision that can be read", compacted),
        ("leases", "Leases there are", read::lease_count(&view)?),
        ("in_use_bytes", "Bytes of what is in the keyspace now, estimated", parts.engine.in_use_bytes()?),
        ("quota_bytes", "Bytes at which what grows the keyspace is refused, 0 for none", parts.config.quota_bytes),
        ("log_grown_bytes", "Bytes appended to the log since it was last cut", parts.log.grown()),
    ];
    if let Some(free) = parts.store.disk().free_bytes() {
        readings.push(("disk_free_bytes", "Free bytes of the disk under the keyspace", free));
    }
    Ok(readings)
}
