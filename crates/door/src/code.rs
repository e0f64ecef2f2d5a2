//! The closed list of what can go wrong at a door.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $name:literal, $status:ident, $retry:ident;)+) => {
        /// A stable code: clients match on it, so none is ever renamed or given another meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum ErrorCode { $($(#[$doc])* $code,)+ }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$code),+];

            /// The code as clients see it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => $name),+ }
            }

            /// The HTTP status it travels with.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$code => StatusCode::$status),+ }
            }

            const fn retry(self) -> Retry {
                match self { $(Self::$code => Retry::$retry),+ }
            }
        }
    };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Retry {
    Same,
    Never,
}

codes! {
    /// The key is empty, longer than 1024 bytes, or not UTF-8 once percent-decoded.
    InvalidKey = "invalid_key", BAD_REQUEST, Never;
    /// The bucket's name is not a name.
    InvalidBucket = "invalid_bucket", BAD_REQUEST, Never;
    /// `ttl` is not a length of time, or zero.
    InvalidTtl = "invalid_ttl", BAD_REQUEST, Never;
    /// `timeout` is not a length of time, or beyond what is allowed.
    InvalidTimeout = "invalid_timeout", BAD_REQUEST, Never;
    /// `consistency` is not `region`, `majority` or `all`.
    InvalidConsistency = "invalid_consistency", BAD_REQUEST, Never;
    /// `Isthmus-Session` is not a session token of this set.
    InvalidSession = "invalid_session", BAD_REQUEST, Never;
    /// A query parameter or header is unknown or malformed.
    InvalidRequest = "invalid_request", BAD_REQUEST, Never;
    /// A line of a batch is not an operation.
    InvalidOperation = "invalid_operation", BAD_REQUEST, Never;
    /// The caller has not proven who it is.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, Never;
    /// The caller has no right to this, the page of another site asks, or the listener is asked by a name that is not its own.
    Forbidden = "forbidden", FORBIDDEN, Never;
    /// The set does not know the bucket.
    UnknownBucket = "unknown_bucket", NOT_FOUND, Never;
    /// The key is absent, deleted or expired.
    NotFound = "not_found", NOT_FOUND, Never;
    /// There is no such path.
    UnknownPath = "unknown_path", NOT_FOUND, Never;
    /// The path does not know the method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, Never;
    /// The request was not sent within its time.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, Same;
    /// The store has not applied what the session has seen.
    Stale = "stale", CONFLICT, Same;
    /// What the session has seen belongs to a life that has ended and has to be synced first.
    NeedsSync = "needs_sync", CONFLICT, Same;
    /// The value is larger than its bucket allows.
    ValueTooLarge = "value_too_large", PAYLOAD_TOO_LARGE, Never;
    /// The body is larger than any request may be.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, Never;
    /// A fault of Isthmus.
    Internal = "internal", INTERNAL_SERVER_ERROR, Never;
    /// The process is starting, draining or behind.
    NotReady = "not_ready", SERVICE_UNAVAILABLE, Same;
    /// More requests wait than are allowed to.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, Same;
    /// The log does not answer; nothing was sent.
    LogNotWritable = "log_not_writable", SERVICE_UNAVAILABLE, Same;
    /// The writer's clock is ahead of the log's; the write is void.
    ClockAhead = "clock_ahead", SERVICE_UNAVAILABLE, Same;
    /// The write reached the log too late; it is void.
    TooLate = "too_late", SERVICE_UNAVAILABLE, Same;
    /// Too few regions can be reached for the consistency asked; nothing was written.
    RegionsUnreachable = "regions_unreachable", SERVICE_UNAVAILABLE, Same;
    /// The region has been without contact to a majority for too long and takes no writes.
    Fenced = "fenced", SERVICE_UNAVAILABLE, Same;
    /// A newer version of Isthmus wrote what this one can't read.
    UpgradeNeeded = "upgrade_needed", SERVICE_UNAVAILABLE, Never;
    /// The write is in this region's log; the regions asked for did not confirm in time.
    RegionsUnconfirmed = "regions_unconfirmed", GATEWAY_TIMEOUT, Never;
    /// The write was sent and no answer came in time: it may or may not be there.
    OutcomeUnknown = "outcome_unknown", GATEWAY_TIMEOUT, Never;
    /// The log is full and nothing may be trimmed.
    LogFull = "log_full", INSUFFICIENT_STORAGE, Same;
    /// The store is full; deletes pass.
    MemoryFull = "memory_full", INSUFFICIENT_STORAGE, Same;
}

impl ErrorCode {
    /// Whether the same request, which has changed nothing, may succeed later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        self.retry() == Retry::Same
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_what_is_serialised_and_distinct() {
        let mut seen = std::collections::BTreeSet::new();
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert!(seen.insert(code.as_str()));
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
    }

    #[test]
    fn the_codes_of_the_contract_have_their_status() {
        for (code, status, retryable) in [
            (ErrorCode::LogNotWritable, 503, true),
            (ErrorCode::ClockAhead, 503, true),
            (ErrorCode::TooLate, 503, true),
            (ErrorCode::RegionsUnreachable, 503, true),
            (ErrorCode::LogFull, 507, true),
            (ErrorCode::MemoryFull, 507, true),
            (ErrorCode::OutcomeUnknown, 504, false),
            (ErrorCode::Stale, 409, true),
            (ErrorCode::NeedsSync, 409, true),
            (ErrorCode::ValueTooLarge, 413, false),
            (ErrorCode::UnknownBucket, 404, false),
        ] {
            assert_eq!(
                (code.status().as_u16(), code.is_retryable()),
                (status, retryable),
                "{code:?}"
            );
        }
    }
}
