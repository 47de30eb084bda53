//! Service `Maintenance`.

use std::sync::Arc;

use keyspace::{Alarm, AlarmKind};
use tonic::Status;

use super::{EtcdServer, failed};
use crate::convert::{signed, unsigned};
use crate::wire::maintenance as wire;
use crate::wire::maintenance::{AlarmAction, AlarmMember, AlarmType};
use crate::wire::services::{Anything, HeaderResponse};

/// The version of etcd whose protocol is spoken; clients ask for it to see what they can use.
const PROTOCOL_VERSION: &str = "3.5.13";

/// What etcd answers for the newest compaction as long as there was none.
const NEVER_COMPACTED: i64 = -1;

impl EtcdServer {
    pub(super) async fn status(self: Arc<Self>, _: Anything) -> Result<wire::StatusResponse, Status> {
        let standing = self.standing().await?;
        let mut errors: Vec<String> = standing
            .alarms
            .iter()
            .map(|alarm| format!("memberID:{} alarm:{}", alarm.member, name(alarm.kind)))
            .collect();
        if standing.leader.is_none() {
            errors.push("etcdserver: no leader".to_owned());
        }
        Ok(wire::StatusResponse {
            header: Some(self.header(standing.revision)),
            version: PROTOCOL_VERSION.to_owned(),
            db_size: signed(standing.size_bytes),
            leader: standing.leader.unwrap_or(0),
            raft_index: standing.log_index,
            raft_term: standing.term,
            raft_applied_index: standing.applied_index,
            errors,
            db_size_in_use: signed(standing.in_use_bytes),
            is_learner: !standing.voters.contains(&standing.node_id),
        })
    }

    pub(super) async fn alarm(self: Arc<Self>, request: wire::AlarmRequest) -> Result<wire::AlarmResponse, Status> {
        let unknown = |_| Status::invalid_argument("etcdserver: unknown alarm");
        let action = AlarmAction::try_from(request.action).map_err(unknown)?;
        let kind = AlarmType::try_from(request.alarm).map_err(unknown)?;
        let concerned = match action {
            AlarmAction::Get => {
                let mut alarms = self.keyspace.alarms().await.map_err(failed)?;
                alarms.retain(|alarm| kind == AlarmType::None || alarm_type(alarm.kind) == kind);
                alarms.retain(|alarm| request.member_id == 0 || alarm.member == request.member_id);
                alarms
            }
            AlarmAction::Activate => match alarm_kind(kind) {
                // No alarm at all is none to turn on.
                None => Vec::new(),
                Some(kind) => {
                    let alarm = Alarm { member: request.member_id, kind };
                    self.keyspace.alarm_set(alarm).await.map_err(failed)?;
                    vec![alarm]
                }
            },
            AlarmAction::Deactivate => {
                let mut alarms = self.keyspace.alarms().await.map_err(failed)?;
                alarms.retain(|alarm| alarm.member == request.member_id && alarm_type(alarm.kind) == kind);
                for alarm in &alarms {
                    self.keyspace.alarm_clear(*alarm).await.map_err(failed)?;
                }
                // What etcd's clients know by one name is one alarm to them.
                alarms.truncate(1);
                alarms
            }
        };
        let alarms = concerned.into_iter().map(alarm_member).collect();
        Ok(wire::AlarmResponse { header: Some(self.newest_header().await?), alarms })
    }

    pub(super) async fn defragment(self: Arc<Self>, _: Anything) -> Result<HeaderResponse, Status> {
        self.keyspace.defragment().await.map_err(failed)?;
        Ok(HeaderResponse { header: Some(self.newest_header().await?) })
    }

    pub(super) async fn hash(self: Arc<Self>, _: Anything) -> Result<wire::HashResponse, Status> {
        let found = self.keyspace.hash_kv(0).await.map_err(failed)?;
        Ok(wire::HashResponse { header: Some(self.header(found.revision)), hash: found.hash })
    }

    pub(super) async fn hash_kv(self: Arc<Self>, request: wire::HashKvRequest) -> Result<wire::HashKvResponse, Status> {
        let found = self.keyspace.hash_kv(unsigned(request.revision)).await.map_err(failed)?;
        let compacted = found.compact_revision;
        let compact_revision = if compacted == 0 { NEVER_COMPACTED } else { signed(compacted) };
        Ok(wire::HashKvResponse { header: Some(self.newest_header().await?), hash: found.hash, compact_revision })
    }
}

fn alarm_type(kind: AlarmKind) -> AlarmType {
    match kind {
        AlarmKind::NoSpace | AlarmKind::DiskFull => AlarmType::NoSpace,
        AlarmKind::Corrupt | AlarmKind::Damaged | AlarmKind::Differs => AlarmType::Corrupt,
    }
}

fn alarm_kind(kind: AlarmType) -> Option<AlarmKind> {
    match kind {
        AlarmType::None => None,
        AlarmType::NoSpace => Some(AlarmKind::NoSpace),
        AlarmType::Corrupt => Some(AlarmKind::Corrupt),
    }
}

fn name(kind: AlarmKind) -> &'static str {
    match alarm_type(kind) {
        AlarmType::NoSpace => "NOSPACE",
        AlarmType::Corrupt => "CORRUPT",
        AlarmType::None => "NONE",
    }
}

fn alarm_member(alarm: Alarm) -> AlarmMember {
    AlarmMember { member_id: alarm.member, alarm: alarm_type(alarm.kind) as i32 }
}
