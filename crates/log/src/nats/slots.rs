//! Consumers that the operator has made for a process, by its name: so that no process needs the right to create one.
//!
//! Who may create a consumer can have the server write messages under any subject of the account, another origin's
//! among them (docs/assumptions-nats.md). A durable pull consumer is put at a place by CONSUMER.RESET instead (NATS
//! 2.14). A process has several for each stream, its slots, and takes a free one for each reader.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use isthmus_replication::coordinates::{Sequence, Shard};
use isthmus_replication::names::ProcessName;

use super::connection::Connection;
use super::session::NoConsumer;
use crate::EnsureError;

/// What a process reads streams through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Consumers that it makes itself and that end with it. For development.
    Own,
    /// Its slots, which the operator has made: [`Connection::provide`].
    Slots {
        /// How many it needs of each stream at once.
        each: u32,
    },
}

impl Readers {
    /// Those of a process that may, or may not, create what it needs (`log.create`); `each` is how many it needs of a stream at once.
    #[must_use]
    pub fn of(create: bool, each: u32) -> Self {
        if create { Self::Own } else { Self::Slots { each } }
    }
}

/// Which slots of a process are taken.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    process: Arc<str>,
    each: u32,
    taken: Arc<Mutex<BTreeSet<(String, u32)>>>,
}

/// A slot that is taken until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    stream: String,
    number: u32,
}

impl Slots {
    pub(super) fn new(process: &str, each: u32) -> Self {
        Self {
            process: process.into(),
            each,
            taken: Arc::default(),
        }
    }

    /// The first free slot of a stream.
    fn take(&self, stream: &str) -> Slot {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = |number: &u32| !taken.contains(&(stream.to_owned(), *number));
        let number = (0..).find(is_free).unwrap_or_default();
        taken.insert((stream.to_owned(), number));
        Slot {
            slots: self.clone(),
            stream: stream.to_owned(),
            number,
        }
    }

    /// Whether the operator has made as many slots of `stream` as are needed: they are made in order, so the last one tells.
    pub(super) async fn ensure(&self, connection: &Connection, stream: &str) -> Result<(), EnsureError> {
        let unanswered = || EnsureError::Unanswered {
            stream: stream.to_owned(),
        };
        let handle = connection.requests().get_stream_no_info(stream).await;
        let handle = handle.map_err(|_| unanswered())?;
        match handle
            .consumer_info(name(&self.process, self.each.saturating_sub(1)))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => Err(EnsureError::NoSlot {
                stream: stream.to_owned(),
                process: self.process.to_string(),
                needed: self.each,
            }),
            Err(_) => Err(unanswered()),
        }
    }

    /// Takes a slot of `stream` and puts its consumer at `from`. Also how many messages wait there.
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

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.remove(&(std::mem::take(&mut self.stream), self.number));
    }
}

fn name(process: &str, number: u32) -> String {
    format!("{process}_{number}")
}

impl Connection {
    /// Whether `stream` has what the process reads it through.
    pub(super) async fn ensure_slots(&self, stream: &str) -> Result<(), EnsureError> {
        match self.slots() {
            Some(slots) => slots.ensure(self, stream).await,
            None => Ok(()),
        }
    }

    /// Makes the slots of `process`, with the operator's credentials: of the log of each of `shards`, and of the leases, as many as it
    /// has readers at once. What is there already stays as it is.
    ///
    /// # Errors
    /// [`NoConsumer`], of the first that can't be made.
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
        // A reset never goes below where the consumer was made to begin.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_once_its_reader_is_gone() {
        let slots = Slots::new("agent-1", 2);
        let (first, second) = (slots.take("LOG"), slots.take("LOG"));
        let other = slots.take("LEASES");
        assert_eq!((first.number, second.number, other.number), (0, 1, 0));
        drop(first);
        assert_eq!(slots.take("LOG").number, 0);
        assert_eq!(name("agent-1", 0), "agent-1_0");
    }
}
