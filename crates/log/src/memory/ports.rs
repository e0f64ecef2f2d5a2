//! The ports to a log and leases in memory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use isthmus_replication::coordinates::{Anchor, Sequence, Shard};
use isthmus_replication::fold::SubjectToken;
use isthmus_replication::header::Header;
use isthmus_replication::time::Wall;
use tokio::sync::mpsc;

use super::{MemoryLeases, MemoryLog, MemoryRegion, Servers};
use crate::reader::Delivery;
use crate::{
    AppendError, Appending, Bounds, ChangeLog, Difference, EnsureError, Lease, LeaseError, LeaseEvent,
    LeaseName, LeaseWatch, Leases, LogError, LogSettings, ReadError, Reader, ReaderCounts, RegionNames,
    Revision, StoredMessage,
};

/// Number of messages that a reader takes under one lock.
const BATCH: usize = 64;

impl MemoryRegion {
    fn ask<T>(&self, shard: &Shard, answer: impl FnOnce(&mut MemoryLog) -> T) -> Result<T, LogError> {
        let mut state = self.state();
        let stream = || self.0.names.stream(shard);
        if state.servers == Servers::Away {
            return Err(LogError::Unanswered { stream: stream() });
        }
        let exists = state.servers != Servers::Elect;
        match state.logs.get_mut(shard).filter(|_| exists) {
            Some(log) => Ok(answer(log)),
            None => Err(LogError::Missing { stream: stream() }),
        }
    }

    /// Sends a request; waits as long as an unanswered request over NATS if there is no answer.
    async fn asked<T>(&self, shard: &Shard, answer: impl FnOnce(&mut MemoryLog) -> T) -> Result<T, LogError> {
        let answered = self.ask(shard, answer);
        if matches!(answered, Err(LogError::Unanswered { .. })) {
            self.unanswered().await;
        }
        answered
    }

    pub(super) fn store(
        &self,
        shard: &Shard,
        token: &SubjectToken,
        header: &Header,
        body: Bytes,
    ) -> Result<Sequence, AppendError> {
        let stream = self.0.names.stream(shard);
        let (bytes, max_payload) = (body.len() + header.encode().len(), self.0.max_message_bytes);
        if bytes > max_payload {
            return Err(AppendError::TooLarge { bytes, max_payload });
        }
        let now = (self.0.clock)().wall;
        self.change(|state| {
            match state
                .logs
                .get_mut(shard)
                .filter(|_| state.servers == Servers::Answer)
            {
                None => Err(AppendError::Unanswered { stream }),
                Some(log) => log
                    .append(now, token, header, body)
                    .map_err(|_full| AppendError::Full { stream }),
            }
        })
    }

