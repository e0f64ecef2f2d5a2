//! A session of one reader with a consumer of a stream. Log readers and lease watches pull from it.
//!
//! Nothing is acknowledged, and no consumer is resumed: after every interruption the reader starts
//! a new session at its own position. So no message is lost in between, and the position itself is
//! checked again.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Config, Stream};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, ReplayPolicy};
use isthmus_replication::coordinates::Sequence;
use isthmus_replication::limits;

use super::connection::Connection;
use super::slots::Slot;

/// Bytes that are pulled ahead of the reader.
const AHEAD: usize = 4 * 1024 * 1024;
/// Interval of an idle server's heartbeats. After twice this long without one, the session is
/// restarted.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A pull ends after this long and the next one follows.
const PULL: Duration = Duration::from_secs(30);
/// A consumer that the process created itself expires when it is not pulled from for this long.
const INACTIVE: Duration = Duration::from_secs(60);

/// The messages of a consumer, and the number of messages that were pending when the session
/// started.
pub(super) struct ConsumerSession {
    pub messages: Stream,
    pub pending: u64,
    /// Taken while the session reads through it. It is dropped after `messages`, whose drop cancels
    /// the pending pull.
    pub slot: Option<Slot>,
}

/// The first message that a session delivers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Begin {
    At(Sequence),
    /// The last message of each key of a bucket, which keeps no others.
    Bucket,
}

/// No consumer is available for reading.
#[derive(Debug, thiserror::Error)]
pub enum NoConsumer {
    /// The process could not create one.
    #[error("no consumer: {0}")]
    Own(Box<dyn std::error::Error + Send + Sync>),
    /// The operator's consumer can't be used.
    #[error(
        "no consumer {name}: {source}; `isthmus region init --process {process}` creates it, and NATS must be 2.14 or later"
    )]
    Slot {
        /// Its name.
        name: String,
        /// The process that it is for.
        process: String,
        /// The error from NATS.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Creates a consumer in the server's memory.
async fn make(
    connection: &Connection,
    stream: &str,
    begin: Begin,
    filter: &str,
) -> Result<Consumer<Config>, NoConsumer> {
    let config = Config {
        deliver_policy: match begin {
            Begin::At(sequence) => DeliverPolicy::ByStartSequence {
                start_sequence: sequence.0.max(1),
            },
            Begin::Bucket => DeliverPolicy::LastPerSubject,
        },
        filter_subject: filter.to_owned(),
        ack_policy: AckPolicy::None,
        replay_policy: ReplayPolicy::Instant,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: INACTIVE,
        ..Config::default()
    };
    let handle = connection.requests().get_stream_no_info(stream).await;
    let handle = handle.map_err(|error| NoConsumer::Own(error.into()))?;
    let made = handle.create_consumer(config).await;
    made.map_err(|error| NoConsumer::Own(error.into()))
}

/// Starts to pull the messages that match `filter`, all if it is empty.
pub(super) async fn open(
    connection: &Connection,
    stream: &str,
    begin: Begin,
    filter: &str,
) -> Result<ConsumerSession, NoConsumer> {
    let (consumer, pending, slot) = match connection.slots() {
        None => {
            let consumer = make(connection, stream, begin, filter).await?;
            let pending = consumer.cached_info().num_pending;
            (consumer, pending, None)
        }
        Some(slots) => {
            let from = match begin {
                Begin::At(sequence) => sequence,
                Begin::Bucket => Sequence::NONE.next(),
            };
            let (consumer, pending, slot) = slots.open(connection, stream, from).await?;
            (consumer, pending, Some(slot))
        }
    };
    let largest = connection.max_payload().unwrap_or_default() + limits::MESSAGE_OVERHEAD_BYTES;
    let messages = consumer
        .stream()
        .max_bytes_per_batch(AHEAD.max(largest))
        .heartbeat(HEARTBEAT)
        .expires(PULL)
        .messages()
        .await
        .map_err(|error| NoConsumer::Own(error.into()))?;
    Ok(ConsumerSession {
        messages,
        pending,
        slot,
    })
}
