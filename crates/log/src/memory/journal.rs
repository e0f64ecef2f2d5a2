//! Journals in memory.

use std::collections::{BTreeMap, VecDeque};

use async_trait::async_trait;
use bytes::Bytes;
use isthmus_replication::coordinates::Sequence;
use isthmus_replication::time::Wall;

use super::{MemoryRegion, Servers};
use crate::journal::journal_bounds;
use crate::{
    AppendError, Appended, EnsureError, EntryName, Journal, JournalEntry, JournalName, JournalPage, LogError,
    PageFrom,
};

/// Overhead in bytes of a stored entry, beside its name and content.
const ENTRY_BYTES: usize = 64;

/// One journal. It models a stream with one message per subject, as far as Isthmus relies on it.
#[derive(Debug, Clone, Default)]
pub(super) struct MemoryJournal {
    /// Entries and, with empty bytes, names of removed ones; oldest first.
    held: VecDeque<JournalEntry>,
    names: BTreeMap<EntryName, Sequence>,
    bytes: u64,
    last: Sequence,
    made_at: Wall,
}

impl MemoryJournal {
    fn of(&self, name: &EntryName) -> Option<&JournalEntry> {
        let sequence = self.names.get(name)?;
        self.held.iter().find(|held| held.sequence == *sequence)
    }

    fn put(&mut self, now: Wall, name: &EntryName, entry: Bytes) {
        if let Some(before) = self.names.get(name).copied() {
            self.held.retain(|held| held.sequence != before);
        }
        self.last = self.last.next();
        self.names.insert(name.clone(), self.last);
        self.held.push_back(JournalEntry {
            sequence: self.last,
            stored_at: now,
            name: name.clone(),
            entry,
        });
        self.bytes = self.held.iter().map(bytes_of).sum();
    }

    /// Drops the oldest entries that exceed the bounds.
    fn bound(&mut self, journal: &JournalName, now: Wall) {
        let bounds = journal_bounds(journal);
        while let Some(oldest) = self.held.front() {
            let aged = bounds.age.is_some_and(|age| oldest.stored_at.after(age) <= now);
            if self.bytes <= bounds.bytes && !aged {
                return;
            }
            self.bytes -= bytes_of(oldest);
            self.names.remove(&oldest.name);
            self.held.pop_front();
        }
    }

    /// A page from `from` on. A position beyond the end means that the journal was created again,
    /// so reading starts at its beginning.
    fn page(&self, from: PageFrom, limit: usize) -> JournalPage {
        let from = match from {
            PageFrom::Sequence(sequence) if sequence > self.last.next() => PageFrom::Sequence(Sequence::NONE),
            from => from,
        };
        let mut entries = self
            .held
            .iter()
            .filter(|held| match from {
                PageFrom::Sequence(sequence) => held.sequence >= sequence,
                PageFrom::Time(time) => held.stored_at >= time,
            })
            .filter(|held| !held.entry.is_empty());
        let page: Vec<JournalEntry> = entries.by_ref().take(limit).cloned().collect();
        let next = entries.next().map(|held| held.sequence);
        JournalPage {
            entries: page,
            next: next.unwrap_or_else(|| self.last.next()),
            is_last: next.is_none(),
        }
    }
}

fn bytes_of(held: &JournalEntry) -> u64 {
    (ENTRY_BYTES + held.name.as_str().len() + held.entry.len()) as u64
}

impl MemoryRegion {
    /// Every entry of a journal, oldest first, whatever the state of the servers.
    #[must_use]
    pub fn journal_entries(&self, journal: &JournalName) -> Vec<JournalEntry> {
        let state = self.state();
        let held = state.journals.get(journal).map(|journal| &journal.held);
        let entries = held.into_iter().flatten();
        entries.filter(|held| !held.entry.is_empty()).cloned().collect()
    }

    /// Deletes a journal with all its entries, as an operator may by mistake.
    pub fn delete_journal(&self, journal: &JournalName) {
        self.change(|state| state.journals.remove(journal));
    }

