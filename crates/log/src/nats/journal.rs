//! The journals of a region on JetStream: one stream per journal, one subject per entry, one
//! message per subject.
//!
//! A compare-and-set on the subject makes sure that a name is written once. A removal is an empty
//! message on the subject that replaces the entry, so it needs no right to delete.

use async_nats::HeaderMap;
use async_trait::async_trait;
use bytes::Bytes;
use isthmus_replication::coordinates::Sequence;
use isthmus_replication::time::Wall;

use super::connection::Connection;
use super::request::{Query, StreamInfo, WRONG_LAST_SEQUENCE, WRONG_LAST_SEQUENCE_CONSTANT, wall_of_nanos};
use super::stream::{self, Bounds};
use crate::{
    AppendError, Appended, EnsureError, EntryName, Journal, JournalEntry, JournalName, JournalPage, LogError,
    PageFrom,
};

const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

/// The journals of a region on JetStream.
#[derive(Debug)]
pub(super) struct NatsJournal {
    connection: Connection,
}

/// A message of a journal: an entry, or the name of a removed one.
struct Found {
    sequence: Sequence,
    stored_at: Wall,
    subject: String,
    entry: Bytes,
}

impl NatsJournal {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    async fn find(&self, journal: &JournalName, query: Query) -> Result<Option<Found>, LogError> {
        let stream = self.connection.names().journal(journal);
        let found = self.connection.message(&stream, query).await;
        let found = found.map_err(|unfulfilled| unfulfilled.of_stream(&stream))?;
        Ok(found.map(|message| Found {
            sequence: Sequence(message.sequence),
            stored_at: wall_of_nanos(message.time.unix_timestamp_nanos()),
            subject: message.subject.to_string(),
            entry: message.payload,
        }))
    }

    async fn info(&self, journal: &JournalName) -> Result<StreamInfo, LogError> {
        let stream = self.connection.names().journal(journal);
        let info = self.connection.stream_info(&stream).await;
        info.map_err(|unfulfilled| unfulfilled.of_stream(&stream))
    }

    async fn next(&self, journal: &JournalName, from: Sequence) -> Result<Option<Found>, LogError> {
        let subject = self.connection.names().journal_subjects(journal);
        let from = from.0.max(1);
        self.find(journal, Query::NextOf { subject, from }).await
    }

    async fn last(&self, journal: &JournalName, name: &EntryName) -> Result<Option<Found>, LogError> {
        let subject = self.connection.names().journal_subject(journal, name);
        self.find(journal, Query::LastOf(subject)).await
    }

