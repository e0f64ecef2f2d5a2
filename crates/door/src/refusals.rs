//! Refusals of doors. Every refusal is counted. At most one event per minute is recorded for each
//! kind of refusal and caller (or address, if nobody is authenticated), with the number of those
//! suppressed before it.

use std::fmt;
use std::net::SocketAddr;

use isthmus_replication::names::CallerName;
use isthmus_runtime::Process;
use isthmus_runtime::events::{Events, Severity, Source};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use serde_json::json;

/// Why a request is refused. It is the label of a metric and of an event; never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// The request has no credentials.
    NoCredentials,
    /// The token belongs to no caller.
    UnknownToken,
    /// The certificate belongs to no caller.
    UnknownCertificate,
    /// The certificate is no longer valid: it has expired, is revoked, or its CA is no longer
    /// trusted.
    EndedCertificate,
    /// The caller lacks the right.
    Forbidden,
    /// A page of another site made the request in a browser, or the request names a host that is
    /// not the door's.
    ForeignPage,
    /// The TLS handshake failed: the peer does not speak TLS, or one end does not trust the other's
    /// certificate.
    Handshake,
}

impl Refused {
    const ALL: [Self; 7] = [
        Self::NoCredentials,
        Self::UnknownToken,
        Self::UnknownCertificate,
        Self::EndedCertificate,
        Self::Forbidden,
        Self::ForeignPage,
        Self::Handshake,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::NoCredentials => "no_credentials",
            Self::UnknownToken => "unknown_token",
            Self::UnknownCertificate => "unknown_certificate",
            Self::EndedCertificate => "ended_certificate",
            Self::Forbidden => "forbidden",
            Self::ForeignPage => "foreign_page",
            Self::Handshake => "handshake",
        }
    }

    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::NoCredentials => {
                "send Authorization: Bearer with a token, or a certificate, that this door knows"
            }
            Self::UnknownToken => "this door does not know the token; it may have been replaced",
            Self::UnknownCertificate => "this door knows none of the names in the certificate",
            Self::EndedCertificate => {
                "the certificate has expired or is revoked, or its CA is no longer trusted; connect with another"
            }
            Self::Forbidden => "the caller may not do this",
            Self::ForeignPage => "a page of another site sent the request",
            Self::Handshake => "the TLS handshake failed",
        }
    }
}

/// Counts and records the refusals of a process's doors. Clones share it.
#[derive(Clone)]
pub struct Refusals {
    events: Events,
    counts: Family<Vec<(&'static str, &'static str)>, Counter>,
}

fn labels(door: &'static str, why: Refused) -> Vec<(&'static str, &'static str)> {
    vec![("door", door), ("reason", why.label())]
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusals").finish_non_exhaustive()
    }
}

impl Refusals {
    /// Without refusals. Call it once for a process.
    #[must_use]
    pub fn new<S>(process: &Process<S>) -> Self {
        let counts = Family::default();
        process.metrics.register(|registry| {
            registry.register(
                "door_refused",
                "Requests that a door refused to their caller, by reason",
                counts.clone(),
            );
        });
        Self {
            events: process.events.clone(),
            counts,
        }
    }

    /// Exports a counter for every reason from the start.
    pub(crate) fn prepare(&self, door: &'static str) {
        for why in Refused::ALL {
            drop(self.counts.get_or_create(&labels(door, why)));
        }
    }

    /// Records a failed handshake; `cause` is the TLS error.
    pub(crate) fn of_handshake(&self, door: &'static str, cause: &str, from: SocketAddr) {
        self.count(door, Refused::Handshake, None, Some(from), cause);
    }

    pub(crate) fn count(
        &self,
        door: &'static str,
        why: Refused,
        caller: Option<&CallerName>,
        from: Option<SocketAddr>,
        detail: &str,
    ) {
        self.counts.get_or_create(&labels(door, why)).inc();
        let source = match (caller, from) {
            (Some(caller), _) => Source::caller(caller),
            (None, Some(from)) => Source::address(from.ip()),
            (None, None) => Source::default(),
        };
        let source = source.at(door).because(why.label());
        let who = caller.map_or("an unknown caller", CallerName::as_str);
        let fields = json!({
            "door": door,
            "reason": why.label(),
            "caller": caller.map(CallerName::as_str),
            "from": from.map(|from| from.ip().to_string()),
        });
        let message = format!("the {door} door refused {who}: {detail}");
        self.events
            .record_from(&source, Severity::Warning, "access_refused", message, fields);
    }
}
