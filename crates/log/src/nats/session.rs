//! A consumer of a stream that is gone when its reader is: what log readers and lease watches pull from.
//!
//! Nothing is acknowledged: a consumer is never gone back to. After every interruption the reader makes a new one at the
//! place that it knows, so that no message is lost in between and the place itself is checked again.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Config, Stream};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy};
use isthmus_replication::limits;

use super::connection::Connection;

/// Bytes that are pulled ahead of the reader.
const AHEAD: usize = 4 * 1024 * 1024;
/// An idle server says so this often; twice as long without a word and the consumer is made again.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A pull ends after this long and the next one follows.
const PULL: Duration = Duration::from_secs(30);
/// A consumer that nobody pulls from ends after this long.
const INACTIVE: Duration = Duration::from_secs(60);

/// What a consumer delivers, and how much was waiting when it was made.
pub(super) struct Session {
    pub messages: Stream,
    pub pending: u64,
}

/// A consumer could not be made.
#[derive(Debug, thiserror::Error)]
#[error("no consumer: {0}")]
pub(super) struct NoConsumer(Box<dyn std::error::Error + Send + Sync>);

/// Makes the consumer here and now, in the server's memory. Whoever reads through a consumer that the operator has made
/// replaces this.
async fn provision(
    connection: &Connection,
    stream: &str,
    from: DeliverPolicy,
    filter: &str,
) -> Result<async_nats::jetstream::consumer::Consumer<Config>, NoConsumer> {
    let config = Config {
        deliver_policy: from,
        filter_subject: filter.to_owned(),
        ack_policy: AckPolicy::None,
        replay_policy: ReplayPolicy::Instant,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: INACTIVE,
        ..Config::default()
    };
    let handle = connection.requests().get_stream_no_info(stream).await;
    let handle = handle.map_err(|error| NoConsumer(error.into()))?;
    handle
        .create_consumer(config)
        .await
        .map_err(|error| NoConsumer(error.into()))
}

/// Begins to pull what `filter` covers, everything if it is empty, from `from`.
pub(super) async fn open(
    connection: &Connection,
    stream: &str,
    from: DeliverPolicy,
    filter: &str,
) -> Result<Session, NoConsumer> {
    let consumer = provision(connection, stream, from, filter).await?;
    let pending = consumer.cached_info().num_pending;
    let largest = connection.max_payload().unwrap_or_default() + limits::MESSAGE_OVERHEAD_BYTES;
    let messages = consumer
        .stream()
        .max_bytes_per_batch(AHEAD.max(largest))
        .heartbeat(HEARTBEAT)
        .expires(PULL)
        .messages()
        .await
        .map_err(|error| NoConsumer(error.into()))?;
    Ok(Session { messages, pending })
}
