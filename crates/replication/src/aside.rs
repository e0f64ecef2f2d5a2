//! What is set aside: writes that no reader of a log accepts, writes that were overwritten unseen,
//! and ranges that could not be decoded (design.md section 9).
//!
//! Problem: every agent of a region reads the same log and finds the same loss, some of them again
//! after a restart. The loss must be kept once, with its bytes, and nothing that was not lost may
//! be reported.
//!
//! Sketch: an entry is a function of the log alone, and so is its [name](Entry::name): its reason,
//! its partition and the version of the write. Of several entries with one name, the first is kept.
//! A conflict is kept only by the loser's region, where the loser came from the region's own log.
//! Which of the two writes arrived first makes no difference to the entry.
//!
//! Invariant: in any order of arrival, a write that every later write of its cell has seen is never
//! a conflict, and a write that no other write has seen and that does not stay is always one.
//! Failure case: of three writes, the second saw the first and the third saw neither. The first is
//! then a conflict only where the third arrives before the second: there it was overwritten unseen,
//! and the second came too late.

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

/// A write or a range that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The shard in whose log it was found.
    pub shard: Shard,
    /// When it was found: the log's timestamp of its message, or the time when a gateway received
    /// the range.
    pub at: Wall,
    /// What was set aside.
    pub kept: Kept,
}

/// The write or the range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// A write of this region.
    Write(KeptWrite),
    /// A range of another region's log.
    Range(KeptRange),
}

/// A write that does not count, or that was overwritten unseen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptWrite {
    /// Why it was set aside.
    pub why: Why,
    /// The cell it wrote.
    pub id: CellId,
    /// Its version.
    pub version: Version,
    /// When its value expires; none if it does not.
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
    /// A newer delete may have been collected before it arrived.
    Late,
    /// It lost to a write that had not seen it.
    Conflict {
        /// The write that won.
        winner: Version,
    },
}

/// A range that the accepting gateway could not decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRange {
    /// The region of the log that it belongs to.
    pub origin: RegionName,
    /// Its first sequence.
    pub first: Sequence,
    /// Its last position and the message there.
    pub through: Cursor,
    /// Why it could not be decoded.
    pub detail: String,
    /// Its body as received.
    pub body: Bytes,
}

/// The reasons as they are displayed. Names never change.
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
    /// See [`Why::Late`].
    Late,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::Clock,
        Self::TooLate,
        Self::Undecodable,
        Self::Conflict,
        Self::Late,
    ];

    /// The displayed name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::TooLate => "too_late",
            Self::Undecodable => "undecodable",
            Self::Conflict => "conflict",
            Self::Late => "late",
        }
    }

    /// Parses a displayed name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

impl Entry {
    /// The entry for the loser of a conflict that was found in the message of `log` with the
    /// timestamp `at`. None if the loser was written in another region, which keeps it itself.
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

    /// The entry for a change that was found in the message of `log` with the timestamp `at`, and
    /// was not applied because a newer delete may have been collected.
    #[must_use]
    pub fn of_late(log: &LogName, at: Wall, id: CellId, cell: Cell) -> Self {
        let kept = KeptWrite {
            why: Why::Late,
            id,
            version: cell.version,
            expires_at: cell.expires_at,
            content: cell.content,
        };
        Self::of_write(log, at, kept)
    }

    fn of_write(log: &LogName, at: Wall, kept: KeptWrite) -> Self {
        Self {
            shard: log.shard.clone(),
            at,
            kept: Kept::Write(kept),
        }
    }

    /// The entry for a range for `log` that could not be decoded.
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

    /// Why it was set aside.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match &self.kept {
            Kept::Range(_) => Reason::Undecodable,
            Kept::Write(write) => match write.why {
                Why::Clock => Reason::Clock,
                Why::TooLate => Reason::TooLate,
                Why::Conflict { .. } => Reason::Conflict,
                Why::Late => Reason::Late,
            },
        }
    }

    /// The name of the entry, unique among the entries of its group. It consists of the characters
    /// a-z, 0-9, `_` and `-`.
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

    /// The approximate number of bytes that it takes in memory.
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

/// The entries for a void message of `log`: the changes of a local batch that was stamped too far
/// ahead or came too late. Changes that `store` has, or that it knows to have been replaced by a
/// write which had seen them, are left out (the batch was repeated much later).
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
