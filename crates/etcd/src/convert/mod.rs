//! Between etcd's messages and the keyspace's requests. Pure.

mod answer;
mod client;
mod request;
mod reserved;

pub(crate) use answer::{event, key_value, range_response, txn_response};
pub(crate) use client::{from_event, from_range, from_txn, to_range, to_txn};
pub(crate) use request::{delete, put, range, txn, watch};

/// A count, revision or version as the protocol carries it. The machine's numbers stay far below the bound.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number of the protocol; negative ones mean the same as 0 there.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
