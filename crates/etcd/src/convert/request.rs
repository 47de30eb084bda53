//! What a client asks, as the keyspace understands it.

use bytes::Bytes;
use keyspace::{
    Compare, Delete, KeyRange, Op, Operand, Projection, Put, RangeRequest, Relation, RevisionFilter, SortOrder,
    SortTarget, Txn, WatchKinds, WatchRequest,
};
use tonic::Status;

use super::{reserved, unsigned};
use crate::refuse;
use crate::wire::kv;
use crate::wire::watch::{FilterType, WatchCreateRequest};

/// End of a range that has none.
const OPEN: &[u8] = b"\0";

/// Keys from `key` to `end`: a single key without an end, all that follow with the end `\0`. Reserved keys are not among
/// them.
fn key_range(key: Bytes, end: Bytes) -> Result<KeyRange, Status> {
    if key.is_empty() {
        return Err(refuse::EMPTY_KEY.into());
    }
    Ok(reserved::visible(if end.is_empty() {
        KeyRange::Key(key)
    } else if end == OPEN {
        KeyRange::From(key)
    } else {
        KeyRange::Span { start: key, end }
    }))
}

fn known<T>(converted: Result<T, prost::UnknownEnumValue>, refusal: refuse::Known) -> Result<T, Status> {
    converted.map_err(|_| refusal.into())
}

/// A range.
pub(crate) fn range(request: kv::RangeRequest) -> Result<RangeRequest, Status> {
    let order = known(kv::SortOrder::try_from(request.sort_order), refuse::INVALID_SORT)?;
    let target = known(kv::SortTarget::try_from(request.sort_target), refuse::INVALID_SORT)?;
    Ok(RangeRequest {
        range: key_range(request.key, request.range_end)?,
        revision: unsigned(request.revision),
        limit: unsigned(request.limit),
        target: match target {
            kv::SortTarget::Key => SortTarget::Key,
            kv::SortTarget::Version => SortTarget::Version,
            kv::SortTarget::Create => SortTarget::Create,
            kv::SortTarget::Mod => SortTarget::Mod,
            kv::SortTarget::Value => SortTarget::Value,
        },
        order: match order {
            kv::SortOrder::None | kv::SortOrder::Ascend => SortOrder::Ascending,
            kv::SortOrder::Descend => SortOrder::Descending,
        },
        projection: match (request.count_only, request.keys_only) {
            (true, _) => Projection::CountOnly,
            (false, true) => Projection::KeysOnly,
            (false, false) => Projection::Full,
        },
        filter: RevisionFilter {
            min_mod: unsigned(request.min_mod_revision),
            max_mod: unsigned(request.max_mod_revision),
            min_create: unsigned(request.min_create_revision),
            max_create: unsigned(request.max_create_revision),
        },
        skip_count: false,
        serializable: request.serializable,
    })
}

/// A put.
pub(crate) fn put(request: kv::PutRequest) -> Result<Put, Status> {
    if request.key.is_empty() {
        return Err(refuse::EMPTY_KEY.into());
    }
    reserved::require_free(&request.key)?;
    if request.ignore_value && !request.value.is_empty() {
        return Err(refuse::VALUE_PROVIDED.into());
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(refuse::LEASE_PROVIDED.into());
    }
    Ok(Put {
        key: request.key,
        value: request.value,
        lease: request.lease,
        prev: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    })
}

/// A delete.
pub(crate) fn delete(request: kv::DeleteRangeRequest) -> Result<Delete, Status> {
    Ok(Delete { range: key_range(request.key, request.range_end)?, prev: request.prev_kv })
}

/// A transaction.
pub(crate) fn txn(request: kv::TxnRequest) -> Result<Txn, Status> {
    Ok(Txn {
        compares: request.compare.into_iter().map(compare).collect::<Result<_, _>>()?,
        success: request.success.into_iter().map(op).collect::<Result<_, _>>()?,
        failure: request.failure.into_iter().map(op).collect::<Result<_, _>>()?,
    })
}

fn op(request: kv::RequestOp) -> Result<Op, Status> {
    Ok(match request.request {
        Some(kv::Request::Range(request)) => Op::Range(range(request)?),
        Some(kv::Request::Put(request)) => Op::Put(put(request)?),
        Some(kv::Request::DeleteRange(request)) => Op::Delete(delete(request)?),
        Some(kv::Request::Txn(request)) => Op::Txn(txn(request)?),
        // etcd answers the same to an operation it does not know.
        None => return Err(refuse::KEY_NOT_FOUND.into()),
    })
}

