//! The port to the logs of a region's shards.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use isthmus_replication::coordinates::{Anchor, MessageId, Sequence, Shard};
use isthmus_replication::fold::{Message, SubjectToken};
use isthmus_replication::header::{Header, HeaderError};
use isthmus_replication::time::Wall;

use crate::{AppendError, EnsureError, LogError, Reader, RegionNames};

/// The logs of one region, a stream per shard.
#[async_trait]
pub trait ChangeLog: Debug + Send + Sync {
    /// What the region's streams are called.
    fn names(&self) -> &RegionNames;

    /// Makes sure that the log of `shard` exists with these settings: created if it is missing and may be, else compared.
    ///
    /// # Errors
    /// [`EnsureError`]; a setting that differs is named together with the mend.
    async fn ensure(&self, shard: &Shard, settings: &LogSettings) -> Result<(), EnsureError>;

    /// Makes sure that this process still has what it reads the log of `shard` through.
    ///
    /// # Errors
    /// [`EnsureError::NoSlot`]; anything else says nothing of it.
    async fn check_readers(&self, shard: &Shard) -> Result<(), EnsureError>;

    /// Hands a message over to the log. Messages reach the log in the order in which these calls return; the answer
    /// comes from the [`Appending`], of which any number may be under way.
    ///
    /// The same arguments are the same bytes, so a repeated append carries the same message id and is void by the fold.
    async fn append(&self, shard: &Shard, token: &SubjectToken, header: &Header, body: Bytes) -> Appending;

    /// Reads the log of `shard` from the message after `after`, which is checked first (design.md section 5: every
    /// subscription starts AT the cursor). [`Anchor::default`] reads from the log's first message.
    fn reader(&self, shard: &Shard, after: Anchor) -> Reader;

    /// What the log of `shard` holds.
    ///
    /// # Errors
    /// [`LogError`].
    async fn bounds(&self, shard: &Shard) -> Result<Bounds, LogError>;

    /// The message at `sequence`; none when it was trimmed or is not there yet.
    ///
    /// # Errors
    /// [`LogError`].
    async fn message_at(&self, shard: &Shard, sequence: Sequence) -> Result<Option<StoredMessage>, LogError>;

    /// The first message of `token` at or after `from`.
    ///
    /// # Errors
    /// [`LogError`].
    async fn next_of(
        &self,
        shard: &Shard,
        token: &SubjectToken,
        from: Sequence,
    ) -> Result<Option<StoredMessage>, LogError>;

    /// Trims everything before `keep_from`, which stays: a reader that stands there can still check it. Says how many
    /// messages went.
    ///
    /// # Errors
    /// [`LogError`].
    async fn purge(&self, shard: &Shard, keep_from: Sequence) -> Result<u64, LogError>;

    /// The time by the clock that stamps the log of `shard`.
    ///
    /// # Errors
    /// [`LogError`].
    async fn server_time(&self, shard: &Shard) -> Result<Wall, LogError>;

    /// The most bytes that one message may have, header and subject included; none while not connected.
    fn max_message_bytes(&self) -> Option<usize>;
}

/// What a shard's stream must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// Whether a missing stream may be created.
    pub create: bool,
    /// Copies within the region: 1, 3 or 5.
    pub replicas: u8,
    /// The size in bytes at which appends are refused.
    pub max_bytes: u64,
}

/// What a log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// The first message kept; the one after `last` when all were trimmed.
    pub first: Sequence,
    /// The last message stored; [`Sequence::NONE`] when there never was one.
    pub last: Sequence,
    /// Bytes stored, as counted against `max_bytes`.
    pub bytes: u64,
    /// When the first kept message was stored, by the log's clock.
    pub first_at: Wall,
    /// When the last message was stored, by the log's clock.
    pub last_at: Wall,
    /// When this was told, by the log's clock.
    pub answered_at: Wall,
}

/// A message as it stands in a log.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMessage {
    /// Its sequence.
    pub sequence: Sequence,
    /// When it was stored, by the log's clock.
    pub timestamp: Wall,
    /// The last token of its subject; none if it is no token of ours.
    pub token: Option<SubjectToken>,
    /// Its header, or why that can't be used.
    pub header: Result<Header, HeaderError>,
    /// Its body, unchecked: [`isthmus_replication::header::BodySeal::check`] tells whether it is what was promised.
    pub body: Bytes,
}

impl StoredMessage {
    /// Its identifier; zero without a readable header.
    #[must_use]
    pub fn message_id(&self) -> MessageId {
        self.header.as_ref().map_or(MessageId(0), Header::message_id)
    }

    /// Where it stands, with what it is.
    #[must_use]
    pub fn anchor(&self) -> Anchor {
        Anchor {
            sequence: self.sequence,
            message_id: self.message_id(),
        }
    }

    /// What the fold judges.
    #[must_use]
    pub fn as_message(&self) -> Message<'_> {
        Message {
            sequence: self.sequence,
            timestamp: self.timestamp,
            token: self.token.as_ref(),
            header: self.header.as_ref(),
        }
    }
}

/// An append that was handed over; ready with the sequence at which it was stored. Dropping it takes nothing back.
#[must_use = "an append that nobody waits for is unanswered"]
pub struct Appending(BoxFuture<'static, Result<Sequence, AppendError>>);

impl Appending {
    pub(crate) fn new(answer: impl Future<Output = Result<Sequence, AppendError>> + Send + 'static) -> Self {
        Self(Box::pin(answer))
    }
}

impl Debug for Appending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Appending")
    }
}

impl Future for Appending {
    type Output = Result<Sequence, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}
