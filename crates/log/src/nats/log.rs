//! The logs of a region on JetStream.

use async_trait::async_trait;
use bytes::Bytes;
use isthmus_replication::coordinates::{Anchor, Sequence, Shard};
use isthmus_replication::fold::SubjectToken;
use isthmus_replication::header::Header;
use isthmus_replication::time::Wall;
use serde::{Deserialize, Serialize};

use super::connection::Connection;
use super::message::{answered, headers};
use super::read::Reading;
use super::request::{Query, StreamInfo};
use super::stream;
use crate::{
    Appending, Bounds, ChangeLog, EnsureError, LogError, LogSettings, Reader, RegionNames, StoredMessage,
};

/// The logs of a region on JetStream.
#[derive(Debug)]
pub(super) struct NatsLog {
    connection: Connection,
}

impl NatsLog {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    async fn info(&self, shard: &Shard) -> Result<StreamInfo, LogError> {
        let stream = self.names().stream(shard);
        let info = self.connection.stream_info(&stream).await;
        info.map_err(|unfulfilled| unfulfilled.of_stream(&stream))
    }

    async fn one(&self, shard: &Shard, query: Query) -> Result<Option<StoredMessage>, LogError> {
        let stream = self.names().stream(shard);
        let message = self.connection.message(&stream, query).await;
        let message = message.map_err(|unfulfilled| unfulfilled.of_stream(&stream))?;
        Ok(message.map(answered))
    }
}

impl From<&StreamInfo> for Bounds {
    fn from(info: &StreamInfo) -> Self {
        Self {
            first: Sequence(info.state.first_seq.max(1)),
            last: Sequence(info.state.last_seq),
            bytes: info.state.bytes,
            first_at: info.first_at(),
            last_at: info.last_at(),
            answered_at: info.answered_at(),
        }
    }
}

#[derive(Serialize)]
struct PurgeRequest {
    seq: u64,
}

#[derive(Deserialize)]
struct Purged {
    purged: u64,
}

#[async_trait]
impl ChangeLog for NatsLog {
    fn names(&self) -> &RegionNames {
        self.connection.names()
    }

    async fn ensure(&self, shard: &Shard, settings: &LogSettings) -> Result<(), EnsureError> {
        let wanted = stream::log(self.names(), shard, settings);
        stream::ensure(&self.connection, &wanted, settings.create, stream::Bounds::Exact).await?;
        self.connection.ensure_slots(&wanted.name).await
    }

    async fn check_readers(&self, shard: &Shard) -> Result<(), EnsureError> {
        self.connection.check_slots(&self.names().stream(shard)).await
    }

    async fn append(&self, shard: &Shard, token: &SubjectToken, header: &Header, body: Bytes) -> Appending {
        let names = self.names();
        let (stream, subject) = (names.stream(shard), names.subject(shard, token));
        self.connection
            .append(stream, subject, headers(header), body)
            .await
    }

    fn reader(&self, shard: &Shard, after: Anchor) -> Reader {
        let (connection, stream) = (self.connection.clone(), self.names().stream(shard));
        Reader::new(move |delivery, counts| Reading::new(connection, stream, after, counts).run(delivery))
    }

    async fn bounds(&self, shard: &Shard) -> Result<Bounds, LogError> {
        self.info(shard).await.map(|info| Bounds::from(&info))
    }

    async fn message_at(&self, shard: &Shard, sequence: Sequence) -> Result<Option<StoredMessage>, LogError> {
        if sequence == Sequence::NONE {
            return Ok(None);
        }
        self.one(shard, Query::At(sequence.0)).await
    }

    async fn next_of(
        &self,
        shard: &Shard,
        token: &SubjectToken,
        from: Sequence,
    ) -> Result<Option<StoredMessage>, LogError> {
        let subject = self.names().subject(shard, token);
        let from = from.0.max(1);
        self.one(shard, Query::NextOf { subject, from }).await
    }

    async fn purge(&self, shard: &Shard, keep_from: Sequence) -> Result<u64, LogError> {
        let stream = self.names().stream(shard);
        let last = self.bounds(shard).await?.last;
        let request = PurgeRequest {
            seq: keep_from.min(last).0,
        };
        if request.seq <= 1 {
            return Ok(0);
        }
        let purged = self
            .connection
            .ask::<_, Purged>(format!("STREAM.PURGE.{stream}"), &request)
            .await;
        purged
            .map(|answer| answer.purged)
            .map_err(|unfulfilled| unfulfilled.of_stream(&stream))
    }

    async fn server_time(&self, shard: &Shard) -> Result<Wall, LogError> {
        self.info(shard).await.map(|info| info.answered_at())
    }

    fn max_message_bytes(&self) -> Option<usize> {
        self.connection.max_payload()
    }
}
