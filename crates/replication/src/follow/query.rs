//! What the follow machine asks the log.

use crate::coordinates::{MessageId, Sequence};
use crate::fold::Fold;
use crate::time::Mono;

/// A question to the log. The shell repeats it until the log answers. A newer query replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogQuery {
    /// Identifies the query, so that the answer to an earlier one is ignored.
    pub number: u64,
    /// The question.
    pub question: Question,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Where does the log end? [`LogAnswer::End`].
    End,
    /// Which message is stored at this sequence? [`LogAnswer::Stored`].
    At(Sequence),
    /// Which is the newest valid mark that describes this sequence or an earlier one?
    /// [`LogAnswer::Mark`].
    MarkThrough(Sequence),
}

/// The log's answer.
#[derive(Debug)]
pub enum LogAnswer {
    /// Its last sequence.
    End(Sequence),
    /// What is stored at the sequence.
    Stored(StoredAt),
    /// The mark, if there is one.
    Mark {
        /// The fold's state in the mark.
        state: Option<Box<Fold>>,
        /// The first sequence that the log keeps.
        first: Sequence,
    },
}

/// What a log holds at a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredAt {
    /// This message.
    Message(MessageId),
    /// Nothing, because the log ends before it.
    Nothing,
    /// Nothing any more, because the log was trimmed past it.
    Trimmed,
}

/// A query that waits for its time or its answer.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) query: LogQuery,
    from: Mono,
    is_sent: bool,
}

impl Pending {
    /// To be asked at `from` or later.
    pub(super) fn new(query: LogQuery, from: Mono) -> Self {
        Self {
            query,
            from,
            is_sent: false,
        }
    }

    /// Returns the query once, when its time has come.
    pub(super) fn poll(&mut self, now: Mono) -> Option<LogQuery> {
        let is_due = !self.is_sent && now >= self.from;
        self.is_sent |= is_due;
        is_due.then_some(self.query)
    }

    pub(super) fn ask_again(&mut self) {
        self.is_sent = false;
    }

    pub(super) fn is_sent(&self) -> bool {
        self.is_sent
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        (!self.is_sent).then_some(self.from)
    }
}
