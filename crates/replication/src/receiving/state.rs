//! What a receiving lane waits for, wants appended and has for its shell.

use bytes::Bytes;

use super::AppendId;
use crate::aside::Entry;
use crate::coordinates::Sequence;
use crate::fold::SubjectToken;
use crate::header::{Codec, Header};
use crate::link::lane::Hold;

/// What a receiving lane waits for. Both mean that [`super::Receiving::poll_append`] may have
/// something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// A range is to be appended, for the first time or again.
    Append,
    /// Held stamps are looked at again.
    Clock,
}

/// A range that was taken from the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The last message of the origin's log that it stands for.
    pub through: Sequence,
    /// How its body stands for the changes.
    pub codec: Codec,
}

/// A message to append to the own log. The same range gives the same message each time.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    /// Names this append in what is reported of it.
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
    /// Larger than the region's NATS takes: a gap stands for it from now on.
    TooLarge,
}

/// What the shell must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceivingEvent {
    /// A gap stands for a range; its changes are missing here until a sync. To be set aside before
    /// the gap is appended.
    Undecodable(Box<Entry>),
    /// The lane began again at the cursor.
    Reset {
        /// The new generation.
        generation: u64,
        /// Why.
        reason: ResetReason,
    },
    /// The lane is held, or held no longer.
    Held(Option<Hold>),
}

/// Why a lane begins again.
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
