//! What a sending lane has for its shell and its operator.

use crate::coordinates::{Anchor, Cursor, Sequence};
use crate::link::lane::Hold;

/// What a sending lane waits for. Of two that are due at one time, the first here is handled first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// A range that is not full waits for no more: [`super::Sending::poll_transmit`] has it. If the
    /// link is full, it is closed.
    Flush,
    /// A range that could leave has not: what is held is conflated from now on.
    Behind,
    /// A reader that could not be started is asked for again.
    Retry,
    /// The reader must have come to the peer's cursor; else a lost tail is suspected.
    CursorAhead,
    /// The peer's cursor must have moved; else [`LaneEvent::NoProgress`].
    Progress,
}

/// What the shell must do about the lane's reader. Each replaces the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReaderOrder {
    /// Start reading: from the newest mark that describes a position at or below `at_most`, or from
    /// the log's first message if there is no such mark and the log still begins with sequence 1;
    /// else report [`ReaderFailure::Trimmed`]. What is read belongs to `run`.
    Start {
        /// Names this reader in all that is reported of it.
        run: u64,
        /// The reader's fold may stand here, or before.
        at_most: Sequence,
    },
    /// Stop reading.
    Stop,
}

/// Why a reader has ended or could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReaderFailure {
    /// What would have to be read is not in the log any more.
    #[error("the log begins at {first}, after what the peer needs")]
    Trimmed {
        /// The log's first sequence.
        first: Sequence,
    },
    /// The log is not what was read of it: it has lost its tail.
    #[error("the log has lost its tail")]
    TailLost,
    /// The log can't be read for the moment.
    #[error("the log can't be read for the moment")]
    Unavailable,
}

/// Why a lane needs a sync, which this version can't do: the peer stays behind until somebody acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SyncReason {
    /// The peer's cursor is of a life that the log does not know.
    #[error("the peer has the log through {} of life {}, which the log does not know", .0.position.sequence, .0.position.life)]
    UnknownLife(Cursor),
    /// The log has been trimmed past the peer's cursor.
    #[error("the peer has the log through {cursor}, and the log begins at {first}")]
    Trimmed {
        /// Through where the peer has the log.
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
    /// The log is not what the peer has of it; the lane goes on with the log's next life.
    LifeSuspected,
    /// The log has a record of a later version.
    UpgradeNeeded {
        /// "kind" or "codec".
        what: &'static str,
        /// Its number.
        number: u32,
    },
}

/// Where a sending lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneState {
    /// No link, or the peer does not take this lane.
    Idle,
    /// The own log's lives are not known yet: [`super::Sending::handle_head`].
    Waiting,
    /// Reading up to the peer's cursor.
    Reading,
    /// Sending.
    Streaming,
    /// Sending nothing.
    Stalled(Stall),
}

/// What the shell must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneEvent {
    /// There is work and the peer's cursor has not moved for [`crate::limits::LANE_PROGRESS`]:
    /// connect again, and count it.
    NoProgress,
    /// The log is not what the peer has of it: its agents must look for a lost tail and start a new
    /// life.
    LifeSuspected {
        /// What the peer has.
        cursor: Cursor,
        /// What the log has there, or its last message if it ends before.
        found: Anchor,
    },
    /// The lane entered [`Stall::NeedsSync`].
    NeedsSync(SyncReason),
    /// The log has a record of a later version: the lane stops.
    UpgradeNeeded {
        /// "kind" or "codec".
        what: &'static str,
        /// Its number.
        number: u32,
    },
    /// A stored body is not what its header promised; its changes are not sent, as they are not
    /// applied here.
    BrokenSeal(Anchor),
}
