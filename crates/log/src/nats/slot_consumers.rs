//! The consumers of slots: checks that they exist, opens them at a sequence, and creates them for
//! the operator.
//!
//! CONSUMER.RESET (NATS 2.14) moves a durable pull consumer to a sequence, so opening one does not
//! need the right to create it.

use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use isthmus_replication::coordinates::{Sequence, Shard};
use isthmus_replication::names::ProcessName;

use super::connection::Connection;
use super::session::NoConsumer;
use super::slots::{Slot, Slots, name};
use crate::EnsureError;

impl Slots {
    /// Checks that the operator has created enough slots of `stream`. They are created in order, so
    /// it checks the last one.
    pub(super) async fn ensure(&self, connection: &Connection, stream: &str) -> Result<(), EnsureError> {
        self.find(connection, stream, self.each.saturating_sub(1)).await
    }

    /// Checks that every slot of `stream` still exists.
    pub(super) async fn check(&self, connection: &Connection, stream: &str) -> Result<(), EnsureError> {
        for number in 0..self.each {
            self.find(connection, stream, number).await?;
        }
        Ok(())
    }

    async fn find(&self, connection: &Connection, stream: &str, number: u32) -> Result<(), EnsureError> {
        let unanswered = || EnsureError::Unanswered {
            stream: stream.to_owned(),
        };
        let handle = connection.requests().get_stream_no_info(stream).await;
        let handle = handle.map_err(|_| unanswered())?;
        match handle.consumer_info(name(&self.process, number)).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => Err(EnsureError::NoSlot {
                stream: stream.to_owned(),
                process: self.process.to_string(),
                needed: self.each,
            }),
            Err(_) => Err(unanswered()),
        }
    }

    /// Takes a slot of `stream` and resets its consumer to `from`. Also returns the number of
    /// pending messages.
    pub(super) async fn open(
        &self,
        connection: &Connection,
        stream: &str,
        from: Sequence,
    ) -> Result<(Consumer<Config>, u64, Slot), NoConsumer> {
        let slot = self.take(stream);
        let name = name(&self.process, slot.number);
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| NoConsumer::Slot {
            name: name.clone(),
            process: self.process.to_string(),
            source: error,
        };
        let handle = connection.requests().get_stream_no_info(stream).await;
        let handle = handle.map_err(|error| failed(error.into()))?;
        let found = handle.get_consumer(&name).await;
        let mut consumer: Consumer<Config> = found.map_err(failed)?;
        let reset = consumer.reset(Some(from.0.max(1))).await;
        let reset = reset.map_err(|error| failed(error.into()))?;
        Ok((consumer, reset.info.num_pending, slot))
    }
}

impl Connection {
    /// Checks that `stream` has the consumers that the process reads it through.
    pub(super) async fn ensure_slots(&self, stream: &str) -> Result<(), EnsureError> {
        match self.slots() {
            Some(slots) => slots.ensure(self, stream).await,
            None => Ok(()),
        }
    }

    /// Checks that `stream` still has all consumers that the process reads it through.
    pub(super) async fn check_slots(&self, stream: &str) -> Result<(), EnsureError> {
        match self.slots() {
            Some(slots) if self.is_connected() => slots.check(self, stream).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Creates the slots of `process` with the operator's credentials, for the log of each of
    /// `shards` and for the leases: as many as the process has concurrent readers. Existing slots
    /// stay unchanged.
    ///
    /// # Errors
    /// [`NoConsumer`] for the first that can't be created.
    pub async fn provide(
        &self,
        process: &ProcessName,
        shards: &[Shard],
        readers: u32,
    ) -> Result<(), NoConsumer> {
        let bucket = self.names().lease_bucket();
        let leases = (format!("KV_{bucket}"), format!("$KV.{bucket}.>"));
        let logs = shards
            .iter()
            .map(|shard| (self.names().stream(shard), String::new()));
        for (stream, filter) in logs.chain([leases]) {
            for number in 0..readers {
                self.provide_one(&stream, process, number, &filter).await?;
            }
        }
        Ok(())
    }

    async fn provide_one(
        &self,
        stream: &str,
        process: &ProcessName,
        number: u32,
        filter: &str,
    ) -> Result<(), NoConsumer> {
        // A reset never goes below the consumer's original start.
        let config = Config {
            durable_name: Some(name(process.as_str(), number)),
            deliver_policy: DeliverPolicy::All,
            filter_subject: filter.to_owned(),
            ack_policy: AckPolicy::None,
            replay_policy: ReplayPolicy::Instant,
            ..Config::default()
        };
        let handle = self.requests().get_stream_no_info(stream).await;
        let handle = handle.map_err(|error| NoConsumer::Own(error.into()))?;
        let made = handle.create_consumer(config).await;
        made.map(drop).map_err(|error| NoConsumer::Own(error.into()))
    }
}
