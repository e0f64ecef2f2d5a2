//! The deadlines, reader orders, states and events of a sending lane.

use crate::coordinates::{Anchor, Cursor, Sequence};
use crate::link::lane::Hold;

/// The deadlines of a sending lane. Of two that are due at the same time, the first in this order
/// is handled first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// A range that is not full stops waiting for more: [`super::Sending::poll_transmit`] returns
    /// it. If the link is full, it is closed.
    Flush,
    /// A range that could leave has not left: everything held is conflated from now on.
    Behind,
    /// A reader that could not be started is requested again.
    Retry,
    /// The reader must have reached the peer's cursor; otherwise a lost tail is suspected.
    CursorAhead,
    /// The peer's cursor must have moved; otherwise [`LaneEvent::NoProgress`].
    Progress,
}

/// An order of the lane to the shell about its reader. Each replaces the previous one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReaderOrder {
    /// Start reading: from the newest mark that describes a position at or below `at_most`, or from
    /// the log's first message if there is no such mark and the log still begins with sequence 1.
    /// Otherwise report [`ReaderFailure::Trimmed`]. Everything read belongs to `run`.
    Start {
        /// Identifies this reader in its reports.
        run: u64,
        /// The reader's fold must be at or before this sequence.
        at_most: Sequence,
    },
    /// Stop reading.
    Stop,
}

/// Why a reader ended or could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReaderFailure {
    /// The log no longer has the messages that are needed.
    #[error("the log begins at {first}, after what the peer needs")]
    Trimmed {
        /// The log's first sequence.
        first: Sequence,
    },
    /// The log differs from what was read of it: it has lost its tail.
    #[error("the log has lost its tail")]
    TailLost,
    /// The log can't be read for now.
    #[error("the log can't be read for the moment")]
    Unavailable,
}

/// Why a lane needs a sync: the peer takes what is missing from a store ([`crate::sync`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SyncReason {
    /// The peer's cursor is of a life that the log does not know.
    #[error("the peer has the log through {} of life {}, which the log does not know", .0.position.sequence, .0.position.life)]
    UnknownLife(Cursor),
    /// The log has been trimmed past the peer's cursor.
    #[error("the peer has the log through {cursor}, and the log begins at {first}")]
    Trimmed {
        /// The peer has the log through this sequence.
        cursor: Sequence,
        /// The log's first sequence, or the first that can be judged.
        first: Sequence,
    },
}

/// Why a lane sends nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stall {
    /// The link is paused by one of its ends.
    Paused,
    /// The receiver appends nothing.
    Held(Hold),
    /// The peer needs a sync.
    NeedsSync(SyncReason),
    /// The log has another message than the peer; the lane continues with the log's next life.
    LifeSuspected,
    /// The log has a record of a later version.
    UpgradeNeeded {
        /// "kind" or "codec".
        what: &'static str,
        /// The number.
        number: u32,
    },
}

/// The state of a sending lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneState {
    /// No link, or the peer does not take this lane.
    Idle,
    /// The lives of the own log are not known yet: [`super::Sending::handle_head`].
    Waiting,
    /// Reading up to the peer's cursor.
    Reading,
    /// Sending.
    Streaming,
    /// Sending nothing.
    Stalled(Stall),
}

/// An event that the shell must handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneEvent {
    /// There is work and the peer's cursor has not moved for [`crate::limits::LANE_PROGRESS`]:
    /// connect again, and count it.
    NoProgress,
    /// The log has another message than the peer. This region's agents must check for a lost tail
    /// and start a new life.
    LifeSuspected {
        /// The peer's cursor.
        cursor: Cursor,
        /// The log's message there, or its last message if it ends before.
        found: Anchor,
    },
    /// The lane entered [`Stall::NeedsSync`].
    NeedsSync(SyncReason),
    /// The log has a record of a later version: the lane stops.
    UpgradeNeeded {
        /// "kind" or "codec".
        what: &'static str,
        /// The number.
        number: u32,
    },
    /// The seal of a stored body is broken. Its changes are not sent; this region does not apply
    /// them either.
    BrokenSeal(Anchor),
}
