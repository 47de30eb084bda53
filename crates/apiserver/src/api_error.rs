//! A request that failed: the public [`Status`] and the private cause.

use std::{error::Error as StdError, fmt};

use api::{FieldError, Kind, Reason, Status, cause, names::group::NANOCLOUD};
use http::Method;
use keyspace::{EngineError, Error as KeyspaceError, Refusal};

/// Why a request failed. The status goes to the caller, the cause only to the log.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: Box<Status>,
    pub(crate) cause: Option<Box<dyn StdError + Send + Sync>>,
    /// Methods that are served instead, for the header `Allow` of 405.
    pub(crate) allow: Vec<Method>,
}

/// What a handler returns.
pub(crate) type Result<T, E = ApiError> = std::result::Result<T, E>;

impl ApiError {
    /// A failure with its reason, which says the HTTP code, and a message.
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Status::failure(reason, message).into()
    }

    /// 400: the request itself is wrong.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// 403 with what to do.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(Reason::Forbidden, message)
    }

    /// 403 for an object that admission refuses.
    pub(crate) fn not_admitted(kind: &Kind, name: &str, why: &str) -> Self {
        let mut error = Self::forbidden(format!("{} {name:?} is forbidden: {why}", kind.resource()));
        let details = error.status.details.get_or_insert_default();
        details.name = name.into();
        details.group = kind.group().into();
        details.kind = kind.plural().into();
        error
    }

    /// 401 with what to do.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(Reason::Unauthorized, message)
    }

    /// 500 with a cause for the log.
    pub(crate) fn internal(message: &str, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let status =
            Status::failure(Reason::InternalError, message).with_remedy("look for the trace id in the server's log");
        Self { status: Box::new(status), cause: Some(cause.into()), allow: Vec::new() }
    }

    /// 410: history that old is gone.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(Reason::Expired, message).remedy("list again without continue or resourceVersion")
    }

    /// Fields of an object are wrong.
    pub(crate) fn invalid(kind: &Kind, name: &str, errors: &[FieldError]) -> Self {
        let mut status = Status::invalid(kind.kind(), name, errors);
        if let Some(details) = &mut status.details {
            details.group = kind.group().into();
        }
        if kind.group() == NANOCLOUD {
            status.code = Reason::BadRequest.code();
        }
        Self::from(status).remedy("correct the fields named in details.causes")
    }

    /// 404 for an object.
    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        let everywhere = if kind.is_namespaced() { " -A" } else { "" };
        Self::from(Status::not_found(&kind.resource(), name))
            .remedy(format!("see what there is: kubectl get {}{everywhere}", kind.plural()))
    }

    /// 404 for a kind that this server does not have.
    pub(crate) fn not_served(plural: &str) -> Self {
        Self::new(Reason::NotFound, format!("{plural} are not served"))
    }

    /// 409 for an object.
    pub(crate) fn conflict(kind: &Kind, name: &str, message: &str) -> Self {
        Status::conflict(&kind.resource(), name, message).into()
    }

    /// 405 with the methods that are served.
    pub(crate) fn method_not_allowed(method: &Method, served: Vec<Method>) -> Self {
        let names = served.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let error = Self::new(Reason::MethodNotAllowed, format!("{method} is not allowed here"))
            .remedy(format!("this endpoint takes {names}"));
        Self { allow: served, ..error }
    }

    /// Says what to do about it.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.status.remedy = remedy.into();
        self
    }

    /// Adds a machine-readable cause.
    pub(crate) fn with_cause(mut self, reason: &str, message: impl Into<String>) -> Self {
        self.status.details.get_or_insert_default().causes.push(api::StatusCause {
            reason: reason.into(),
            message: message.into(),
            field: String::new(),
        });
        self
    }

    /// Asks the caller to come back in some seconds.
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.status.details.get_or_insert_default().retry_after_seconds = Some(seconds);
        self
    }
}

impl From<Status> for ApiError {
    fn from(status: Status) -> Self {
        Self { status: Box::new(status), cause: None, allow: Vec::new() }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status.fmt(f)
    }
}

impl StdError for ApiError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_ref().map(|cause| &**cause as &(dyn StdError + 'static))
    }
}

impl From<KeyspaceError> for ApiError {
    fn from(error: KeyspaceError) -> Self {
        let busy = |reason, message: &str| Self::new(reason, message).retry_after(1);
        match &error {
            KeyspaceError::Refused(refusal) => refused(refusal, &error),
            KeyspaceError::Storage(EngineError::NoSpace { .. }) => {
                Self::internal("the disk under the keyspace is full", error).remedy("free space under the state root")
            }
            KeyspaceError::Storage(_) => Self::internal("the keyspace cannot be read or written", error),
            KeyspaceError::Unavailable { .. } => {
                busy(Reason::Timeout, "the keyspace did not answer in time; it is unknown whether a write took effect")
            }
            KeyspaceError::NoLeader { .. } => {
                busy(Reason::ServiceUnavailable, "the keyspace has no leader right now; nothing was done")
            }
            KeyspaceError::NotLeader { .. } => {
                busy(Reason::ServiceUnavailable, "this member does not lead the keyspace")
            }
            KeyspaceError::Overloaded { .. } => {
                busy(Reason::TooManyRequests, "too many requests wait for the keyspace already")
            }
            KeyspaceError::Closed => busy(Reason::ServiceUnavailable, "the server is shutting down"),
            _ => Self::internal("the keyspace failed", error),
        }
    }
}

fn refused(refusal: &Refusal, error: &KeyspaceError) -> ApiError {
    match refusal {
        Refusal::Compacted { requested, compacted } => {
            ApiError::expired(format!("too old resource version: {requested} ({compacted} is the oldest kept)"))
        }
        Refusal::FutureRevision { requested, current } => too_large(*requested, *current),
        Refusal::RequestTooLarge { bytes, limit } => ApiError::new(
            Reason::RequestEntityTooLarge,
            format!("the object takes {bytes} bytes, at most {limit} are stored in one write"),
        )
        .remedy("split the object, or keep large data in a volume"),
        Refusal::NoSpace { .. } => ApiError::new(Reason::InsufficientStorage, "the keyspace is full")
            .remedy("delete what is not needed, then see `nanocloud keyspace --help`; or free room on the disk"),
        Refusal::Corrupt { member } => ApiError::new(
            Reason::ServiceUnavailable,
            format!("member {member} differs from the leader, so nothing is written"),
        )
        .remedy("replace that member or restore a snapshot, then clear the alarm: `nanocloud keyspace alarms --clear`"),
        Refusal::TooManyWatchers { limit } => {
            ApiError::new(Reason::TooManyRequests, format!("{limit} watchers are open already")).retry_after(1)
        }
        _ => ApiError::internal("the keyspace refused the request", error.clone()),
    }
}

/// 406.
pub(crate) fn not_acceptable(served: &str) -> ApiError {
    ApiError::new(Reason::NotAcceptable, format!("only the following media types are accepted: {served}"))
        .remedy("send Accept: application/json")
}

/// 504, as Kubernetes answers a version that does not exist yet.
pub(crate) fn too_large(requested: u64, current: u64) -> ApiError {
    ApiError::new(Reason::Timeout, format!("Too large resource version: {requested}, current: {current}"))
        .with_cause(cause::RESOURCE_VERSION_TOO_LARGE, "Too large resource version")
        .retry_after(1)
}
