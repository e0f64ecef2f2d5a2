//! A range of another region's log, and whether it is the next one.

use super::{Anchor, Cursor, HeaderError, Hlc, Lineage, MessageId, Position, RegionName, Sequence};
use crate::planted::{self, Planted};
use crate::wire;

/// All sequences `first..=through` of an origin's log. What is void or of another origin in it
/// contributes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    /// The region whose log it is.
    pub origin: RegionName,
    /// The lives of the origin's log, newest last. Positions are of the newest life.
    pub lineage: Lineage,
    /// The origin's message right before `first`; zero at the beginning of its log.
    pub previous: MessageId,
    /// First sequence, inclusive.
    pub first: Sequence,
    /// Last sequence, inclusive, and the origin's message there.
    pub through: Anchor,
    /// The origin's own highest stamp at `through`.
    pub highest_stamp: Hlc,
    /// The origin's own admission floor at `through`: its log accepts nothing stamped at or below
    /// it after that, apart from what is given back after a lost tail. Zero from a sender that does
    /// not state it.
    pub admission_floor: Hlc,
}

/// How a range relates to what is held of its origin's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is the next one.
    Next,
    /// All of it is held.
    Covered {
        /// Where the next range begins.
        next: Sequence,
    },
    /// It does not begin where the next range begins.
    Elsewhere {
        /// Where the next range begins.
        next: Sequence,
    },
    /// It begins there, but after another message than the one that is held: one of the two is of a
    /// tail that the origin's log lost.
    OtherHistory,
    /// It is of a life that has ended.
    OlderLife,
    /// Its lineage does not include the life that is held, and does not show that the log was
    /// recreated.
    UnknownLineage,
}

impl Range {
    /// How it relates to `cursor`, the position through which its origin's log is held; none if
    /// nothing is held.
    ///
    /// The next range begins after the last sequence that is shared with the origin's current life:
    /// the least of the cursor and every fork since the cursor's life (design.md section 5). A log
    /// may lose a tail that nobody there had read and assign the same sequences again without a new
    /// life; only the message before the range shows this. A log that was recreated begins again
    /// ([`Lineage::resumes_after`]).
    #[must_use]
    pub fn standing(&self, cursor: Option<Cursor>) -> Standing {
        let number = self.lineage.current().map_or(0, |life| life.number);
        let shared = match cursor {
            None => Some(Sequence::NONE),
            Some(cursor) if number < cursor.position.life.number => return Standing::OlderLife,
            Some(cursor) => self.lineage.resumes_after(cursor.position),
        };
        let Some(shared) = shared else {
            return Standing::UnknownLineage;
        };
        let next = shared.next();
        let after = cursor.filter(|cursor| cursor.position.sequence == shared);
        if self.through.sequence <= shared {
            Standing::Covered { next }
        } else if self.first != next {
            Standing::Elsewhere { next }
        } else if after.is_some_and(|cursor| cursor.message_id != self.previous)
            && !planted::is(Planted::PreviousIgnored)
        {
            Standing::OtherHistory
        } else {
            Standing::Next
        }
    }

    /// The cursor at the end of this range; none if its lineage is empty.
    #[must_use]
    pub fn end(&self) -> Option<Cursor> {
        self.lineage.current().map(|life| Cursor {
            position: Position {
                life,
                sequence: self.through.sequence,
            },
            message_id: self.through.message_id,
        })
    }

    pub(super) fn write(&self, wire: &mut wire::Header) {
        self.origin.as_str().clone_into(&mut wire.origin);
        wire.lineage = self.lineage.to_wire();
        wire.previous_id = self.previous.0;
        wire.first = self.first.0;
        wire.through = self.through.sequence.0;
        wire.highest_stamp = self.highest_stamp.bits();
        wire.admission_floor = self.admission_floor.bits();
    }

    pub(super) fn read(wire: &wire::Header) -> Result<Self, HeaderError> {
        if wire.first == 0 || wire.first > wire.through {
            return Err(HeaderError::Malformed("an empty span of sequences"));
        }
        Ok(Self {
            origin: super::region(&wire.origin)?,
            lineage: Lineage::from_wire(&wire.lineage)?,
            previous: MessageId(wire.previous_id),
            first: Sequence(wire.first),
            through: Anchor {
                sequence: Sequence(wire.through),
                message_id: MessageId(wire.message_id),
            },
            highest_stamp: Hlc::from_bits(wire.highest_stamp),
            admission_floor: Hlc::from_bits(wire.admission_floor),
        })
    }
}
