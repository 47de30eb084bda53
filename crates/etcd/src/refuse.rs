//! Errors as etcd words them (`rpctypes`): its clients tell them apart by code and text.

use keyspace::{EngineError, Error, Refusal};
use tonic::{Code, Status};

/// An error of etcd's vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    code: Code,
    text: &'static str,
}

impl Known {
    const fn new(code: Code, text: &'static str) -> Self {
        Known { code, text }
    }

    /// Whether a server answered this.
    pub(crate) fn is(self, status: &Status) -> bool {
        status.code() == self.code && status.message() == self.text
    }
}

impl From<Known> for Status {
    fn from(known: Known) -> Status {
        Status::new(known.code, known.text)
    }
}

macro_rules! vocabulary {
    ($($name:ident = $code:ident $text:literal;)*) => {
        $(pub(crate) const $name: Known = Known::new(Code::$code, $text);)*
    };
}

vocabulary! {
    EMPTY_KEY = InvalidArgument "etcdserver: key is not provided";
    KEY_NOT_FOUND = InvalidArgument "etcdserver: key not found";
    VALUE_PROVIDED = InvalidArgument "etcdserver: value is provided";
    LEASE_PROVIDED = InvalidArgument "etcdserver: lease is provided";
    TOO_MANY_OPS = InvalidArgument "etcdserver: too many operations in txn request";
    DUPLICATE_KEY = InvalidArgument "etcdserver: duplicate key given in txn request";
    INVALID_SORT = InvalidArgument "etcdserver: invalid sort option";
    COMPACTED = OutOfRange "etcdserver: mvcc: required revision has been compacted";
    FUTURE_REVISION = OutOfRange "etcdserver: mvcc: required revision is a future revision";
    NO_SPACE = ResourceExhausted "etcdserver: mvcc: database space exceeded";
    LEASE_NOT_FOUND = NotFound "etcdserver: requested lease not found";
    LEASE_EXISTS = FailedPrecondition "etcdserver: lease already exists";
    LEASE_TTL_TOO_LARGE = OutOfRange "etcdserver: too large lease TTL";
    REQUEST_TOO_LARGE = InvalidArgument "etcdserver: request is too large";
    TOO_MANY_REQUESTS = ResourceExhausted "etcdserver: too many requests";
    TOO_MANY_WATCHES = ResourceExhausted "etcdserver: too many watchers";
    NO_LEADER = Unavailable "etcdserver: no leader";
    NOT_LEADER = FailedPrecondition "etcdserver: not leader";
    LEADER_CHANGED = Unavailable "etcdserver: leader changed";
    TIMEOUT = Unavailable "etcdserver: request timed out";
    STOPPED = Unavailable "etcdserver: server stopped";
    CORRUPT = DataLoss "etcdserver: corrupt cluster";
    PERMISSION_DENIED = PermissionDenied "etcdserver: permission denied";
    MEMBER_NOT_FOUND = NotFound "etcdserver: member not found";
    PEER_URL_EXISTS = FailedPrecondition "etcdserver: Peer URLs already exists";
    MEMBER_NOT_LEARNER = FailedPrecondition "etcdserver: can only promote a learner member";
    LEARNER_NOT_READY = FailedPrecondition "etcdserver: can only promote a learner member which is in sync with leader";
    TOO_FEW_STARTED = FailedPrecondition "etcdserver: re-configuration failed due to not enough started members";
    BAD_TRANSFEREE = FailedPrecondition "etcdserver: bad leader transferee";
    ROOT_USER_MISSING = FailedPrecondition "etcdserver: root user does not exist";
    USER_NOT_FOUND = FailedPrecondition "etcdserver: user name not found";
    ROLE_NOT_FOUND = FailedPrecondition "etcdserver: role name not found";
    AUTH_NOT_ENABLED = FailedPrecondition "etcdserver: authentication is not enabled";
    SESSION_EXPIRED = Unknown "mvcc: session expired";
    MISSING_LEADER_KEY = InvalidArgument "\"leader\" field must be provided";
    NOT_LEADING = Unknown "election: not leader";
    NO_ELECTION_LEADER = Unknown "election: no leader";
}

/// How the server answers what the keyspace says.
pub(crate) fn status(error: &Error) -> Status {
    let known = match error {
        Error::Refused(refusal) => refusal_of(refusal),
        Error::Storage(EngineError::NoSpace { .. }) => NO_SPACE,
        Error::Storage(EngineError::Corrupt { .. } | EngineError::Format { .. }) => CORRUPT,
        Error::Storage(EngineError::Replacing) => NO_LEADER,
        Error::Storage(EngineError::Io { operation, .. }) => {
            return Status::internal(format!("etcdserver: storage failed: {operation}"));
        }
        Error::Unavailable { .. } => TIMEOUT,
        Error::NoLeader { .. } | Error::NotLeader { leader: None } => NO_LEADER,
        Error::NotLeader { leader: Some(_) } => LEADER_CHANGED,
        Error::Overloaded { .. } => TOO_MANY_REQUESTS,
        Error::Closed => STOPPED,
        other => return Status::unknown(other.to_string()),
    };
    known.into()
}

fn refusal_of(refusal: &Refusal) -> Known {
    match refusal {
        Refusal::Compacted { .. } => COMPACTED,
        Refusal::FutureRevision { .. } => FUTURE_REVISION,
        Refusal::LeaseNotFound { .. } => LEASE_NOT_FOUND,
        Refusal::LeaseExists { .. } => LEASE_EXISTS,
        Refusal::LeaseOutOfBounds { .. } => LEASE_TTL_TOO_LARGE,
        Refusal::KeyNotFound { .. } => KEY_NOT_FOUND,
        Refusal::Contradiction { .. } => VALUE_PROVIDED,
        Refusal::DuplicateKey { .. } => DUPLICATE_KEY,
        Refusal::EmptyKey => EMPTY_KEY,
        Refusal::KeyTooLong { .. } | Refusal::RequestTooLarge { .. } => REQUEST_TOO_LARGE,
        Refusal::TooManyOperations { .. } | Refusal::TooDeep { .. } => TOO_MANY_OPS,
        Refusal::TooManyWatchers { .. } => TOO_MANY_WATCHES,
        Refusal::NoSpace { .. } => NO_SPACE,
        Refusal::Corrupt { .. } => CORRUPT,
    }
}
