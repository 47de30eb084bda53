//! What a status of the cluster means by itself.

use std::sync::Arc;

use keyspace::{EngineError, Error, LeaseId, Refusal};
use tonic::{Code, Status};

use crate::refuse;

/// An error that is no refusal of the request.
pub(super) fn failure(status: &Status) -> Error {
    let detail = format!("etcd: {}", status.message());
    if refuse::NO_LEADER.is(status) || refuse::LEADER_CHANGED.is(status) {
        return Error::NoLeader { detail };
    }
    if refuse::TOO_MANY_REQUESTS.is(status) {
        return Error::NoLeader { detail };
    }
    let source = Arc::new(std::io::Error::other(detail.clone()));
    if refuse::NO_SPACE.is(status) {
        return EngineError::NoSpace { operation: "write to etcd", source }.into();
    }
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented | Code::InvalidArgument => {
            EngineError::Io { operation: "use the etcd cluster", source }.into()
        }
        Code::DataLoss => EngineError::Corrupt { what: "etcd cluster".into(), detail }.into(),
        _ => Error::Unavailable { detail },
    }
}

/// An error about a lease.
pub(super) fn of_lease(id: LeaseId, status: &Status) -> Error {
    if refuse::LEASE_NOT_FOUND.is(status) {
        Refusal::LeaseNotFound { id }.into()
    } else if refuse::LEASE_EXISTS.is(status) {
        Refusal::LeaseExists { id }.into()
    } else {
        failure(status)
    }
}

/// An answer that is not one to the request.
pub(super) fn garbled(what: &str) -> Error {
    let detail = "etcd's answer is not one to the request".to_owned();
    EngineError::Corrupt { what: what.to_owned(), detail }.into()
}
