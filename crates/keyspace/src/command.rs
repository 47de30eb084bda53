//! What the state machine is told, and what it answers. This is the content of the replicated log: variants are
//! only ever added at the end.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    Alarm, EngineError, Error, KeyRange, KvHash, LeaseGranted, LeaseId, Op, Refusal, Revision, Txn, TxnResponse,
};

/// A change of the state. Everything a decision depends on is in it, time included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Run a transaction.
    Txn(Txn),
    /// Forget history before a revision.
    Compact {
        /// Oldest revision to keep readable.
        revision: Revision,
    },
    /// Grant a lease.
    LeaseGrant {
        /// Its id, 0 to have one chosen.
        id: LeaseId,
        /// Time to live, seconds.
        ttl_seconds: i64,
    },
    /// Start a lease's time to live anew.
    LeaseKeepAlive {
        /// The lease.
        id: LeaseId,
    },
    /// End a lease and delete its keys.
    LeaseRevoke {
        /// The lease.
        id: LeaseId,
    },
    /// Time has come this far: leases due by then end. Cluster time starts at 0, counts milliseconds, never runs
    /// backwards (an older `now_ms` changes nothing) and stands still while nobody leads, so that no lease ends
    /// early because of a restart or a wrong wall clock.
    Tick {
        /// Cluster time, milliseconds.
        now_ms: u64,
    },
    /// Turn an alarm on.
    AlarmSet(Alarm),
    /// Turn an alarm off.
    AlarmClear(Alarm),
    /// The leader says what its state is; each member compares its own when it has applied this. Changes nothing.
    CheckHash {
        /// Checksum of the leader's state.
        hash: KvHash,
    },
    /// Write down that a member is removed, and turn its alarms off. No alarm forbids it.
    RecordRemoval {
        /// The member.
        member: u64,
        /// Where to write it down.
        key: Bytes,
        /// What to write.
        value: Bytes,
    },
}

impl Command {
    /// Whether applying this depends on what time it is, so that a tick should go before it.
    pub fn needs_time(&self) -> bool {
        matches!(self, Command::LeaseGrant { .. } | Command::LeaseKeepAlive { .. })
    }

    /// Whether the work may grow with the state, as that of deleting all keys does, and not only with the command.
    pub fn may_take_long(&self) -> bool {
        match self {
            Command::Txn(txn) => txn.may_take_long(),
            // The keys of a lease.
            Command::LeaseRevoke { .. } | Command::Tick { .. } => true,
            _ => false,
        }
    }

    /// Bytes this command takes, roughly.
    pub fn size(&self) -> usize {
        match self {
            Command::Txn(txn) => txn.size(),
            Command::RecordRemoval { key, value, .. } => key.len() + value.len() + 32,
            _ => 32,
        }
    }
}

impl Txn {
    /// Whether no branch, at any depth, writes.
    pub fn is_read_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|op| match op {
            Op::Put(_) | Op::Delete(_) => false,
            Op::Range(_) => true,
            Op::Txn(inner) => inner.is_read_only(),
        })
    }

    /// Whether a compare or an operation, at any depth, is about more than one key.
    fn may_take_long(&self) -> bool {
        let many = |range: &KeyRange| !matches!(range, KeyRange::Key(_));
        let op = |op: &Op| match op {
            Op::Put(_) => false,
            Op::Delete(delete) => many(&delete.range),
            Op::Range(range) => many(&range.range),
            Op::Txn(inner) => inner.may_take_long(),
        };
        self.compares.iter().any(|compare| many(&compare.range)) || self.success.iter().chain(&self.failure).any(op)
    }

    /// Bytes of all keys, values and operands.
    pub fn size(&self) -> usize {
        let operand = |compare: &crate::Compare| match &compare.operand {
            crate::Operand::Value(value) => value.len(),
            _ => 8,
        };
        let op = |op: &Op| match op {
            Op::Put(put) => put.key.len() + put.value.len() + 16,
            Op::Delete(delete) => delete.range.size() + 8,
            Op::Range(range) => range.range.size() + 32,
            Op::Txn(inner) => inner.size(),
        };
        self.compares.iter().map(|c| c.range.size() + operand(c)).sum::<usize>()
            + self.success.iter().chain(&self.failure).map(op).sum::<usize>()
    }
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Of a transaction.
    Txn(TxnResponse),
    /// Of a compaction.
    Compacted {
        /// Newest revision.
        revision: Revision,
    },
    /// Of a grant or keep-alive.
    Lease(LeaseGranted),
    /// Of a revoke.
    Revoked {
        /// Newest revision.
        revision: Revision,
    },
    /// Of a tick.
    Ticked {
        /// Leases ended.
        expired: u64,
        /// Whether more are due: tick again.
        more: bool,
    },
    /// Of turning an alarm on or off: those that are on now.
    Alarms(Vec<Alarm>),
    /// Of a check of hashes; what it finds shows later, as an alarm.
    HashTaken,
}

impl Reply {
    /// The reply of a transaction.
    pub fn into_txn(self) -> Result<TxnResponse, Error> {
        match self {
            Reply::Txn(response) => Ok(response),
            other => Err(other.unexpected()),
        }
    }

    /// The reply of a grant or keep-alive.
    pub fn into_lease(self) -> Result<LeaseGranted, Error> {
        match self {
            Reply::Lease(granted) => Ok(granted),
            other => Err(other.unexpected()),
        }
    }

    /// The revision in the reply of a compaction or a revoke.
    pub fn into_revision(self) -> Result<Revision, Error> {
        match self {
            Reply::Compacted { revision } | Reply::Revoked { revision } => Ok(revision),
            other => Err(other.unexpected()),
        }
    }

    /// The reply of turning an alarm on or off.
    pub fn into_alarms(self) -> Result<Vec<Alarm>, Error> {
        match self {
            Reply::Alarms(alarms) => Ok(alarms),
            other => Err(other.unexpected()),
        }
    }

    /// A reply of another command means that replies and proposals got mixed up.
    fn unexpected(&self) -> Error {
        let detail = format!("it answers another command: {self:?}");
        EngineError::Corrupt { what: "reply of the state machine".into(), detail }.into()
    }
}

/// Reply, or why not. A refused command changed nothing.
pub type Outcome = Result<Reply, Refusal>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compare, Delete, RangeRequest};

    #[test]
    fn what_is_about_single_keys_is_short() {
        let many = Op::Range(RangeRequest::prefix("a"));
        let all = Op::Delete(Delete { range: KeyRange::all(), prev: false });
        let long = [
            Txn::run([many.clone()]),
            Txn::run([all]),
            Txn::when([Compare { range: KeyRange::prefix("a"), ..Compare::absent("a") }]),
            Txn::run([Op::Txn(Txn::run([Op::put("a", "b")]).otherwise([many]))]),
        ];
        assert!(long.into_iter().map(Command::Txn).all(|command| command.may_take_long()));
        assert!(Command::LeaseRevoke { id: 1 }.may_take_long());
        let inner = Txn::run([Op::delete("a"), Op::get("b")]);
        let short = Txn::when([Compare::absent("a")]).then([Op::put("a", "b")]).otherwise([Op::Txn(inner)]);
        assert!(!Command::Txn(short).may_take_long());
        assert!(!Command::LeaseKeepAlive { id: 1 }.may_take_long());
    }
}
