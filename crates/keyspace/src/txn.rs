//! Running transactions: compares first, then all refusals, then the writes.

use bytes::Bytes;

use crate::codec::State;
use crate::engine::{Table, View};
use crate::work::Work;
use crate::{
    Compare, Delete, EngineError, EventKind, KeyRange, KeyValue, Op, OpResponse, Operand, Projection, Put,
    RangeRequest, Refusal, Relation, Txn, TxnResponse, codec, read,
};

/// A transaction whose compares have been decided, at every depth.
struct Plan<'t> {
    succeeded: bool,
    steps: Vec<Step<'t>>,
}

enum Step<'t> {
    Put(&'t Put),
    Delete(&'t Delete),
    Range(&'t RangeRequest),
    Txn(Plan<'t>),
}

/// Runs `txn`; on a refusal nothing was written. Writes take the revision after `work`'s current one.
pub(crate) fn run<V: View>(work: &mut Work<'_, V>, txn: &Txn) -> Result<Result<TxnResponse, Refusal>, EngineError> {
    let plan = plan(&work.view, txn)?;
    if let Err(refusal) = check(&work.view, &work.state, &plan)? {
        return Ok(Err(refusal));
    }
    work.begin();
    let mut response = execute(work, plan)?;
    work.end();
    response.revision = work.state.revision;
    Ok(Ok(response))
}

fn plan<'t>(view: &impl View, txn: &'t Txn) -> Result<Plan<'t>, EngineError> {
    let mut succeeded = true;
    for compare in &txn.compares {
        if !holds(view, compare)? {
            succeeded = false;
            break;
        }
    }
    let branch = if succeeded { &txn.success } else { &txn.failure };
    let step = |op: &'t Op| {
        Ok(match op {
            Op::Put(put) => Step::Put(put),
            Op::Delete(delete) => Step::Delete(delete),
            Op::Range(range) => Step::Range(range),
            Op::Txn(inner) => Step::Txn(plan(view, inner)?),
        })
    };
    Ok(Plan { succeeded, steps: branch.iter().map(step).collect::<Result<_, EngineError>>()? })
}

/// Whether `compare` holds: for the key (an absent one counts as all 0, without a value), or for all keys there are
/// in its range.
fn holds(view: &impl View, compare: &Compare) -> Result<bool, EngineError> {
    let with_value = matches!(compare.operand, Operand::Value(_));
    let projection = if with_value { Projection::Full } else { Projection::KeysOnly };
    let found = if let KeyRange::Key(key) = &compare.range {
        current(view, key)?.into_iter().collect()
    } else {
        let request = RangeRequest { projection, ..RangeRequest::new(compare.range.clone()) };
        read::range_checked(view, 0, &request)?.kvs
    };
    if found.is_empty() {
        return Ok(!with_value && relates(&KeyValue::default(), compare));
    }
    Ok(found.iter().all(|kv| relates(kv, compare)))
}

fn relates(kv: &KeyValue, compare: &Compare) -> bool {
    let order = match &compare.operand {
        Operand::Version(version) => kv.version.cmp(version),
        Operand::Create(revision) => kv.create_revision.cmp(revision),
        Operand::Mod(revision) => kv.mod_revision.cmp(revision),
        Operand::Value(value) => kv.value.cmp(value),
        Operand::Lease(lease) => kv.lease.cmp(lease),
    };
    match compare.relation {
        Relation::Equal => order.is_eq(),
        Relation::NotEqual => order.is_ne(),
        Relation::Greater => order.is_gt(),
        Relation::Less => order.is_lt(),
    }
}

/// Everything that could refuse the plan. Keys are written once in a transaction, so the state before it decides.
fn check(view: &impl View, state: &State, plan: &Plan<'_>) -> Result<Result<(), Refusal>, EngineError> {
    for step in &plan.steps {
        let checked = match step {
            Step::Put(put) => check_put(view, put)?,
            Step::Delete(_) => Ok(()),
            Step::Range(range) => read::check_revision(state, range.revision),
            Step::Txn(inner) => check(view, state, inner)?,
        };
        if checked.is_err() {
            return Ok(checked);
        }
    }
    Ok(Ok(()))
}

fn check_put(view: &impl View, put: &Put) -> Result<Result<(), Refusal>, EngineError> {
    if (put.ignore_value || put.ignore_lease) && view.get(Table::Current, &put.key)?.is_none() {
        return Ok(Err(Refusal::KeyNotFound { key: put.key.clone() }));
    }
    if put.lease != 0 && view.get(Table::Leases, &codec::lease_key(put.lease))?.is_none() {
        return Ok(Err(Refusal::LeaseNotFound { id: put.lease }));
    }
    Ok(Ok(()))
}

fn execute<V: View>(work: &mut Work<'_, V>, plan: Plan<'_>) -> Result<TxnResponse, EngineError> {
    let mut responses = Vec::with_capacity(plan.steps.len());
    for step in plan.steps {
        responses.push(match step {
            Step::Put(put) => OpResponse::Put { prev: run_put(work, put)? },
            Step::Delete(delete) => run_delete(work, delete)?,
            Step::Range(range) => OpResponse::Range(read::range_checked(&work.view, work.reading(), range)?),
            Step::Txn(inner) => {
                let mut response = execute(work, inner)?;
                response.revision = work.reading();
                OpResponse::Txn(response)
            }
        });
    }
    Ok(TxnResponse { succeeded: plan.succeeded, revision: 0, responses })
}

fn run_put<V: View>(work: &mut Work<'_, V>, put: &Put) -> Result<Option<KeyValue>, EngineError> {
    let before = current(&work.view, &put.key)?;
    let kept = before.as_ref();
    let value = kept.filter(|_| put.ignore_value).map_or(&put.value, |kv| &kv.value).clone();
    let lease = kept.filter(|_| put.ignore_lease).map_or(put.lease, |kv| kv.lease);
    let answer = before.clone().filter(|_| put.prev);
    let kv = KeyValue {
        key: put.key.clone(),
        value,
        lease,
        version: kept.map_or(1, |kv| kv.version + 1),
        create_revision: kept.map_or(work.writing(), |kv| kv.create_revision),
        mod_revision: work.writing(),
    };
    work.change(EventKind::Put, kv, before)?;
    Ok(answer)
}

fn run_delete<V: View>(work: &mut Work<'_, V>, delete: &Delete) -> Result<OpResponse, EngineError> {
    let found = match &delete.range {
        KeyRange::Key(key) => current(&work.view, key)?.into_iter().collect(),
        range => read::range_checked(&work.view, 0, &RangeRequest::new(range.clone()))?.kvs,
    };
    let deleted = found.len() as u64;
    for kv in &found {
        work.delete(kv.clone())?;
    }
    Ok(OpResponse::Delete { deleted, prev: if delete.prev { found } else { Vec::new() } })
}

/// The newest version of `key`.
pub(crate) fn current(view: &impl View, key: &Bytes) -> Result<Option<KeyValue>, EngineError> {
    let bytes = view.get(Table::Current, key)?;
    bytes.map(|bytes| codec::decode_current(key, &bytes, true)).transpose()
}
