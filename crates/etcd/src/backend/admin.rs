//! Maintenance of the cluster: alarms, checksums, room.

use std::sync::Arc;

use keyspace::{Alarm, AlarmKind, EngineError, Error, KvHash, Revision, SnapshotStream};
use tonic::Status;

use super::errors;
use super::inner::Inner;
use crate::convert::{signed, unsigned};
use crate::wire::maintenance::{AlarmAction, AlarmRequest, AlarmResponse, AlarmType, HashKvRequest};
use crate::wire::methods;
use crate::wire::services::Anything;

fn failed(status: Status) -> Error {
    errors::failure(&status)
}

/// Alarms of an answer, in order; kinds that are not known here are left out.
fn known_alarms(answer: AlarmResponse) -> Vec<Alarm> {
    let known = answer.alarms.into_iter().filter_map(|alarm| {
        let kind = match AlarmType::try_from(alarm.alarm) {
            Ok(AlarmType::NoSpace) => AlarmKind::NoSpace,
            Ok(AlarmType::Corrupt) => AlarmKind::Corrupt,
            Ok(AlarmType::None) | Err(_) => return None,
        };
        Some(Alarm { member: alarm.member_id, kind })
    });
    let mut alarms: Vec<Alarm> = known.collect();
    alarms.sort_unstable();
    alarms
}

impl Inner {
    pub(super) async fn alarms(&self) -> Result<Vec<Alarm>, Error> {
        let answer = self.calls.unary(methods::ALARM, AlarmRequest::default()).await.map_err(failed)?;
        Ok(known_alarms(answer))
    }

    /// Turns an alarm on or off. etcd knows a full disk and a full quota as one.
    pub(super) async fn turn(&self, alarm: Alarm, action: AlarmAction) -> Result<Vec<Alarm>, Error> {
        let kind = match alarm.kind {
            AlarmKind::NoSpace | AlarmKind::DiskFull => AlarmType::NoSpace,
            AlarmKind::Corrupt | AlarmKind::Damaged | AlarmKind::Differs => AlarmType::Corrupt,
        };
        let request = AlarmRequest { action: action as i32, member_id: alarm.member, alarm: kind as i32 };
        self.calls.unary(methods::ALARM, request).await.map_err(failed)?;
        self.alarms().await
    }

    pub(super) async fn hash_kv(&self, revision: Revision) -> Result<KvHash, Error> {
        let request = HashKvRequest { revision: signed(revision) };
        match self.calls.unary(methods::HASH_KV, request).await {
            Ok(answer) => {
                let compact_revision = self.note_compaction(unsigned(answer.compact_revision));
                let newest = answer.header.map_or(0, |header| unsigned(header.revision));
                let revision = if revision == 0 { newest } else { revision };
                Ok(KvHash { hash: answer.hash, revision, compact_revision })
            }
            Err(status) => Err(self.revision_refused(revision, &status).await),
        }
    }

    pub(super) async fn defragment(&self) -> Result<(), Error> {
        self.calls.unary(methods::DEFRAGMENT, Anything {}).await.map_err(failed).map(drop)
    }

    /// Refused: a snapshot of an etcd cluster is etcd's own, and restored by etcd's tools.
    pub(super) fn snapshot(&self) -> Result<SnapshotStream, Error> {
        let remedy = "the keyspace is in an etcd cluster: use `etcdctl snapshot save` there";
        let source = Arc::new(std::io::Error::new(std::io::ErrorKind::Unsupported, remedy));
        Err(EngineError::Io { operation: "take a snapshot", source }.into())
    }
}
