//! The port to what the processes of a region tell each other (design.md section 7): told at most once, never stored.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::time::sleep;

use crate::PeerError;

/// A subscription that could not be had is asked for again after this long.
const SUBSCRIBE_AGAIN: Duration = Duration::from_millis(200);

/// Talk among the processes of one region. Suffixes follow `isthmus.<set>.<region>.peer.`; a subscription's may be a NATS
/// pattern (`applied.>`, `cursors.*.*`).
#[async_trait]
pub trait PeerBus: Debug + Send + Sync {
    /// Tells whoever listens; nobody may.
    ///
    /// # Errors
    /// [`PeerError::Away`].
    async fn publish(&self, suffix: &str, payload: Bytes) -> Result<(), PeerError>;

    /// Hears what is told from now on, over every interruption. What others tell is heard a moment later, as soon as the servers know of
    /// the subscription.
    ///
    /// # Errors
    /// [`PeerError::Away`].
    async fn subscribe(&self, pattern: &str) -> Result<PeerSubscription, PeerError>;

    /// As [`PeerBus::subscribe`], as soon as the region's NATS lets it.
    async fn hear(&self, pattern: &str) -> PeerSubscription {
        loop {
            match self.subscribe(pattern).await {
                Ok(subscription) => return subscription,
                Err(error) => tracing::debug!(%error, pattern, "nothing can be heard yet"),
            }
            sleep(SUBSCRIBE_AGAIN).await;
        }
    }

    /// Asks, and takes the first answer.
    ///
    /// # Errors
    /// [`PeerError`].
    async fn request(&self, suffix: &str, payload: Bytes, timeout: Duration) -> Result<Bytes, PeerError>;

    /// Answers a message that was a request.
    ///
    /// # Errors
    /// [`PeerError::Away`].
    async fn respond(&self, reply: &Reply, payload: Bytes) -> Result<(), PeerError>;
}

/// Something that was told.
#[derive(Debug, Clone)]
pub struct PeerMessage {
    /// After `isthmus.<set>.<region>.peer.`.
    pub suffix: String,
    /// What was told; at most max_payload bytes, of any shape.
    pub payload: Bytes,
    /// Where an answer goes, of a request.
    pub reply: Option<Reply>,
}

/// Where an answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply(pub(crate) String);

/// What a subscription hears. A subscriber that is too slow misses messages: they are states that are told again.
pub struct PeerSubscription(pub(crate) BoxStream<'static, PeerMessage>);

impl PeerSubscription {
    /// The next message; none when the process ends. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<PeerMessage> {
        self.0.next().await
    }
}

impl Debug for PeerSubscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerSubscription")
    }
}
