//! Why a request failed: one row for each reason, with its HTTP code and the word that clients read.
//!
//! Source: `StatusReason` of `k8s.io/apimachinery/pkg/apis/meta/v1`; the last rows are HTTP's own.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal $word:literal,)*) => {
        /// The `reason` of a failed [`Status`](crate::Status).
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum Reason {
            $($(#[$doc])* $name,)*
            /// A word of another server, or of another version of this one.
            Other(String),
        }

        impl Reason {
            const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The HTTP code of a failure for this reason.
            pub const fn code(&self) -> u16 {
                match self {
                    $(Self::$name => $code,)*
                    Self::Other(_) => 500,
                }
            }

            /// The word that clients read.
            pub fn word(&self) -> &str {
                match self {
                    $(Self::$name => $word,)*
                    Self::Other(word) => word,
                }
            }
        }
    };
}

reasons! {
    /// The request itself is wrong.
    BadRequest = 400 "BadRequest",
    /// The caller did not prove its identity.
    Unauthorized = 401 "Unauthorized",
    /// The caller may not do this.
    Forbidden = 403 "Forbidden",
    /// There is no such object or endpoint.
    NotFound = 404 "NotFound",
    /// The endpoint does not take this method.
    MethodNotAllowed = 405 "MethodNotAllowed",
    /// No media type that is served is accepted.
    NotAcceptable = 406 "NotAcceptable",
    /// The object was changed, or cannot be changed as it is.
    Conflict = 409 "Conflict",
    /// The name is taken.
    AlreadyExists = 409 "AlreadyExists",
    /// History that old is gone: list again.
    Expired = 410 "Expired",
    /// What was asked for is gone for good.
    Gone = 410 "Gone",
    /// The body, or what is to be stored, is too large.
    RequestEntityTooLarge = 413 "RequestEntityTooLarge",
    /// Bodies of this media type are not read.
    UnsupportedMediaType = 415 "UnsupportedMediaType",
    /// Fields of the object are wrong.
    Invalid = 422 "Invalid",
    /// A limit of the server is reached: try again later.
    TooManyRequests = 429 "TooManyRequests",
    /// The server failed.
    InternalError = 500 "InternalError",
    /// The server cannot serve right now: try again later.
    ServiceUnavailable = 503 "ServiceUnavailable",
    /// The server did not get it done in time; whether it was done is unknown.
    Timeout = 504 "Timeout",
    /// The client did not send the request in time.
    RequestTimeout = 408 "Timeout",
    /// The endpoint needs another protocol.
    UpgradeRequired = 426 "UpgradeRequired",
    /// There is no room to store it.
    InsufficientStorage = 507 "InsufficientStorage",
}

impl Reason {
    /// The reason for an answer of which only the HTTP code is known.
    pub fn of_code(code: u16) -> Option<Self> {
        Self::ALL.iter().find(|reason| reason.code() == code).cloned()
    }
}

impl Default for Reason {
    /// No word at all.
    fn default() -> Self {
        Self::Other(String::new())
    }
}

impl From<String> for Reason {
    fn from(word: String) -> Self {
        Self::ALL.iter().find(|reason| reason.word() == word).cloned().unwrap_or(Self::Other(word))
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.word().to_owned()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Reasons of single causes (`StatusCause`), beside those of fields.
pub mod cause {
    /// A command ended with the exit code in the message.
    pub const EXIT_CODE: &str = "ExitCode";
    /// Another manager owns the field.
    pub const FIELD_MANAGER_CONFLICT: &str = "FieldManagerConflict";
    /// The namespace is being deleted.
    pub const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";
    /// A version was asked for that does not exist yet.
    pub const RESOURCE_VERSION_TOO_LARGE: &str = "ResourceVersionTooLarge";
    /// A token with scopes was to become a certificate.
    pub const SCOPED_TOKEN: &str = "ScopedToken";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_and_codes_lead_to_the_usual_reason() {
        for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::RequestTimeout) {
            assert_eq!(Reason::from(reason.word().to_owned()), *reason);
        }
        assert_eq!(Reason::from("NonZeroExitCode".to_owned()), Reason::Other("NonZeroExitCode".into()));
        for (code, wanted) in [(409, Some(Reason::Conflict)), (410, Some(Reason::Expired)), (418, None)] {
            assert_eq!(Reason::of_code(code), wanted);
        }
    }
}
