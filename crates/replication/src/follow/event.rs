//! What the follow machine reports to operators.

use super::phase::Phase;
use crate::coordinates::{Anchor, Life, MessageId, Sequence};
use crate::header::LifeLink;
use crate::names::RegionName;

/// Something that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The phase changed.
    Phase(Phase),
    /// The log may have lost its tail.
    LifeSuspected(LifeSuspected),
    /// The log ends before the position that the checkpoint was written at.
    EndsBefore {
        /// Where it ends.
        last: Sequence,
        /// The position that was read before.
        known: Sequence,
    },
    /// The log's first life began.
    FirstLife(Life),
    /// While catching up, a life record was read.
    EarlierLife(LifeLink),
    /// A life began because the log had lost its tail.
    NewLife(LifeLink),
    /// The log is read again from an earlier position.
    ReadsAgain {
        /// The last position before the lost tail; none if the reason is an unknown life.
        fork: Option<Sequence>,
        /// The position of the fold that reading continues from.
        from: Sequence,
    },
    /// Cells that only the lost tail held are appended again.
    GivesBack {
        /// Cells.
        cells: usize,
        /// Records.
        records: usize,
    },
    /// A peer region holds messages that the log has lost.
    TailHeldByPeer {
        /// The region.
        peer: RegionName,
        /// The last position that it has.
        through: Sequence,
        /// The last position that both have; none if the log kept no such position.
        fork: Option<Sequence>,
    },
    /// A peer region knows a life of this log that the log has no record of.
    LogRecreated {
        /// The region.
        peer: RegionName,
        /// The life.
        life: Life,
        /// Only other regions have what the log held before.
        lost_before: bool,
    },
    /// A peer region reported lives that can't be lives of this log.
    ImplausibleDoubt {
        /// The region.
        peer: RegionName,
        /// The life.
        life: Life,
    },
}

/// The log holds another message than the one that was read, or ends before it: it lost its tail
/// (design.md section 5, lives).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log differs from what was read: at {} it has {found:?} instead of {}, and ends at {last}", anchor.sequence, anchor.message_id)]
pub struct LifeSuspected {
    /// The last message that was read.
    pub anchor: Anchor,
    /// The message that the log holds there; none if it ends before.
    pub found: Option<MessageId>,
    /// The last message of the log.
    pub last: Sequence,
}
