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

/// The logs of one region, one stream per shard.
#[async_trait]
pub trait ChangeLog: Debug + Send + Sync {
    /// The names of the region's streams.
    fn names(&self) -> &RegionNames;

    /// Makes sure that the log of `shard` exists with these settings. A missing stream is created
    /// if `settings.create` allows it; an existing one is compared.
    ///
    /// # Errors
    /// [`EnsureError`]; if a setting differs, the error names it and the fix.
    async fn ensure(&self, shard: &Shard, settings: &LogSettings) -> Result<(), EnsureError>;

    /// Checks that the consumers through which this process reads the log of `shard` still exist.
    ///
    /// # Errors
    /// [`EnsureError::NoSlot`] if one is missing. Any other error means that the check was not
    /// possible.
    async fn check_readers(&self, shard: &Shard) -> Result<(), EnsureError>;

    /// Hands a message over to the log. Messages reach the log in the order in which these calls
    /// return. The result comes from the [`Appending`]; any number of them may be in flight.
    ///
    /// The same arguments produce the same bytes, so a repeated append carries the same message id
    /// and the fold counts it as void.
    async fn append(&self, shard: &Shard, token: &SubjectToken, header: &Header, body: Bytes) -> Appending;

    /// Reads the log of `shard` from the message after `after`, which is checked first (design.md
    /// section 5: every subscription starts AT the cursor). [`Anchor::default`] reads from the
    /// log's first message.
    fn reader(&self, shard: &Shard, after: Anchor) -> Reader;

    /// The bounds of the log of `shard`.
    ///
    /// # Errors
    /// [`LogError`].
    async fn bounds(&self, shard: &Shard) -> Result<Bounds, LogError>;

    /// The message at `sequence`; `None` if it was trimmed or does not exist yet.
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

    /// Trims everything before `keep_from`. That message stays, so that a reader whose position it
    /// is can still check it. Returns the number of trimmed messages.
    ///
    /// # Errors
    /// [`LogError`].
    async fn purge(&self, shard: &Shard, keep_from: Sequence) -> Result<u64, LogError>;

    /// The current time by the clock that stamps the log of `shard`.
    ///
    /// # Errors
    /// [`LogError`].
    async fn server_time(&self, shard: &Shard) -> Result<Wall, LogError>;

    /// The maximum size of one message in bytes, header and subject included; `None` while not
    /// connected.
    fn max_message_bytes(&self) -> Option<usize>;
}

/// Settings of a shard's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// Whether a missing stream may be created.
    pub create: bool,
    /// Replicas within the region: 1, 3 or 5.
    pub replicas: u8,
    /// The size in bytes at which appends are refused.
    pub max_bytes: u64,
}

/// The bounds of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// The first message kept; the one after `last` if all were trimmed.
    pub first: Sequence,
    /// The last message stored; [`Sequence::NONE`] if there never was one.
    pub last: Sequence,
    /// Bytes stored, as counted against `max_bytes`.
    pub bytes: u64,
    /// When the first kept message was stored, by the log's clock.
    pub first_at: Wall,
    /// When the last message was stored, by the log's clock.
    pub last_at: Wall,
    /// When the log answered, by its clock.
    pub answered_at: Wall,
}

/// A message in a log.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMessage {
    /// Its sequence.
    pub sequence: Sequence,
    /// When it was stored, by the log's clock.
    pub timestamp: Wall,
    /// The last token of its subject; `None` if that is not an Isthmus token.
    pub token: Option<SubjectToken>,
    /// Its header, or why the header can't be used.
    pub header: Result<Header, HeaderError>,
    /// Its body, not verified: [`isthmus_replication::header::BodySeal::check`] verifies it against
    /// the header.
    pub body: Bytes,
}

impl StoredMessage {
    /// Its identifier; zero without a readable header.
    #[must_use]
    pub fn message_id(&self) -> MessageId {
        self.header.as_ref().map_or(MessageId(0), Header::message_id)
    }

    /// Its position and identifier.
    #[must_use]
    pub fn anchor(&self) -> Anchor {
        Anchor {
            sequence: self.sequence,
            message_id: self.message_id(),
        }
    }

    /// The part of it that the fold judges.
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

/// An append that was handed over; resolves to the sequence at which it was stored. Dropping it
/// does not undo the append.
#[must_use = "an append that nobody waits for was not answered"]
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
