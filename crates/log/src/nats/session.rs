//! A consumer of a stream for one reader: what log readers and lease watches pull from.
//!
//! Nothing is acknowledged: a consumer is never gone back to. After every interruption the reader begins a new session at
//! the place that it knows, so that no message is lost in between and the place itself is checked again.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Config, Stream};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, ReplayPolicy};
use isthmus_replication::coordinates::Sequence;
use isthmus_replication::limits;

use super::connection::Connection;
use super::slots::Slot;

/// Bytes that are pulled ahead of the reader.
const AHEAD: usize = 4 * 1024 * 1024;
/// An idle server says so this often; twice as long without a word and the session is begun again.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A pull ends after this long and the next one follows.
const PULL: Duration = Duration::from_secs(30);
/// A consumer that nobody pulls from ends after this long, if it is the process's own.
const INACTIVE: Duration = Duration::from_secs(60);

/// What a consumer delivers, and how much was waiting when the session began.
pub(super) struct ConsumerSession {
    pub messages: Stream,
    pub pending: u64,
    /// Held as long as it is read through; dropped after `messages`, which takes back what was asked for.
    pub slot: Option<Slot>,
}

/// What a session delivers first.
#[derive(Debug, Clone, Copy)]
pub(super) enum Begin {
    /// The message of this sequence.
    At(Sequence),
    /// The last message of each key of a bucket, which keeps no others.
    Bucket,
}

/// There is no consumer to read through.
#[derive(Debug, thiserror::Error)]
pub enum NoConsumer {
    /// It could not be made.
    #[error("no consumer: {0}")]
    Own(Box<dyn std::error::Error + Send + Sync>),
    /// The operator's can't be used.
    #[error(
        "no consumer {name}: {source}; `isthmus region init --process {process}` makes it, and NATS has to be 2.14 or later"
    )]
    Slot {
        /// Its name.
        name: String,
        /// The process that it is for.
        process: String,
        /// What NATS says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Makes a consumer here and now, in the server's memory.
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

/// Begins to pull what `filter` covers, everything if it is empty.
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
