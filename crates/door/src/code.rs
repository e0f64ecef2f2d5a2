//! The closed list of error codes of doors.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $name:literal, $status:ident, $retry:ident;)+) => {
        /// A stable error code. Clients match on it, so a code is never renamed or given another
        /// meaning.
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

            /// The HTTP status of the code.
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
    /// The key is empty, longer than 1024 bytes, or not UTF-8 after percent-decoding.
    InvalidKey = "invalid_key", BAD_REQUEST, Never;
    /// The bucket's name is invalid.
    InvalidBucket = "invalid_bucket", BAD_REQUEST, Never;
    /// `ttl` is not a duration, or zero.
    InvalidTtl = "invalid_ttl", BAD_REQUEST, Never;
    /// `timeout` is not a duration, or exceeds the limit.
    InvalidTimeout = "invalid_timeout", BAD_REQUEST, Never;
    /// `consistency` is not `region`, `majority` or `all`.
    InvalidConsistency = "invalid_consistency", BAD_REQUEST, Never;
    /// `Isthmus-Session` is not a session token of this set.
    InvalidSession = "invalid_session", BAD_REQUEST, Never;
    /// A query parameter or header is unknown or malformed.
    InvalidRequest = "invalid_request", BAD_REQUEST, Never;
    /// A line of a batch is not a valid operation.
    InvalidOperation = "invalid_operation", BAD_REQUEST, Never;
    /// The caller is not authenticated.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, Never;
    /// The caller has no right to this, a page of another site made the request, or the request
    /// names a host that is not the listener's.
    Forbidden = "forbidden", FORBIDDEN, Never;
    /// The set does not know the bucket.
    UnknownBucket = "unknown_bucket", NOT_FOUND, Never;
    /// The key is absent, deleted or expired.
    NotFound = "not_found", NOT_FOUND, Never;
    /// The path does not exist.
    UnknownPath = "unknown_path", NOT_FOUND, Never;
    /// The path does not support the method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, Never;
    /// The request did not arrive in time.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, Same;
    /// The store has not yet applied what the session has seen.
    Stale = "stale", CONFLICT, Same;
    /// The session has seen changes of an ended life that must be synced first.
    NeedsSync = "needs_sync", CONFLICT, Same;
    /// The value exceeds the limit of its bucket.
    ValueTooLarge = "value_too_large", PAYLOAD_TOO_LARGE, Never;
    /// The body exceeds the limit for requests.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, Never;
    /// An error in Isthmus.
    Internal = "internal", INTERNAL_SERVER_ERROR, Never;
    /// The process is starting, draining or lagging.
    NotReady = "not_ready", SERVICE_UNAVAILABLE, Same;
    /// Too many requests are waiting.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, Same;
    /// The log does not answer; nothing was sent.
    LogNotWritable = "log_not_writable", SERVICE_UNAVAILABLE, Same;
    /// The writer's clock is ahead of the log's; the write is void.
    ClockAhead = "clock_ahead", SERVICE_UNAVAILABLE, Same;
    /// The write reached the log too late; it is void.
    TooLate = "too_late", SERVICE_UNAVAILABLE, Same;
    /// Too few regions are reachable for the requested consistency; nothing was written.
    RegionsUnreachable = "regions_unreachable", SERVICE_UNAVAILABLE, Same;
    /// The region has had no contact with a majority for too long and accepts no writes.
    Fenced = "fenced", SERVICE_UNAVAILABLE, Same;
    /// A newer version of Isthmus wrote data that this one can't read.
    UpgradeNeeded = "upgrade_needed", SERVICE_UNAVAILABLE, Never;
    /// The write is in this region's log, but the requested regions did not confirm it in time.
    RegionsUnconfirmed = "regions_unconfirmed", GATEWAY_TIMEOUT, Never;
    /// The write was sent but no answer arrived in time: it may or may not be stored.
    OutcomeUnknown = "outcome_unknown", GATEWAY_TIMEOUT, Never;
    /// The log is full and nothing may be trimmed.
    LogFull = "log_full", INSUFFICIENT_STORAGE, Same;
    /// The store is full; deletes are still accepted.
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
