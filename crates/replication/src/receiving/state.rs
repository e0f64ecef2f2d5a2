//! The deadlines, appends and events of a receiving lane.

use bytes::Bytes;

use super::AppendId;
use crate::aside::Entry;
use crate::coordinates::Sequence;
use crate::fold::SubjectToken;
use crate::header::{Codec, Header};
use crate::link::lane::Hold;

/// The deadlines of a receiving lane. At both, [`super::Receiving::poll_append`] may return
/// something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// A range is to be appended, for the first time or again.
    Append,
    /// Held stamps are checked again.
    Clock,
}

/// A range that was taken from the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The last message of the origin's log that it covers.
    pub through: Sequence,
    /// How its body encodes the changes.
    pub codec: Codec,
}

/// A message to append to the own log. The same range results in the same message each time.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    /// Identifies this append in its reports.
    pub id: AppendId,
    /// The last token of the subject.
    pub token: SubjectToken,
    /// The header.
    pub header: Header,
    /// The body.
    pub body: Bytes,
}

/// Why an append has no sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendFailure {
    /// No answer: it may have been stored.
    Unanswered,
    /// The log is full.
    Full,
    /// Larger than the region's NATS accepts: a gap replaces it from now on.
    TooLarge,
}

/// An event that the shell must handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceivingEvent {
    /// A gap replaces a range; its changes are missing here until a sync. To be set aside before
    /// the gap is appended.
    Undecodable(Box<Entry>),
    /// The lane started again at the cursor.
    Reset {
        /// The new generation.
        generation: u64,
        /// The reason.
        reason: ResetReason,
    },
    /// The lane is held, or no longer held.
    Held(Option<Hold>),
}

/// Why a lane starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResetReason {
    /// The own log began another life.
    NewLife,
    /// A range did not follow the one before it.
    NotNext,
    /// A range was of a life that does not follow the cursor's.
    Refused,
    /// The own log's cursor is not where the held ranges begin.
    CursorMoved,
}
