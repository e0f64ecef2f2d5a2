//! What a writer asks of the log, and what its process has to know.

use bytes::Bytes;

use crate::coordinates::{Anchor, MessageId, Sequence};
use crate::fold::{SubjectToken, Void};
use crate::header::Header;

/// A message to append.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    /// Its identifier, by which the answer is reported.
    pub message_id: MessageId,
    /// The last token of its subject.
    pub token: SubjectToken,
    /// Its header; the same at every sending.
    pub header: Header,
    /// Its body; the same bytes at every sending.
    pub body: Bytes,
    /// Which sending this is, from 1.
    pub sending: u32,
}

/// Why a publish did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishError {
    /// No answer, or one that leaves open whether the message was stored.
    Unanswered,
    /// The stream is full; the message was not stored.
    Full,
    /// The server said no for another reason; the message was not stored.
    Refused,
}

/// What a process does about its writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The barrier was read back: writes are taken from here on.
    Ready,
    /// The barrier was void; another follows.
    BarrierVoid(Void),
    /// Appends are unanswered: writes are refused.
    NotWritable,
    /// An append was answered: writes are taken.
    Writable,
    /// The log acknowledged a message at a sequence that was read with another message in it: a
    /// tail was lost.
    LifeSuspected {
        /// What was acknowledged.
        acknowledged: Anchor,
        /// Through where the log had been read.
        read: Sequence,
    },
}

/// What a writer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// A client's deadline.
    Client,
    /// An append's answer.
    Answer,
    /// The next sending of a message.
    Retry,
    /// The next probe of a log that is not writable.
    Probe,
    /// More writes for the next message.
    GroupCommit,
}
