//! What the shell does for the follow machine, and what it reports back.

use super::event::{Event, LifeSuspected};
use crate::coordinates::{Anchor, Sequence};
use crate::fold::Fold;

/// What the shell does next.
#[derive(Debug)]
pub enum Step {
    /// Closes the reader.
    CloseReader,
    /// Replaces the fold with an earlier state. The store keeps what was applied.
    Rewind {
        /// The state.
        fold: Box<Fold>,
        /// Everything that the shell knows about the log above this sequence is no longer valid.
        through: Sequence,
    },
    /// Opens a reader that continues after the fold's position.
    OpenReader,
    /// Forgets the digests that were recorded for positions: stores may differ for a while.
    ForgetDigests,
    /// Reports an event.
    Emit(Event),
}

/// When the machine has something to do, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// An unreadable log is read again ([`super::Follow::handle_timeout`]).
    OpenReader,
    /// The log is asked ([`super::Follow::poll_query`]).
    Query,
    /// A life record is appended ([`super::Follow::handle_timeout`]).
    Life,
    /// A restored record is appended ([`super::Follow::poll_record`]).
    GiveBack,
}

/// How a message relates to what the store already held when the message was folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The store holds effects of later messages.
    pub is_below: bool,
    /// The store may hold the effects of this message.
    pub is_known: bool,
    /// The store has never held effects of this sequence or a later one, in any life.
    pub is_first: bool,
}

/// The checkpoint, or this run before it read the log again, applied another message at this
/// sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointDiffers {
    /// That message.
    pub known: Anchor,
}

/// Why the reader ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReaderEnd {
    /// It was stopped from outside.
    Stopped,
    /// The log is not what was read before.
    Suspected(LifeSuspected),
    /// The log was trimmed past the next message. The text says where.
    Gone(String),
    /// The next message needs a newer version.
    Newer {
        /// "kind" or "codec".
        what: &'static str,
        /// Its number.
        number: u32,
    },
    /// The log can't be read. The text says why.
    Unreadable(String),
}
