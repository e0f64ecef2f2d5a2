//! The lane's reader of the log: which one runs, where it stands, and what it has read.

use super::outbox::End;
use super::records::Records;
use super::state::ReaderOrder;
use crate::coordinates::{Anchor, Cursor, Sequence};
use crate::fold::{Fold, Gone, Message, Verdict};
use crate::header::{Header, Lineage};
use crate::planted::{self, Planted};
use crate::time::{Mono, Now};

/// The reader of a lane, with a fold of its own.
///
/// Invariants: a message counts only if it is of the run that was asked for last. While a run is
/// asked for or reads, it is known where the lane begins; its fold stands at the last message that
/// it gave. The records are of this run.
#[derive(Debug, Default)]
pub(super) struct Reading {
    run: u64,
    reader: Reader,
    order: Option<ReaderOrder>,
    start: Option<Start>,
    records: Records,
}

#[derive(Debug, Default)]
enum Reader {
    #[default]
    None,
    Asked,
    Running(Box<Fold>),
    /// Another is asked for at this time.
    Failed(Mono),
}

/// Where the lane begins.
#[derive(Debug, Clone, Copy)]
struct Start {
    /// The last sequence that the peer has and that is still the log's.
    shared: Sequence,
    /// What the log's message there must be; none if the peer's cursor is past a fork.
    check: Option<Cursor>,
}

impl Start {
    fn new(shared: Sequence, cursor: Option<Cursor>) -> Self {
        let check = cursor.filter(|cursor| cursor.position.sequence == shared);
        Self { shared, check }
    }
}

/// The position through which the peer has the log, and what the log has there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared {
    /// The log's message.
    pub(super) found: Anchor,
    /// The peer's cursor, if it is at that position.
    pub(super) checked: Option<Cursor>,
}

impl Shared {
    /// The peer's cursor if it names another message than the log has.
    pub(super) fn differs(&self) -> Option<Cursor> {
        let differs = |cursor: &Cursor| cursor.message_id != self.found.message_id;
        self.checked
            .filter(|cursor| differs(cursor) && !planted::is(Planted::PreviousIgnored))
    }
}

/// Where a cursor that moved is among what was read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// It says nothing new.
    Unchanged,
    /// The reader has yet to come there: ranges begin after it.
    Ahead,
    /// The message there is not known any more: the log has to be read again.
    Forgotten,
    /// The message there is known.
    Known(Shared),
}

impl Reading {
    /// Asks for a reader of what follows `shared`. If `cursor` is at `shared`, the log must have
    /// its message.
    pub(super) fn start(&mut self, shared: Sequence, cursor: Option<Cursor>) {
        self.start = Some(Start::new(shared, cursor));
        self.run += 1;
        self.reader = Reader::Asked;
        self.order = Some(ReaderOrder::Start {
            run: self.run,
            at_most: shared,
        });
    }

    /// Drops the reader and all that it has read.
    pub(super) fn clear(&mut self) {
        let reads = !matches!(self.reader, Reader::None);
        self.order = (reads || self.order.is_some()).then_some(ReaderOrder::Stop);
        self.reader = Reader::None;
        self.start = None;
        self.records.clear();
    }

    /// Stops the reader.
    pub(super) fn stop(&mut self) {
        self.order = Some(ReaderOrder::Stop);
        self.reader = Reader::None;
    }

    /// Stops the reader; another is due at `retry_at`.
    pub(super) fn stop_until(&mut self, retry_at: Mono) {
        self.order = Some(ReaderOrder::Stop);
        self.reader = Reader::Failed(retry_at);
    }

    pub(super) fn poll_order(&mut self) -> Option<ReaderOrder> {
        self.order.take()
    }

    /// Where the reader of `run`, which was asked for and has not started yet, must start at most.
    pub(super) fn awaited(&self, run: u64) -> Option<Sequence> {
        let is_awaited = run == self.run && matches!(self.reader, Reader::Asked);
        self.start.filter(|_| is_awaited).map(|start| start.shared)
    }

