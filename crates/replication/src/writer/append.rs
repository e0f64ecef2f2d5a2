//! What a writer sends to the log, and the events that its process handles.

use bytes::Bytes;

use crate::coordinates::{Anchor, MessageId, Sequence};
use crate::fold::{SubjectToken, Void};
use crate::header::Header;

/// A message to append.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    /// Its identifier; the answer refers to it.
    pub message_id: MessageId,
    /// The last token of its subject.
    pub token: SubjectToken,
    /// Its header; the same at every send.
    pub header: Header,
    /// Its body; the same bytes at every send.
    pub body: Bytes,
    /// Which send this is, from 1.
    pub sending: u32,
}

/// Why a publish failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishError {
    /// No answer, or one that leaves open whether the message was stored.
    Unanswered,
    /// The stream is full; the message was not stored.
    Full,
    /// The server refused it for another reason; the message was not stored.
    Refused,
}

/// A state change of the writer that its process acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The barrier was read back: writes are taken from now on.
    Ready,
    /// The barrier was void; another follows.
    BarrierVoid(Void),
    /// Appends are unanswered: writes are refused.
    NotWritable,
    /// An append was answered: writes are taken.
    Writable,
    /// The log acknowledged a message at a sequence where another message was read: it lost its
    /// tail.
    LifeSuspected {
        /// The acknowledged message.
        acknowledged: Anchor,
        /// The log had been read through this sequence.
        read: Sequence,
    },
}

/// What a writer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// A client's deadline.
    Client,
    /// The answer to an append.
    Answer,
    /// The next send of a message.
    Retry,
    /// The next probe of a log that is not writable.
    Probe,
    /// More writes for the next message.
    GroupCommit,
}