    /// Acts on a journal; `None` if it does not exist or the region is unreachable.
    fn with_journal<T>(
        &self,
        journal: &JournalName,
        act: impl FnOnce(&mut MemoryJournal, Wall) -> T,
    ) -> Option<T> {
        let now = (self.0.clock)().wall;
        let mut state = self.state();
        if state.servers == Servers::Away {
            return None;
        }
        let held = state.journals.get_mut(journal)?;
        held.bound(journal, now);
        let done = act(held, now);
        held.bound(journal, now);
        Some(done)
    }

    fn fits(&self, entry: &Bytes) -> Result<(), AppendError> {
        let (bytes, max_payload) = (entry.len(), self.0.max_message_bytes);
        if bytes > max_payload {
            return Err(AppendError::TooLarge { bytes, max_payload });
        }
        Ok(())
    }

    fn no_answer(&self, journal: &JournalName) -> AppendError {
        AppendError::Unanswered {
            stream: self.0.names.journal(journal),
        }
    }

    fn without_answer(&self, journal: &JournalName) -> LogError {
        let stream = self.0.names.journal(journal);
        if self.servers() == Servers::Away {
            LogError::Unanswered { stream }
        } else {
            LogError::Missing { stream }
        }
    }
}

#[async_trait]
impl Journal for MemoryRegion {
    async fn ensure(&self, journal: &JournalName, create: bool, _replicas: u8) -> Result<(), EnsureError> {
        let stream = self.0.names.journal(journal);
        let made_at = (self.0.clock)().wall;
        self.change(|state| {
            if !create && !state.journals.contains_key(journal) {
                return Err(EnsureError::Missing { stream });
            }
            let made = || MemoryJournal {
                made_at,
                ..MemoryJournal::default()
            };
            state.journals.entry(journal.clone()).or_insert_with(made);
            Ok(())
        })
    }

    async fn made_at(&self, journal: &JournalName) -> Result<Wall, EnsureError> {
        let made_at = self.with_journal(journal, |held, _| held.made_at);
        made_at.ok_or_else(|| match self.without_answer(journal) {
            LogError::Missing { stream } => EnsureError::Missing { stream },
            LogError::Refused { stream, .. } | LogError::Unanswered { stream } => {
                EnsureError::Unanswered { stream }
            }
        })
    }

    async fn append(
        &self,
        journal: &JournalName,
        name: &EntryName,
        entry: Bytes,
    ) -> Result<Appended, AppendError> {
        self.fits(&entry)?;
        let appended = self.with_journal(journal, |held, now| {
            if held.of(name).is_some() {
                return Appended::Known;
            }
            held.put(now, name, entry);
            Appended::New
        });
        appended.ok_or_else(|| self.no_answer(journal))
    }

    async fn replace(
        &self,
        journal: &JournalName,
        name: &EntryName,
        entry: Bytes,
    ) -> Result<(), AppendError> {
        self.fits(&entry)?;
        let replaced = self.with_journal(journal, |held, now| held.put(now, name, entry));
        replaced.ok_or_else(|| self.no_answer(journal))
    }

    async fn page(
        &self,
        journal: &JournalName,
        from: PageFrom,
        limit: usize,
    ) -> Result<JournalPage, LogError> {
        self.with_journal(journal, |held, _| held.page(from, limit))
            .ok_or_else(|| self.without_answer(journal))
    }

    async fn time(&self, journal: &JournalName) -> Result<Wall, LogError> {
        self.with_journal(journal, |_, now| now)
            .ok_or_else(|| self.without_answer(journal))
    }

    async fn get(&self, journal: &JournalName, name: &EntryName) -> Result<Option<JournalEntry>, LogError> {
        let found = self.with_journal(journal, |held, _| held.of(name).cloned());
        let found = found.ok_or_else(|| self.without_answer(journal))?;
        Ok(found.filter(|found| !found.entry.is_empty()))
    }

    async fn remove(&self, journal: &JournalName, name: &EntryName) -> Result<bool, AppendError> {
        let removed = self.with_journal(journal, |held, now| {
            let there = held.of(name).is_some_and(|found| !found.entry.is_empty());
            if there {
                held.put(now, name, Bytes::new());
            }
            there
        });
        removed.ok_or_else(|| self.no_answer(journal))
    }
}