    /// Reads until an error or until the reader is dropped.
    async fn read(self, shard: Shard, mut at: Anchor, delivery: Delivery, counts: Arc<ReaderCounts>) {
        let mut changed = self.0.changed.subscribe();
        counts.count_opened();
        let opened = (self.0.clock)().mono;
        loop {
            let (since, until) = self.state().silent;
            let silence = until.since((self.0.clock)().mono);
            if opened < since && !silence.is_zero() {
                tokio::time::sleep(silence).await;
                continue;
            }
            changed.mark_unchanged();
            let messages = match self.ask(&shard, |log| log.after(at, BATCH)) {
                Ok(Ok(messages)) => messages,
                Ok(Err(error)) => return delivery.end(error).await,
                Err(_passes) => Vec::new(),
            };
            if messages.is_empty() && changed.changed().await.is_err() {
                return delivery.end(ReadError::Stopped).await;
            }
            for message in messages {
                at = message.anchor();
                if delivery.message(message).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn lease<T>(
        &self,
        act: impl FnOnce(&mut MemoryLeases) -> Result<T, LeaseError>,
    ) -> Result<T, LeaseError> {
        let away = matches!(self.servers(), Servers::Away | Servers::Elect);
        if away || self.state().leases_made.is_none() {
            self.unanswered().await;
            return Err(LeaseError::Unanswered);
        }
        self.change(|state| act(&mut state.leases))
    }

    /// Sends lease events until the watch is dropped.
    async fn follow_leases(self, events: mpsc::Sender<LeaseEvent>) {
        let mut changed = self.0.changed.subscribe();
        let (mut seen, snapshot) = self.state().leases.snapshot();
        let mut due = vec![snapshot];
        loop {
            for event in due {
                if events.send(event).await.is_err() {
                    return;
                }
            }
            let next_end = self.state().leases.next_end();
            let until = next_end.map(|end| end.since((self.0.clock)().mono));
            tokio::select! {
                open = changed.changed() => if open.is_err() { return },
                () = tokio::time::sleep(until.unwrap_or(Duration::MAX)) => {}
            }
            let mut state = self.state();
            state.leases.expire((self.0.clock)().mono);
            (seen, due) = state.leases.since(seen);
        }
    }
}

#[async_trait]
impl ChangeLog for MemoryRegion {
    fn names(&self) -> &RegionNames {
        &self.0.names
    }

    async fn ensure(&self, shard: &Shard, settings: &LogSettings) -> Result<(), EnsureError> {
        let stream = self.0.names.stream(shard);
        if self.servers() == Servers::Away {
            self.unanswered().await;
            return Err(EnsureError::Unanswered { stream });
        }
        self.change(|state| match state.logs.get(shard) {
            None if settings.create => {
                state.logs.insert(shard.clone(), MemoryLog::new(*settings));
                Ok(())
            }
            None => Err(EnsureError::Missing { stream }),
            Some(log) => compare(stream, log.settings(), settings),
        })
    }

    async fn check_readers(&self, _shard: &Shard) -> Result<(), EnsureError> {
        Ok(())
    }

    async fn append(&self, shard: &Shard, token: &SubjectToken, header: &Header, body: Bytes) -> Appending {
        self.take_off(shard, token, header, body)
    }

    fn reader(&self, shard: &Shard, after: Anchor) -> Reader {
        let (region, shard) = (self.clone(), shard.clone());
        Reader::new(move |delivery, counts| region.read(shard, after, delivery, counts))
    }

    async fn bounds(&self, shard: &Shard) -> Result<Bounds, LogError> {
        let now = (self.0.clock)().wall;
        self.asked(shard, |log| log.bounds(now)).await
    }

    async fn message_at(&self, shard: &Shard, sequence: Sequence) -> Result<Option<StoredMessage>, LogError> {
        self.asked(shard, |log| log.at(sequence)).await
    }

    async fn next_of(
        &self,
        shard: &Shard,
        token: &SubjectToken,
        from: Sequence,
    ) -> Result<Option<StoredMessage>, LogError> {
        self.asked(shard, |log| log.next_of(token, from)).await
    }

    async fn purge(&self, shard: &Shard, keep_from: Sequence) -> Result<u64, LogError> {
        self.asked(shard, |log| log.purge(keep_from)).await
    }

    async fn server_time(&self, shard: &Shard) -> Result<Wall, LogError> {
        let now = (self.0.clock)().wall;
        self.asked(shard, |_| now).await
    }

    fn max_message_bytes(&self) -> Option<usize> {
        Some(self.0.max_message_bytes)
    }
}

fn compare(stream: String, found: &LogSettings, wanted: &LogSettings) -> Result<(), EnsureError> {
    let pairs = [
        ("max_bytes", found.max_bytes, wanted.max_bytes),
        (
            "num_replicas",
            u64::from(found.replicas),
            u64::from(wanted.replicas),
        ),
    ];
    match pairs.into_iter().find(|(_, found, wanted)| found != wanted) {
        None => Ok(()),
        Some((setting, found, wanted)) => Err(EnsureError::Differs {
            stream,
            difference: Difference {
                setting,
                found: found.to_string(),
                wanted: wanted.to_string(),
                mend: "change the setting here (log.*)",
            },
        }),
    }
}

#[async_trait]
impl Leases for MemoryRegion {
    async fn ensure(&self, create: bool, _replicas: u8) -> Result<(), EnsureError> {
        let now = (self.0.clock)().wall;
        self.change(|state| {
            if create {
                state.leases_made.get_or_insert(now);
            }
        });
        Leases::made_at(self).await.map(drop)
    }

    async fn made_at(&self) -> Result<Wall, EnsureError> {
        let stream = format!("KV_{}", self.0.names.lease_bucket());
        if self.servers() == Servers::Away {
            self.unanswered().await;
            return Err(EnsureError::Unanswered { stream });
        }
        self.state().leases_made.ok_or(EnsureError::Missing { stream })
    }

    async fn put(
        &self,
        name: &LeaseName,
        expected: Revision,
        payload: Bytes,
        ttl: Duration,
    ) -> Result<Revision, LeaseError> {
        let now = (self.0.clock)().mono;
        self.lease(|leases| leases.put(now, name, expected, payload, ttl))
            .await
    }

    async fn release(&self, name: &LeaseName, expected: Revision) -> Result<(), LeaseError> {
        let now = (self.0.clock)().mono;
        self.lease(|leases| leases.release(now, name, expected)).await
    }

    async fn get(&self, name: &LeaseName) -> Result<Lease, LeaseError> {
        let now = (self.0.clock)().mono;
        self.lease(|leases| Ok(leases.get(now, name))).await
    }

    fn watch(&self) -> LeaseWatch {
        LeaseWatch::new(|events| self.clone().follow_leases(events))
    }
}
