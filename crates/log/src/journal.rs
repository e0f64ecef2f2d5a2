//! The port to a region's journals: bounded streams of named entries that drop their oldest
//! entries.
//!
//! A journal contains at most one entry of each name, so that any number of processes that observe
//! the same fact record it once. The name of a removed entry is kept, so that a process that
//! observes the fact again, for example when it rereads a log, does not add the entry again. Both
//! guarantees end when the journal drops the entry or the name for lack of room.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use isthmus_replication::coordinates::Sequence;
use isthmus_replication::names::GroupName;
use isthmus_replication::time::Wall;

use crate::{AppendError, EnsureError, LogError};

/// Maximum length of an entry's name, in bytes.
const NAME_BYTES: usize = 200;

/// The journals of one region.
#[async_trait]
pub trait Journal: fmt::Debug + Send + Sync {
    /// Makes sure that a journal exists. A missing one is created if `create` allows it; an
    /// existing one is compared. Its bounds may differ from those of this version, but it must have
    /// a bound.
    ///
    /// # Errors
    /// [`EnsureError`].
    async fn ensure(&self, journal: &JournalName, create: bool, replicas: u8) -> Result<(), EnsureError>;

    /// When the journal was created, if it exists.
    ///
    /// # Errors
    /// [`EnsureError`]; during an election the journal seems to be missing, too.
    async fn made_at(&self, journal: &JournalName) -> Result<Wall, EnsureError>;

    /// Appends an entry unless the journal has or had one of that name. Empty bytes are not an
    /// entry.
    ///
    /// # Errors
    /// [`AppendError`]; if the entry [may be stored](AppendError::may_be_stored), repeating the
    /// call is safe.
    async fn append(
        &self,
        journal: &JournalName,
        name: &EntryName,
        entry: Bytes,
    ) -> Result<Appended, AppendError>;

    /// Appends an entry and replaces the one of that name, if there is one. For names that only one
    /// process uses.
    ///
    /// # Errors
    /// [`AppendError`]; if the entry [may be stored](AppendError::may_be_stored), repeating the
    /// call is safe.
    async fn replace(&self, journal: &JournalName, name: &EntryName, entry: Bytes)
    -> Result<(), AppendError>;

    /// At most `limit` entries from `from` on, oldest first.
    ///
    /// # Errors
    /// [`LogError`].
    async fn page(
        &self,
        journal: &JournalName,
        from: PageFrom,
        limit: usize,
    ) -> Result<JournalPage, LogError>;

    /// The current time by the clock that stamps the journal.
    ///
    /// # Errors
    /// [`LogError`].
    async fn time(&self, journal: &JournalName) -> Result<Wall, LogError>;

    /// The entry of that name; `None` if there is none or it was removed.
    ///
    /// # Errors
    /// [`LogError`].
    async fn get(&self, journal: &JournalName, name: &EntryName) -> Result<Option<JournalEntry>, LogError>;

    /// Removes the entry of that name and keeps the name. Returns whether there was an entry.
    ///
    /// # Errors
    /// [`AppendError`]; if the removal [may be stored](AppendError::may_be_stored), repeating the
    /// call is safe.
    async fn remove(&self, journal: &JournalName, name: &EntryName) -> Result<bool, AppendError>;
}

/// A journal of a region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JournalName {
    /// Events of the region's processes.
    Events,
    /// Changes of a group that were not applied, or were overwritten unseen (design.md section 9).
    Aside(GroupName),
}

/// The name of an entry: 1 to 200 of the characters a-z, A-Z, 0-9, `_` and `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(Arc<str>);

/// Text that is not a valid name of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of an entry: use 1 to 200 of the characters a-z, A-Z, 0-9, '_' and '-'")]
pub struct InvalidEntryName;

/// The outcome of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// The entry was stored.
    New,
    /// The journal has an entry of that name, or had one that was removed.
    Known,
}

/// Where a page starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageFrom {
    /// At this sequence.
    Sequence(Sequence),
    /// At the first entry stored at or after this time by the journal's clock.
    Time(Wall),
}

/// An entry in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its sequence; later entries have greater ones.
    pub sequence: Sequence,
    /// When it was stored, by the journal's clock.
    pub stored_at: Wall,
    /// Its name.
    pub name: EntryName,
    /// Its bytes, never empty.
    pub entry: Bytes,
}

/// A page of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalPage {
    /// The entries, oldest first.
    pub entries: Vec<JournalEntry>,
    /// Where the next page starts.
    pub next: Sequence,
    /// Whether there are no more entries yet.
    pub is_last: bool,
}

/// The bounds of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalBounds {
    /// Maximum size in bytes, names included.
    pub bytes: u64,
    /// How long an entry is kept; `None` if there is no limit.
    pub age: Option<Duration>,
}

/// The bounds with which this version creates a journal.
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
    /// Validates a name.
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
