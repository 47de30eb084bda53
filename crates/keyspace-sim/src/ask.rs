//! Requests of a history, put to a keyspace.

use bytes::Bytes;
use keyspace::{Compare, Error, Keyspace, Op, OpResponse, Operand, Put, RangeRequest, Txn, TxnResponse};

use crate::history::{Request, Response};

/// Whether an error means that nothing was done, for certain.
pub fn refused(error: &Error) -> bool {
    matches!(
        error,
        Error::Refused(_) | Error::NoLeader { .. } | Error::NotLeader { .. } | Error::Overloaded { .. } | Error::Closed
    )
}

/// Asks. `stale` has reads answered as if an answer from the past would do: a bug put in on purpose.
pub async fn ask(keyspace: &dyn Keyspace, request: &Request, stale: bool) -> Result<Response, Error> {
    match request {
        Request::Put { writes, lease } => {
            let put = |(key, value): &(Bytes, Bytes)| {
                Op::Put(Put { key: key.clone(), value: value.clone(), lease: *lease, ..Put::default() })
            };
            let txn = Txn::run(writes.iter().map(put).collect::<Vec<_>>());
            Ok(Response::Put { revision: keyspace.txn(txn).await?.revision })
        }
        Request::Delete { key } => {
            let answer = keyspace.txn(Txn::run([Op::delete(key.clone())])).await?;
            let prev = match answer.responses.into_iter().next() {
                Some(OpResponse::Delete { prev, .. }) => prev.into_iter().next(),
                _ => None,
            };
            Ok(Response::Deleted { revision: answer.revision, prev })
        }
        Request::Swap { key, expected, value } => {
            let compare = match expected {
                None => Compare::absent(key.clone()),
                Some(expected) => Compare::equal(key.clone(), Operand::Value(expected.clone())),
            };
            let txn = Txn::when([compare]).then([Op::put(key.clone(), value.clone())]);
            Ok(swapped(keyspace.txn(txn.otherwise([Op::get(key.clone())])).await?))
        }
        Request::Read { key, prefix, serializable } => {
            let range = if *prefix { RangeRequest::prefix(key.clone()) } else { RangeRequest::key(key.clone()) };
            let answer = keyspace.range(RangeRequest { serializable: *serializable || stale, ..range }).await?;
            Ok(Response::Read { revision: answer.revision, kvs: answer.kvs })
        }
    }
}

fn swapped(answer: TxnResponse) -> Response {
    if answer.succeeded {
        return Response::Swapped { revision: answer.revision };
    }
    let found = match answer.responses.into_iter().next() {
        Some(OpResponse::Range(range)) => range.kvs.into_iter().next(),
        _ => None,
    };
    Response::NotSwapped { revision: answer.revision, found }
}
