//! The leases of a region in a JetStream key-value bucket.
//!
//! A lease is renewed by a plain publish with its time to live and the expected revision. The
//! client library's `update` would lose the time to live, and a dead leader would keep the lease
//! for ever (docs/assumptions-nats.md).

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_trait::async_trait;
use bytes::Bytes;
use isthmus_replication::time::Wall;

use super::connection::Connection;
use super::lease_watch;
use super::request::Query;
use super::stream;
use crate::leases::LEAST_TTL;
use crate::{EnsureError, Lease, LeaseError, LeaseName, LeaseWatch, Leases, LogError, Revision};

/// The header with the bucket's operation; absent for a value.
pub(super) const OPERATION: &str = "KV-Operation";
/// The header with the reason why the server itself wrote a message.
pub(super) const MARKER_REASON: &str = "Nats-Marker-Reason";
const TTL: &str = "Nats-TTL";
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

/// The leases of a region on JetStream.
#[derive(Debug)]
pub(super) struct NatsLeases {
    connection: Connection,
}

impl NatsLeases {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    fn stream(&self) -> String {
        format!("KV_{}", self.connection.names().lease_bucket())
    }

    fn subject(&self, name: &LeaseName) -> String {
        format!("$KV.{}.{name}", self.connection.names().lease_bucket())
    }

    /// Writes if the lease is at `expected`.
    async fn write(
        &self,
        name: &LeaseName,
        mut headers: HeaderMap,
        expected: Revision,
        payload: Bytes,
    ) -> Result<Revision, LeaseError> {
        if !self.connection.is_connected() {
            return Err(LeaseError::Unanswered);
        }
        headers.insert(EXPECTED, expected.0.to_string());
        let appends = self.connection.appends();
        let answer = appends
            .publish_with_headers(self.subject(name), headers, payload)
            .await;
        let answer = answer.map_err(|error| classify(&error))?.await;
        answer
            .map(|answer| Revision(answer.sequence))
            .map_err(|error| classify(&error))
    }
}

fn classify(error: &PublishError) -> LeaseError {
    if error.kind() == PublishErrorKind::WrongLastSequence {
        return LeaseError::Conflict;
    }
    let refusal =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<jetstream::Error>());
    refusal.map_or(LeaseError::Unanswered, |refusal| LeaseError::Refused {
        code: refusal.error_code().0,
    })
}

/// Whether a message of the bucket contains a value and is neither a deletion nor a marker from the
/// server.
pub(super) fn holds_value(headers: Option<&HeaderMap>) -> bool {
    headers.is_none_or(|headers| headers.get(OPERATION).is_none() && headers.get(MARKER_REASON).is_none())
}

#[async_trait]
impl Leases for NatsLeases {
    async fn ensure(&self, create: bool, replicas: u8) -> Result<(), EnsureError> {
        let wanted = stream::leases(self.connection.names(), replicas);
        stream::ensure(&self.connection, &wanted, create, stream::Bounds::Exact).await?;
        self.connection.ensure_slots(&wanted.name).await
    }

    async fn made_at(&self) -> Result<Wall, EnsureError> {
        let made_at = stream::made_at(&self.connection, &self.stream()).await?;
        self.connection.check_slots(&self.stream()).await?;
        Ok(made_at)
    }

    async fn put(
        &self,
        name: &LeaseName,
        expected: Revision,
        payload: Bytes,
        ttl: Duration,
    ) -> Result<Revision, LeaseError> {
        if ttl < LEAST_TTL {
            return Err(LeaseError::TooShort);
        }
        let whole_seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let mut headers = HeaderMap::new();
        headers.insert(TTL, format!("{whole_seconds}s"));
        self.write(name, headers, expected, payload).await
    }

    async fn release(&self, name: &LeaseName, expected: Revision) -> Result<(), LeaseError> {
        let mut headers = HeaderMap::new();
        headers.insert(OPERATION, "DEL");
        self.write(name, headers, expected, Bytes::new())
            .await
            .map(|_| ())
    }

    async fn get(&self, name: &LeaseName) -> Result<Lease, LeaseError> {
        let last = self
            .connection
            .message(&self.stream(), Query::LastOf(self.subject(name)))
            .await;
        let last = last.map_err(|unfulfilled| match unfulfilled.of_stream("") {
            LogError::Refused { code, .. } => LeaseError::Refused { code },
            LogError::Missing { .. } | LogError::Unanswered { .. } => LeaseError::Unanswered,
        })?;
        Ok(last.map_or_else(Lease::default, |message| Lease {
            revision: Revision(message.sequence),
            payload: holds_value(Some(&message.headers)).then_some(message.payload),
        }))
    }

    fn watch(&self) -> LeaseWatch {
        let prefix = format!("$KV.{}.", self.connection.names().lease_bucket());
        LeaseWatch::new(|events| lease_watch::run(self.connection.clone(), self.stream(), prefix, events))
    }
}
