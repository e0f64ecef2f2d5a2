//! The port to the messages between the processes of a region (design.md section 7): delivered at
//! most once, never stored.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::time::sleep;

use crate::{PeerError, Role};

/// Retry interval for a failed subscription.
const SUBSCRIBE_AGAIN: Duration = Duration::from_millis(200);

/// Messages between the processes of one region. Suffixes follow `isthmus.<set>.<region>.peer.`; a
/// subscription's suffix may be a NATS pattern (`applied.>`, `cursors.*.*`).
#[async_trait]
pub trait PeerBus: Debug + Send + Sync {
    /// Publishes to all subscribers; there may be none.
    ///
    /// # Errors
    /// [`PeerError::Away`].
    async fn publish(&self, suffix: &str, payload: Bytes) -> Result<(), PeerError>;

    /// Subscribes to messages from now on; the subscription survives every interruption. Messages
    /// of other processes arrive a moment later, as soon as the servers know the subscription.
    ///
    /// # Errors
    /// [`PeerError::Away`].
    async fn subscribe(&self, pattern: &str) -> Result<PeerSubscription, PeerError>;

    /// As [`PeerBus::subscribe`], retried until the region's NATS accepts the subscription.
    async fn hear(&self, pattern: &str) -> PeerSubscription {
        loop {
            match self.subscribe(pattern).await {
                Ok(subscription) => return subscription,
                Err(error) => {
                    tracing::debug!(%error, pattern, "the region's NATS does not accept the subscription yet")
                }
            }
            sleep(SUBSCRIBE_AGAIN).await;
        }
    }

    /// Sends a request to processes of the role `of`, and returns the first answer.
    ///
    /// # Errors
    /// [`PeerError`].
    async fn request(
        &self,
        of: Role,
        suffix: &str,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, PeerError>;

    /// Answers a message that is a request.
    ///
    /// # Errors
    /// [`PeerError::Away`].
    async fn respond(&self, reply: &Reply, payload: Bytes) -> Result<(), PeerError>;
}

/// A message between processes.
#[derive(Debug, Clone)]
pub struct PeerMessage {
    /// The subject after `isthmus.<set>.<region>.peer.`.
    pub suffix: String,
    /// The content: at most max_payload bytes, of any shape.
    pub payload: Bytes,
    /// Where the answer to a request goes; `None` if the message is not a request.
    pub reply: Option<Reply>,
}

/// The destination of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply(pub(crate) String);

/// The messages of a subscription. A subscriber that is too slow misses messages: they are states
/// that are sent again.
pub struct PeerSubscription(pub(crate) BoxStream<'static, PeerMessage>);

impl PeerSubscription {
    /// The next message; `None` when the process shuts down. Cancel safe.
    pub async fn next(&mut self) -> Option<PeerMessage> {
        self.0.next().await
    }
}

impl Debug for PeerSubscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerSubscription")
    }
}