fn compare(request: kv::Compare) -> Result<Compare, Status> {
    let broken = || Status::invalid_argument("etcdserver: invalid comparison");
    let result = kv::CompareResult::try_from(request.result).map_err(|_| broken())?;
    let target = kv::CompareTarget::try_from(request.target).map_err(|_| broken())?;
    let relation = match result {
        kv::CompareResult::Equal => Relation::Equal,
        kv::CompareResult::NotEqual => Relation::NotEqual,
        kv::CompareResult::Greater => Relation::Greater,
        kv::CompareResult::Less => Relation::Less,
    };
    // An operand of another kind than the target counts as absent, that is 0 or empty.
    let (relation, operand) = match (target, request.operand) {
        (kv::CompareTarget::Version, Some(kv::Operand::Version(number))) => {
            number_of(relation, number, Operand::Version)
        }
        (kv::CompareTarget::Version, _) => (relation, Operand::Version(0)),
        (kv::CompareTarget::Create, Some(kv::Operand::Create(number))) => number_of(relation, number, Operand::Create),
        (kv::CompareTarget::Create, _) => (relation, Operand::Create(0)),
        (kv::CompareTarget::Mod, Some(kv::Operand::Mod(number))) => number_of(relation, number, Operand::Mod),
        (kv::CompareTarget::Mod, _) => (relation, Operand::Mod(0)),
        (kv::CompareTarget::Value, Some(kv::Operand::Value(value))) => (relation, Operand::Value(value)),
        (kv::CompareTarget::Value, _) => (relation, Operand::Value(Bytes::new())),
        (kv::CompareTarget::Lease, Some(kv::Operand::Lease(lease))) => (relation, Operand::Lease(lease)),
        (kv::CompareTarget::Lease, _) => (relation, Operand::Lease(0)),
    };
    if request.range_end.is_empty() {
        // An empty range fulfils every comparison, and an absent key does not.
        reserved::require_free(&request.key)?;
    }
    Ok(Compare { range: key_range(request.key, request.range_end)?, relation, operand })
}

/// A comparison with a number. What is stored is never negative, so with a negative one the outcome is known.
fn number_of(relation: Relation, number: i64, operand: fn(u64) -> Operand) -> (Relation, Operand) {
    match (u64::try_from(number), relation) {
        (Ok(number), relation) => (relation, operand(number)),
        (Err(_), Relation::Equal | Relation::Less) => (Relation::Less, operand(0)),
        (Err(_), Relation::NotEqual | Relation::Greater) => (Relation::NotEqual, operand(u64::MAX)),
    }
}

/// A watch, and whether its client wants no events at all (both filters).
pub(crate) fn watch(request: &WatchCreateRequest) -> Result<(WatchRequest, bool), Status> {
    let key = if request.key.is_empty() { Bytes::from_static(OPEN) } else { request.key.clone() };
    let range = key_range(key, request.range_end.clone())?;
    let wanted = |filter: FilterType| !request.filters.contains(&(filter as i32));
    let (puts, deletes) = (wanted(FilterType::NoPut), wanted(FilterType::NoDelete));
    let mut watch = WatchRequest::new(range, unsigned(request.start_revision));
    watch.prev = request.prev_kv;
    watch.kinds = match (puts, deletes) {
        (true, false) => WatchKinds::Puts,
        (false, true) => WatchKinds::Deletes,
        (true, true) | (false, false) => WatchKinds::All,
    };
    watch.progress = request.progress_notify.then_some(crate::limits::PROGRESS_EVERY);
    Ok((watch, !puts && !deletes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range_of(key: &'static str, end: &'static str) -> Result<KeyRange, tonic::Code> {
        key_range(key.into(), end.into()).map_err(|status| status.code())
    }

    #[test]
    fn ranges_are_read_as_etcd_reads_them() {
        assert_eq!(range_of("a", ""), Ok(KeyRange::key("a")));
        assert_eq!(range_of("a", "c"), Ok(KeyRange::span("a", "c")));
        assert_eq!(range_of("a", "\0"), Ok(KeyRange::From("a".into())));
        assert_eq!(range_of("", "\0"), Err(tonic::Code::InvalidArgument));
        assert_eq!(range_of("\0", "\0"), Ok(KeyRange::From("\x01".into())), "everything but reserved keys");
        let unsorted = kv::RangeRequest { key: "a".into(), sort_order: 9, ..Default::default() };
        assert!(range(unsorted).is_err_and(|status| refuse::INVALID_SORT.is(&status)));
    }

    #[test]
    fn what_a_put_keeps_cannot_be_given() {
        let put_of = |value: &'static str, lease, ignore_value, ignore_lease| {
            put(kv::PutRequest {
                key: "k".into(),
                value: value.into(),
                lease,
                ignore_value,
                ignore_lease,
                prev_kv: false,
            })
        };
        assert!(put_of("v", 0, true, false).is_err_and(|status| refuse::VALUE_PROVIDED.is(&status)));
        assert!(put_of("", 7, false, true).is_err_and(|status| refuse::LEASE_PROVIDED.is(&status)));
        assert!(put_of("", 0, true, true).is_ok());
    }

    #[test]
    fn comparisons_take_their_operand_by_target() {
        let compare_of = |result: kv::CompareResult, target: kv::CompareTarget, operand| {
            let request = kv::Compare {
                result: result as i32,
                target: target as i32,
                key: "k".into(),
                operand,
                range_end: Bytes::new(),
            };
            let made = compare(request).expect("well formed");
            (made.relation, made.operand)
        };
        use kv::{CompareResult as Result, CompareTarget as Target, Operand as Given};
        for (result, target, operand, expected) in [
            (Result::Less, Target::Mod, Some(Given::Mod(7)), (Relation::Less, Operand::Mod(7))),
            (Result::Equal, Target::Mod, Some(Given::Version(7)), (Relation::Equal, Operand::Mod(0))),
            (Result::Equal, Target::Value, None, (Relation::Equal, Operand::Value(Bytes::new()))),
            (Result::Equal, Target::Create, Some(Given::Create(-1)), (Relation::Less, Operand::Create(0))),
            (
                Result::Greater,
                Target::Version,
                Some(Given::Version(-1)),
                (Relation::NotEqual, Operand::Version(u64::MAX)),
            ),
            (Result::NotEqual, Target::Lease, Some(Given::Lease(-3)), (Relation::NotEqual, Operand::Lease(-3))),
        ] {
            assert_eq!(compare_of(result, target, operand), expected);
        }
    }
}
