//! One log in memory.

use std::collections::VecDeque;

use bytes::Bytes;
use isthmus_replication::coordinates::{Anchor, MessageId, Sequence};
use isthmus_replication::fold::SubjectToken;
use isthmus_replication::follow::LifeSuspected;
use isthmus_replication::header::Header;
use isthmus_replication::time::Wall;

use crate::{Bounds, LogSettings, ReadError, StoredMessage};

/// Overhead in bytes of a stored message, beside header and body.
const ENTRY_BYTES: usize = 64;

/// One log. It models a stream, as far as Isthmus relies on it.
#[derive(Debug, Clone)]
pub struct MemoryLog {
    settings: LogSettings,
    trimmed: Sequence,
    entries: VecDeque<StoredEntry>,
    bytes: u64,
    last_at: Wall,
}

#[derive(Debug, Clone)]
struct StoredEntry {
    token: SubjectToken,
    header: Bytes,
    body: Bytes,
    timestamp: Wall,
}

impl StoredEntry {
    fn bytes(&self) -> u64 {
        (ENTRY_BYTES + self.header.len() + self.body.len()) as u64
    }
}

/// The log is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new(settings: LogSettings) -> Self {
        Self {
            settings,
            trimmed: Sequence::NONE,
            entries: VecDeque::new(),
            bytes: 0,
            last_at: Wall::default(),
        }
    }

    /// The settings it was created with.
    #[must_use]
    pub fn settings(&self) -> &LogSettings {
        &self.settings
    }

    /// Stores a message, stamped with `now` or the timestamp of the previous message by the same
    /// server, whichever is later.
    ///
    /// # Errors
    /// If the log is full; nothing was stored.
    pub fn append(
        &mut self,
        now: Wall,
        token: &SubjectToken,
        header: &Header,
        body: Bytes,
    ) -> Result<Sequence, Full> {
        let entry = StoredEntry {
            token: token.clone(),
            header: header.encode(),
            body,
            timestamp: now.max(self.last_at),
        };
        if self.bytes + entry.bytes() > self.settings.max_bytes {
            return Err(Full);
        }
        self.bytes += entry.bytes();
        self.last_at = entry.timestamp;
        self.entries.push_back(entry);
        Ok(self.last())
    }

    fn last(&self) -> Sequence {
        Sequence(self.trimmed.0 + self.entries.len() as u64)
    }

    /// The bounds of the log.
    #[must_use]
    pub fn bounds(&self, now: Wall) -> Bounds {
        Bounds {
            first: self.trimmed.next(),
            last: self.last(),
            bytes: self.bytes,
            first_at: self
                .entries
                .front()
                .map_or_else(Wall::default, |entry| entry.timestamp),
            last_at: self.last_at,
            answered_at: now,
        }
    }

    /// The message at `sequence`.
    #[must_use]
    pub fn at(&self, sequence: Sequence) -> Option<StoredMessage> {
        let index = sequence.0.checked_sub(self.trimmed.0 + 1)?;
        let entry = self.entries.get(usize::try_from(index).ok()?)?;
        Some(StoredMessage {
            sequence,
            timestamp: entry.timestamp,
            token: Some(entry.token.clone()),
            header: Header::decode(&entry.header),
            body: entry.body.clone(),
        })
    }

    /// The first message of `token` at or after `from`.
    #[must_use]
    pub fn next_of(&self, token: &SubjectToken, from: Sequence) -> Option<StoredMessage> {
        let skipped = from.0.saturating_sub(self.trimmed.0 + 1);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let mut rest = self.entries.iter().enumerate().skip(skipped);
        let (index, _) = rest.find(|(_, entry)| entry.token == *token)?;
        self.at(Sequence(self.trimmed.0 + 1 + index as u64))
    }

    /// Up to `limit` messages after `after`, whose message must be the named one.
    ///
    /// # Errors
    /// [`ReadError::Gone`] and [`ReadError::LifeSuspected`].
    pub fn after(&self, after: Anchor, limit: usize) -> Result<Vec<StoredMessage>, ReadError> {
        let bounds = self.bounds(Wall::default());
        if after.sequence > bounds.last {
            return Err(suspected(after, None, bounds.last));
        }
        let wanted = after.sequence.max(Sequence::NONE.next());
        if bounds.first > wanted {
            let first = bounds.first;
            return Err(ReadError::Gone { wanted, first });
        }
        if after.sequence > Sequence::NONE {
            let found = self.at(after.sequence).map(|message| message.message_id());
            if found != Some(after.message_id) {
                return Err(suspected(after, found, bounds.last));
            }
        }
        let sequences = after.sequence.next().0..=bounds.last.0;
        Ok(sequences
            .take(limit)
            .filter_map(|sequence| self.at(Sequence(sequence)))
            .collect())
    }

    /// Trims everything before `keep_from`, at most to the last message. Returns the number of
    /// trimmed messages.
    pub fn purge(&mut self, keep_from: Sequence) -> u64 {
        let before = keep_from.min(self.last()).previous();
        let count = before.0.saturating_sub(self.trimmed.0);
        for entry in self.entries.drain(..usize::try_from(count).unwrap_or(usize::MAX)) {
            self.bytes -= entry.bytes();
        }
        self.trimmed = self.trimmed.max(before);
        count
    }

    /// Loses what was stored after `keep_through`.
    pub fn lose_tail(&mut self, keep_through: Sequence) {
        while self.last() > keep_through {
            let Some(entry) = self.entries.pop_back() else {
                return;
            };
            self.bytes -= entry.bytes();
        }
        self.elect();
    }

    /// Another server's clock stamps later messages.
    pub fn elect(&mut self) {
        self.last_at = Wall::default();
    }

    /// The first sequence kept, and the last.
    #[must_use]
    pub fn span(&self) -> (Sequence, Sequence) {
        (self.trimmed.next(), self.last())
    }
}

fn suspected(anchor: Anchor, found: Option<MessageId>, last: Sequence) -> ReadError {
    LifeSuspected { anchor, found, last }.into()
}
