//! The parts of a link's frames that belong to one lane: one shard of the dialer's log on its way
//! to the acceptor's.

use bytes::Bytes;

use super::check::{self, InvalidFrame};
use super::wire;
use crate::coordinates::{AppliedThrough, Cursor, Life, Position, Sequence, Shard};

/// A shard that the dialer can send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneOffer {
    /// The shard.
    pub shard: Shard,
    /// The current life of the dialer's log; none before its first.
    pub life: Option<Life>,
}

/// The receiver's report on a lane. In a Welcome and in a Reset it is the lane's start, in an Ack
/// its progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneReport {
    /// The shard.
    pub shard: Shard,
    /// Ranges of another generation do not belong to this lane; each Reset raises it by at least
    /// one.
    pub generation: u64,
    /// The current life of the receiver's own log; none before its first.
    pub life: Option<Life>,
    /// The receiver's log has accepted the dialer's log through this cursor, by its fold; none
    /// before the first range.
    pub cursor: Option<Cursor>,
    /// Every live agent of the receiving region has applied the dialer's log through this position.
    pub applied: Option<AppliedThrough>,
    /// Bytes of ranges ([`RangeFrame::cost`]) that may be under way above the cursor.
    pub window: u32,
    /// Why nothing is appended for now.
    pub hold: Option<Hold>,
    /// A gap replaces a range at or below the cursor: its changes are missing until a sync.
    pub needs_sync: bool,
}

/// Why a receiver appends nothing on a lane. Numbers are never reused; an unknown number decodes as
/// [`Hold::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Hold {
    /// Stamps are further ahead of the receiver's NATS time than the set's `max_offset`.
    #[error(
        "the origin's clock is ahead of the receiver's by more than max_offset: compare both regions' clocks"
    )]
    Clock,
    /// The receiver's cursor is not in the origin's lineage.
    #[error("the receiver's cursor is of a life that the origin's log does not know: a sync is needed")]
    UnknownLineage,
    /// The ranges are of a life that ended.
    #[error(
        "the ranges are of a life of the origin's log that ended: the origin has lost records, restore its log"
    )]
    OlderLife,
    /// The receiver's log does not answer appends.
    #[error("the receiver's log does not answer appends: check its NATS")]
    LogNotWritable,
    /// The receiver's log is full.
    #[error("the receiver's log is full: raise log.max_bytes or start its agents again")]
    LogFull,
    /// The receiver's log has a record that the receiver does not know.
    #[error("the receiver's log has a record of a later version: upgrade its gateways")]
    UpgradeNeeded,
    /// The receiver has not read its own log to its end yet.
    #[error("the receiver is reading its own log")]
    Starting,
    /// A reason of a later version.
    #[error("reason {0} of a later version")]
    Other(u32),
}

impl Hold {
    const fn number(self) -> u32 {
        match self {
            Self::Clock => 1,
            Self::UnknownLineage => 2,
            Self::OlderLife => 3,
            Self::LogNotWritable => 4,
            Self::LogFull => 5,
            Self::UpgradeNeeded => 6,
            Self::Starting => 7,
            Self::Other(number) => number,
        }
    }

    const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => return None,
            1 => Self::Clock,
            2 => Self::UnknownLineage,
            3 => Self::OlderLife,
            4 => Self::LogNotWritable,
            5 => Self::LogFull,
            6 => Self::UpgradeNeeded,
            7 => Self::Starting,
            number => Self::Other(number),
        })
    }
}

/// A range of the dialer's log on a lane: the header and the body to append, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeFrame {
    /// The shard.
    pub shard: Shard,
    /// The generation of the lane.
    pub generation: u64,
    /// An encoded [`crate::header::Header`] of kind range; checked by the receiving machine, not by
    /// the codec.
    pub header: Bytes,
    /// The concatenated bodies of the accepted records in the range. A slice of its frame.
    pub body: Bytes,
}

impl RangeFrame {
    /// The bytes that the range takes of the lane's window: header and body.
    #[must_use]
    pub fn cost(&self) -> u64 {
        (self.header.len() + self.body.len()) as u64
    }

    pub(super) fn to_wire(&self) -> wire::Range {
        wire::Range {
            shard: Some(check::shard_to_wire(&self.shard)),
            generation: self.generation,
            header: self.header.clone(),
            body: self.body.clone(),
        }
    }

    pub(super) fn from_wire(wire: wire::Range) -> Result<Self, InvalidFrame> {
        Ok(Self {
            shard: check::shard(wire.shard)?,
            generation: wire.generation,
            header: wire.header,
            body: wire.body,
        })
    }
}

impl LaneOffer {
    pub(super) fn to_wire(&self) -> wire::LaneOffer {
        wire::LaneOffer {
            shard: Some(check::shard_to_wire(&self.shard)),
            life: self.life.map(Into::into),
        }
    }

    pub(super) fn from_wire(wire: wire::LaneOffer) -> Result<Self, InvalidFrame> {
        Ok(Self {
            shard: check::shard(wire.shard)?,
            life: wire.life.map(Into::into),
        })
    }
}

impl LaneReport {
    pub(super) fn to_wire(&self) -> wire::LaneReport {
        wire::LaneReport {
            shard: Some(check::shard_to_wire(&self.shard)),
            generation: self.generation,
            life: self.life.map(Into::into),
            cursor: self.cursor.map(Into::into),
            applied_life: self.applied.map(|applied| applied.0.life.into()),
            applied: self.applied.map_or(0, |applied| applied.0.sequence.0),
            window: self.window,
            hold: self.hold.map_or(0, Hold::number),
            needs_sync: self.needs_sync,
        }
    }

    pub(super) fn from_wire(wire: wire::LaneReport) -> Result<Self, InvalidFrame> {
        let applied = wire.applied_life.map(|life| {
            AppliedThrough(Position {
                life: life.into(),
                sequence: Sequence(wire.applied),
            })
        });
        let cursor = wire.cursor.map(Cursor::try_from).transpose();
        Ok(Self {
            shard: check::shard(wire.shard)?,
            generation: wire.generation,
            life: wire.life.map(Into::into),
            cursor: cursor.map_err(|_| InvalidFrame::Field("cursor"))?,
            applied,
            window: wire.window,
            hold: Hold::from_number(wire.hold),
            needs_sync: wire.needs_sync,
        })
    }
}