    /// The reader that was asked for begins after `fold`.
    pub(super) fn run_from(&mut self, fold: Fold) {
        self.reader = Reader::Running(Box::new(fold));
    }

    /// Whether the reader of `run` is asked for, reads or has failed.
    pub(super) fn is_current(&self, run: u64) -> bool {
        run == self.run && !matches!(self.reader, Reader::None)
    }

    /// Folds a message of the reader of `run`; none if that does not read.
    pub(super) fn apply(&mut self, run: u64, message: Message<'_>) -> Option<Result<Verdict, Gone>> {
        match &mut self.reader {
            Reader::Running(fold) if run == self.run => Some(fold.apply(message)),
            _ => None,
        }
    }

    /// The message that was folded last carries an own stamp: the end that it makes for a range,
    /// and none if the peer has it.
    pub(super) fn add_record(&mut self, now: Now, header: &Header) -> Option<End> {
        let (Reader::Running(fold), Some(start)) = (&self.reader, self.start) else {
            return None;
        };
        let through = fold.at();
        if through.sequence <= start.shared {
            return None;
        }
        self.records.add_read(through);
        let mut stages = header.stages;
        stages.appended = fold.own_appended().micros();
        stages.oldest_appended = stages.appended;
        stages.read = now.wall.micros();
        Some(End {
            through,
            highest_stamp: fold.highest_stamp(),
            stages,
        })
    }

    /// A range that ends at `end` was sent.
    pub(super) fn add_sent(&mut self, end: Anchor) {
        self.records.add_sent(end);
    }

    /// The position where the lane begins, if the reader stands there. Its cursor is given once.
    pub(super) fn take_start(&mut self) -> Option<Shared> {
        let (Reader::Running(fold), Some(start)) = (&self.reader, &mut self.start) else {
            return None;
        };
        let found = fold.at();
        (found.sequence == start.shared).then(|| Shared {
            found,
            checked: start.check.take(),
        })
    }

    /// The peer's cursor moved to `cursor`, with which the log shares everything through `shared`.
    /// What was read through there is forgotten.
    pub(super) fn move_cursor(&mut self, cursor: Cursor, shared: Sequence) -> Place {
        let read_through = self.at().map_or(Sequence::NONE, |at| at.sequence);
        let Some(start) = &mut self.start else {
            return Place::Unchanged;
        };
        let new = Start::new(shared, Some(cursor));
        if shared > read_through {
            if shared < start.shared {
                return Place::Unchanged;
            }
            *start = new;
            return Place::Ahead;
        }
        let says_nothing = new.check.is_none() && shared <= start.shared;
        match self.records.find(shared) {
            None if says_nothing => Place::Unchanged,
            None => Place::Forgotten,
            Some(found) => {
                let checked = new.check;
                let known = Shared { found, checked };
                if known.differs().is_none() {
                    self.records.forget_through(shared);
                }
                Place::Known(known)
            }
        }
    }

    /// The message at which the reader stands, if it reads.
    pub(super) fn at(&self) -> Option<Anchor> {
        match &self.reader {
            Reader::Running(fold) => Some(fold.at()),
            _ => None,
        }
    }

    /// The lives of the log through where the reader stands.
    pub(super) fn lineage(&self) -> Option<&Lineage> {
        match &self.reader {
            Reader::Running(fold) => Some(fold.lineage()),
            _ => None,
        }
    }

    /// The last sequence that the peer has and that is still the log's.
    pub(super) fn shared(&self) -> Sequence {
        self.start.map_or(Sequence::NONE, |start| start.shared)
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.reader, Reader::Running(_))
    }

    /// Whether it reads and has yet to come to what the peer has.
    pub(super) fn is_catching_up(&self) -> bool {
        self.at().is_some_and(|at| at.sequence < self.shared())
    }

    /// When a reader that failed is asked for again.
    pub(super) fn retry_at(&self) -> Option<Mono> {
        match self.reader {
            Reader::Failed(at) => Some(at),
            _ => None,
        }
    }
}