    /// Writes if the last message of the name is at `expected`. Returns whether it was.
    async fn write(
        &self,
        journal: &JournalName,
        name: &EntryName,
        entry: Bytes,
        expected: Sequence,
    ) -> Result<bool, AppendError> {
        let names = self.connection.names();
        let (stream, subject) = (names.journal(journal), names.journal_subject(journal, name));
        let mut headers = HeaderMap::new();
        headers.insert(EXPECTED, expected.0.to_string());
        match self
            .connection
            .append(stream, subject, headers, entry)
            .await
            .await
        {
            Ok(_) => Ok(true),
            Err(AppendError::Refused {
                code: WRONG_LAST_SEQUENCE | WRONG_LAST_SEQUENCE_CONSTANT,
                ..
            }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The first sequence at which the message, or the next one, was stored at or after `time`,
    /// found by bisection.
    async fn first_at(&self, journal: &JournalName, time: Wall) -> Result<Sequence, LogError> {
        let state = self.info(journal).await?.state;
        let (mut low, mut high) = (state.first_seq.max(1), state.last_seq.saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            match self.next(journal, Sequence(middle)).await? {
                Some(found) if found.stored_at < time => low = found.sequence.0.saturating_add(1),
                Some(_) | None => high = middle,
            }
        }
        Ok(Sequence(low))
    }

    /// A page of the entries from `at` on.
    async fn page_at(
        &self,
        journal: &JournalName,
        mut at: Sequence,
        limit: usize,
    ) -> Result<JournalPage, LogError> {
        let prefix = self.connection.names().journal_prefix(journal);
        let mut entries = Vec::new();
        while let Some(found) = self.next(journal, at).await? {
            let name = found.subject.strip_prefix(&prefix).map(EntryName::parse);
            if let Some(Ok(name)) = name.filter(|_| !found.entry.is_empty()) {
                if entries.len() == limit {
                    return Ok(JournalPage {
                        entries,
                        next: found.sequence,
                        is_last: false,
                    });
                }
                entries.push(JournalEntry {
                    sequence: found.sequence,
                    stored_at: found.stored_at,
                    name,
                    entry: found.entry,
                });
            }
            at = found.sequence.next();
        }
        Ok(JournalPage {
            entries,
            next: at,
            is_last: true,
        })
    }

    /// Whether the journal ends before `at`. Then the journal was created again.
    async fn is_beyond(&self, journal: &JournalName, at: Sequence) -> Result<bool, LogError> {
        let end = Sequence(self.info(journal).await?.state.last_seq).next();
        Ok(at > end)
    }
}

#[async_trait]
impl Journal for NatsJournal {
    async fn ensure(&self, journal: &JournalName, create: bool, replicas: u8) -> Result<(), EnsureError> {
        let wanted = stream::journal(self.connection.names(), journal, replicas);
        stream::ensure(&self.connection, &wanted, create, Bounds::AnyButNone).await
    }

    async fn made_at(&self, journal: &JournalName) -> Result<Wall, EnsureError> {
        stream::made_at(&self.connection, &self.connection.names().journal(journal)).await
    }

    async fn append(
        &self,
        journal: &JournalName,
        name: &EntryName,
        entry: Bytes,
    ) -> Result<Appended, AppendError> {
        if self.write(journal, name, entry, Sequence::NONE).await? {
            return Ok(Appended::New);
        }
        match self.last(journal, name).await {
            Ok(Some(_)) => Ok(Appended::Known),
            Ok(None) | Err(_) => Err(AppendError::Unanswered {
                stream: self.connection.names().journal(journal),
            }),
        }
    }

    async fn replace(
        &self,
        journal: &JournalName,
        name: &EntryName,
        entry: Bytes,
    ) -> Result<(), AppendError> {
        let names = self.connection.names();
        let (stream, subject) = (names.journal(journal), names.journal_subject(journal, name));
        let appending = self.connection.append(stream, subject, HeaderMap::new(), entry);
        appending.await.await.map(drop)
    }

    async fn page(
        &self,
        journal: &JournalName,
        from: PageFrom,
        limit: usize,
    ) -> Result<JournalPage, LogError> {
        let at = match from {
            PageFrom::Sequence(sequence) => sequence,
            PageFrom::Time(time) => self.first_at(journal, time).await?,
        };
        let page = self.page_at(journal, at, limit).await?;
        if page.entries.is_empty() && self.is_beyond(journal, at).await? {
            return self.page_at(journal, Sequence::NONE, limit).await;
        }
        Ok(page)
    }

    async fn time(&self, journal: &JournalName) -> Result<Wall, LogError> {
        self.info(journal).await.map(|info| info.answered_at())
    }

    async fn get(&self, journal: &JournalName, name: &EntryName) -> Result<Option<JournalEntry>, LogError> {
        let found = self.last(journal, name).await?;
        Ok(found
            .filter(|found| !found.entry.is_empty())
            .map(|found| JournalEntry {
                sequence: found.sequence,
                stored_at: found.stored_at,
                name: name.clone(),
                entry: found.entry,
            }))
    }

    async fn remove(&self, journal: &JournalName, name: &EntryName) -> Result<bool, AppendError> {
        let unanswered = || AppendError::Unanswered {
            stream: self.connection.names().journal(journal),
        };
        match self.get(journal, name).await {
            Ok(Some(found)) => match self.write(journal, name, Bytes::new(), found.sequence).await? {
                true => Ok(true),
                false => Err(unanswered()),
            },
            Ok(None) => Ok(false),
            Err(LogError::Unanswered { .. } | LogError::Missing { .. }) => Err(unanswered()),
            Err(LogError::Refused {
                stream,
                code,
                description,
            }) => Err(AppendError::Refused {
                stream,
                code,
                description,
            }),
        }
    }
}
