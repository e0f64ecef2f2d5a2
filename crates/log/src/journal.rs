//! The port to what a region keeps beside its logs: bounded streams of named entries, the oldest of which give way.
//!
//! A journal has an entry of a name at most once, so that any number of processes which see the same thing write it once. A
//! removed entry leaves its name behind, so that a process which sees the thing again, as when it reads a log again, does not
//! bring the entry back. Both end where the journal has no room for them any more.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use isthmus_replication::coordinates::Sequence;
use isthmus_replication::names::GroupName;
use isthmus_replication::time::Wall;

use crate::{AppendError, EnsureError, LogError};

/// Longest name of an entry, in bytes.
const NAME_BYTES: usize = 200;

/// The journals of one region.
#[async_trait]
pub trait Journal: fmt::Debug + Send + Sync {
    /// Makes sure that a journal exists: created if it is missing and may be, else compared. Its bounds may be others than
    /// those of this version, as long as there are some.
    ///
    /// # Errors
    /// [`EnsureError`].
    async fn ensure(&self, journal: &JournalName, create: bool, replicas: u8) -> Result<(), EnsureError>;

    /// When the journal was made, if it is there.
    ///
    /// # Errors
    /// [`EnsureError`]; an election says that it is missing, too.
    async fn made_at(&self, journal: &JournalName) -> Result<Wall, EnsureError>;

    /// Appends an entry unless the journal has, or had, one of that name. Empty bytes are no entry.
    ///
    /// # Errors
    /// [`AppendError`]; after one that [may be stored](AppendError::may_be_stored) the same call does no harm.
    async fn append(
        &self,
        journal: &JournalName,
        name: &EntryName,
        entry: Bytes,
    ) -> Result<Appended, AppendError>;

    /// Appends an entry in the place of the one of that name, if there is one. For names that one process alone uses.
    ///
    /// # Errors
    /// [`AppendError`]; after one that [may be stored](AppendError::may_be_stored) the same call does no harm.
    async fn replace(&self, journal: &JournalName, name: &EntryName, entry: Bytes)
    -> Result<(), AppendError>;

    /// At most `limit` entries from a place on, oldest first.
    ///
    /// # Errors
    /// [`LogError`].
    async fn page(
        &self,
        journal: &JournalName,
        from: PageFrom,
        limit: usize,
    ) -> Result<JournalPage, LogError>;

    /// The time by the clock that stamps the journal.
    ///
    /// # Errors
    /// [`LogError`].
    async fn time(&self, journal: &JournalName) -> Result<Wall, LogError>;

    /// The entry of that name; none if there is none or it was removed.
    ///
    /// # Errors
    /// [`LogError`].
    async fn get(&self, journal: &JournalName, name: &EntryName) -> Result<Option<JournalEntry>, LogError>;

    /// Removes the entry of that name, and keeps the name; whether there was one.
    ///
    /// # Errors
    /// [`AppendError`]; after one that [may be stored](AppendError::may_be_stored) the same call does no harm.
    async fn remove(&self, journal: &JournalName, name: &EntryName) -> Result<bool, AppendError>;
}

/// Which journal of a region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JournalName {
    /// What happened to the region's processes.
    Events,
    /// What was not applied, or was overwritten unseen, of a group (design.md section 9).
    Aside(GroupName),
}

/// The name of an entry: 1 to 200 of the characters a-z, A-Z, 0-9, `_` and `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(Arc<str>);

/// Text that is no name of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of an entry: use 1 to 200 of the characters a-z, A-Z, 0-9, '_' and '-'")]
pub struct InvalidEntryName;

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is stored.
    New,
    /// An entry of that name is there, or was removed.
    Known,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageFrom {
    /// At this sequence.
    Sequence(Sequence),
    /// At the first entry stored at or after this time by the journal's clock.
    Time(Wall),
}

/// An entry as it stands in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its sequence: later entries have greater ones.
    pub sequence: Sequence,
    /// When it was stored, by the journal's clock.
    pub stored_at: Wall,
    /// Its name.
    pub name: EntryName,
    /// Its bytes, never empty.
    pub entry: Bytes,
}

/// Some entries of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalPage {
    /// Oldest first.
    pub entries: Vec<JournalEntry>,
    /// Where the next page begins.
    pub next: Sequence,
    /// Whether nothing is there yet.
    pub is_last: bool,
}

/// How much a journal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalBounds {
    /// Bytes, names among them.
    pub bytes: u64,
    /// How long an entry is kept where it is not for ever.
    pub age: Option<Duration>,
}

/// How much a journal holds that this version creates.
pub(crate) fn journal_bounds(journal: &JournalName) -> JournalBounds {
    const MIB: u64 = 1024 * 1024;
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    match journal {
        JournalName::Events => JournalBounds {
            bytes: 16 * MIB,
            age: Some(DAY * 30),
        },
        JournalName::Aside(_) => JournalBounds {
            bytes: 64 * MIB,
            age: None,
        },
    }
}

impl EntryName {
    /// Checks and takes the name.
    ///
    /// # Errors
    /// [`InvalidEntryName`].
    pub fn parse(name: &str) -> Result<Self, InvalidEntryName> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidEntryName)
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_token_of_a_subject() {
        for name in [
            "conflict-3-0199b3a1c2d30000-eu-west-9f0c2b7d11aa54e3",
            "too_late",
            "A",
            &"x".repeat(200),
        ] {
            assert_eq!(
                EntryName::parse(name).map(|parsed| parsed.to_string()),
                Ok(name.to_owned())
            );
        }
        for name in ["", "a.b", "a b", "*", ">", "é", "a/b", &"x".repeat(201)] {
            assert_eq!(EntryName::parse(name), Err(InvalidEntryName), "{name}");
        }
    }
}
