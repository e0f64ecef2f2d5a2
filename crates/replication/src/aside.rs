//! What is set aside: writes that no reader of a log accepts, writes that were overwritten unseen, and ranges that could not be
//! decoded (design.md section 9).
//!
//! Problem: every agent of a region reads the same log and sees the same loss, some of them again after a restart; the loss is
//! to be kept once, with its bytes, and nothing is to be reported that was not lost.
//!
//! Sketch: an entry is a function of the log alone, and so is its [name](Entry::name): its reason, its partition and the version
//! of the write. Whoever keeps entries keeps the first of a name. A conflict is kept by the region of the loser, where the loser
//! came by its own log, and by no other; which of the two writes arrived first makes no difference to the entry.
//!
//! Invariant: a write that every later one of its cell has seen is never a conflict; one that no write has seen and that does
//! not stay is one, in any order of arrival. Failure case: of three writes, of which the second saw the first and the third
//! saw neither, the first is a conflict only where the third arrives before the second: then it was overwritten unseen, and
//! the second came too late.

use bytes::Bytes;

use crate::body;
use crate::cell::{Cell, CellId, Content};
use crate::change::{Change, Op};
use crate::coordinates::{Cursor, Life, Position, Sequence, Shard};
use crate::fold::{LogName, Void};
use crate::header::{Header, Range, Record};
use crate::names::RegionName;
use crate::store::{Conflict, Store};
use crate::time::Wall;
use crate::version::Version;

mod codec;
#[cfg(test)]
mod tests;
mod wire;

pub use codec::InvalidEntry;

/// Something that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The shard in whose log it showed.
    pub shard: Shard,
    /// When: a log's time for its message, or when a gateway was handed a range.
    pub at: Wall,
    /// What it is.
    pub kept: Kept,
}

/// What is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// A write of this region.
    Write(KeptWrite),
    /// A range of another region's log.
    Range(KeptRange),
}

/// A write that does not count, or was overwritten unseen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptWrite {
    /// Why.
    pub why: Why,
    /// The cell that it wrote.
    pub id: CellId,
    /// Its version.
    pub version: Version,
    /// When its value ends.
    pub expires_at: Option<Wall>,
    /// What it wrote.
    pub content: Content,
}

/// Why a write is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Its stamp was too far ahead of the log's time.
    Clock,
    /// It reached the log too late.
    TooLate,
    /// A write that had not seen it stays.
    Conflict {
        /// The write that stays.
        winner: Version,
    },
}

/// A range that the accepting gateway could not decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRange {
    /// Whose log it is of.
    pub origin: RegionName,
    /// Its first sequence.
    pub first: Sequence,
    /// Its last position, with the message there.
    pub through: Cursor,
    /// Why it could not be decoded.
    pub detail: String,
    /// Its body as it came.
    pub body: Bytes,
}

/// The reasons, as they are shown. Never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// See [`Why::Clock`].
    Clock,
    /// See [`Why::TooLate`].
    TooLate,
    /// See [`KeptRange`].
    Undecodable,
    /// See [`Why::Conflict`].
    Conflict,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Clock, Self::TooLate, Self::Undecodable, Self::Conflict];

    /// As it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::TooLate => "too_late",
            Self::Undecodable => "undecodable",
            Self::Conflict => "conflict",
        }
    }

    /// Reads what is shown.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

impl Entry {
    /// The loser of a conflict that showed in the message of `at` in `log`; none if it was written in another region, which keeps
    /// it itself.
    #[must_use]
    pub fn of_conflict(log: &LogName, at: Wall, id: CellId, conflict: Conflict) -> Option<Self> {
        let Cell {
            version,
            expires_at,
            content,
            ..
        } = conflict.loser;
        let kept = KeptWrite {
            why: Why::Conflict {
                winner: conflict.winner,
            },
            id,
            version,
            expires_at,
            content,
        };
        (kept.version.region == log.region).then(|| Self::of_write(log, at, kept))
    }

    fn of_write(log: &LogName, at: Wall, kept: KeptWrite) -> Self {
        Self {
            shard: log.shard.clone(),
            at,
            kept: Kept::Write(kept),
        }
    }

    /// A range for `log` that could not be decoded.
    #[must_use]
    pub fn of_range(log: &LogName, at: Wall, range: &Range, detail: String, body: Bytes) -> Self {
        let nowhere = Cursor {
            position: Position {
                life: Life { number: 0, nonce: 0 },
                sequence: range.through.sequence,
            },
            message_id: range.through.message_id,
        };
        let kept = KeptRange {
            origin: range.origin.clone(),
            first: range.first,
            through: range.end().unwrap_or(nowhere),
            detail,
            body,
        };
        Self {
            shard: log.shard.clone(),
            at,
            kept: Kept::Range(kept),
        }
    }

    /// Why it is set aside.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match &self.kept {
            Kept::Range(_) => Reason::Undecodable,
            Kept::Write(write) => match write.why {
                Why::Clock => Reason::Clock,
                Why::TooLate => Reason::TooLate,
                Why::Conflict { .. } => Reason::Conflict,
            },
        }
    }

    /// What names it among everything that is set aside of its group: of the characters a-z, 0-9, `_` and `-`.
    #[must_use]
    pub fn name(&self) -> String {
        let (reason, partition) = (self.reason().as_str(), self.shard.partition);
        match &self.kept {
            Kept::Write(write) => format!("{reason}-{partition}-{}", write.version),
            Kept::Range(range) => format!(
                "{reason}-{partition}-{}-{}-{}-{}-{}",
                range.origin,
                range.through.position.life.number,
                range.first,
                range.through.position.sequence,
                range.through.message_id
            ),
        }
    }

    /// Bytes that it takes in memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        const OVERHEAD: usize = 512;
        let own = match &self.kept {
            Kept::Range(range) => range.body.len(),
            Kept::Write(write) => {
                let content = match &write.content {
                    Content::Value { bytes, .. } => bytes.len(),
                    Content::Tombstone | Content::Swept(_) => 0,
                };
                content + write.id.key.as_str().len() + write.id.field.bytes().len()
            }
        };
        OVERHEAD + own
    }
}

/// What is set aside of a message of `log` that does not count: the changes of a local batch that came too early or too late,
/// but for those that `store` has, or that it knows to have been replaced knowingly (the batch was repeated long after).
#[must_use]
pub fn of_void(
    log: &LogName,
    store: &Store,
    void: Void,
    at: Wall,
    header: &Header,
    body: &Bytes,
) -> Vec<Entry> {
    let why = match void {
        Void::ClockAhead => Why::Clock,
        Void::TooLate => Why::TooLate,
        _ => return Vec::new(),
    };
    if !matches!(header.record, Record::Batch(_)) || header.body.check(body).is_err() {
        return Vec::new();
    }
    let changes = body::decode(&log.region, body.clone()).unwrap_or_default();
    let lost = changes.into_iter().filter(|change| !store.knows(change));
    lost.map(|change| of_change(log, at, why.clone(), change))
        .collect()
}

fn of_change(log: &LogName, at: Wall, why: Why, change: Change) -> Entry {
    let content = match change.op {
        Op::Put { value, content_type } => Content::Value {
            bytes: value,
            content_type,
        },
        Op::Delete => Content::Tombstone,
    };
    let kept = KeptWrite {
        why,
        id: change.id,
        version: change.version,
        expires_at: change.expires_at,
        content,
    };
    Entry::of_write(log, at, kept)
}
