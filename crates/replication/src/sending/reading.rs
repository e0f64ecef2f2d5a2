//! The lane's reader of the log: which run is current, its position, and what it has read.

use super::outbox::End;
use super::records::Records;
use super::state::ReaderOrder;
use crate::coordinates::{Anchor, Cursor, Sequence};
use crate::fold::{Fold, Gone, Message, Verdict};
use crate::header::{Header, Lineage};
use crate::planted::{self, Planted};
use crate::time::{Mono, Now};

/// The reader of a lane, with its own fold.
///
/// Invariants: a message counts only if it belongs to the last requested run. While a run is
/// requested or reading, `start` is set; its fold is at the last message that it read. The records
/// belong to this run.
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
    /// Another reader is requested at this time.
    Failed(Mono),
}

/// Where the lane starts.
#[derive(Debug, Clone, Copy)]
struct Start {
    /// The last sequence that the peer has and the log still shares.
    shared: Sequence,
    /// The message that the log must have there; none if the peer's cursor is past a fork.
    check: Option<Cursor>,
}

impl Start {
    fn new(shared: Sequence, cursor: Option<Cursor>) -> Self {
        let check = cursor.filter(|cursor| cursor.position.sequence == shared);
        Self { shared, check }
    }
}

/// The position through which the peer has the log, and the log's message there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared {
    /// The log's message.
    pub(super) found: Anchor,
    /// The peer's cursor, if it is at that position.
    pub(super) checked: Option<Cursor>,
}

impl Shared {
    /// The peer's cursor if the log has another message there.
    pub(super) fn differs(&self) -> Option<Cursor> {
        let differs = |cursor: &Cursor| cursor.message_id != self.found.message_id;
        self.checked
            .filter(|cursor| differs(cursor) && !planted::is(Planted::PreviousIgnored))
    }
}

/// The position of a moved cursor relative to what was read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// It adds no information.
    Unchanged,
    /// The reader has not reached it yet: ranges begin after it.
    Ahead,
    /// The message there is no longer known: the log must be read again.
    Forgotten,
    /// The message there is known.
    Known(Shared),
}

impl Reading {
    /// Requests a reader that starts at or before `shared`. If `cursor` is at `shared`, the log
    /// must have its message.
    pub(super) fn start(&mut self, shared: Sequence, cursor: Option<Cursor>) {
        self.start = Some(Start::new(shared, cursor));
        self.run += 1;
        self.reader = Reader::Asked;
        self.order = Some(ReaderOrder::Start {
            run: self.run,
            at_most: shared,
        });
    }

    /// Drops the reader and everything that it has read.
    pub(super) fn clear(&mut self) {
        let reads = !matches!(self.reader, Reader::None);
        self.order = (reads || self.order.is_some()).then_some(ReaderOrder::Stop);
        self.reader = Reader::None;
        self.start = None;
        self.records.clear();
    }

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

    /// The highest sequence at which the reader of `run` may start, if it is requested and has not
    /// started yet.
    pub(super) fn awaited(&self, run: u64) -> Option<Sequence> {
        let is_awaited = run == self.run && matches!(self.reader, Reader::Asked);
        self.start.filter(|_| is_awaited).map(|start| start.shared)
    }

    /// The requested reader starts after `fold`.
    pub(super) fn run_from(&mut self, fold: Fold) {
        self.reader = Reader::Running(Box::new(fold));
    }

    /// Whether the reader of `run` is requested, reading or failed.
    pub(super) fn is_current(&self, run: u64) -> bool {
        run == self.run && !matches!(self.reader, Reader::None)
    }

    /// Folds a message of the reader of `run`; none if that run is not reading.
    pub(super) fn apply(&mut self, run: u64, message: Message<'_>) -> Option<Result<Verdict, Gone>> {
        match &mut self.reader {
            Reader::Running(fold) if run == self.run => Some(fold.apply(message)),
            _ => None,
        }
    }

    /// The last folded message carries an own stamp. Returns the end that it makes for a range, or
    /// none if the peer has it.
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
            admission_floor: fold.own_floor(),
            stages,
        })
    }

    /// A range that ends at `end` was sent.
    pub(super) fn add_sent(&mut self, end: Anchor) {
        self.records.add_sent(end);
    }

    /// The start of the lane, if the reader is there. Its cursor is returned only once.
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

    /// The peer's cursor moved to `cursor`; the log shares everything through `shared` with it.
    /// Records through `shared` are forgotten.
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

    /// The message at which the reader is, if it reads.
    pub(super) fn at(&self) -> Option<Anchor> {
        match &self.reader {
            Reader::Running(fold) => Some(fold.at()),
            _ => None,
        }
    }

    /// The lives of the log up to the reader's position.
    pub(super) fn lineage(&self) -> Option<&Lineage> {
        match &self.reader {
            Reader::Running(fold) => Some(fold.lineage()),
            _ => None,
        }
    }

    /// The last sequence that the peer has and the log still shares.
    pub(super) fn shared(&self) -> Sequence {
        self.start.map_or(Sequence::NONE, |start| start.shared)
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.reader, Reader::Running(_))
    }

    /// Whether it reads and has not yet reached the peer's cursor.
    pub(super) fn is_catching_up(&self) -> bool {
        self.at().is_some_and(|at| at.sequence < self.shared())
    }

    /// When a failed reader is requested again.
    pub(super) fn retry_at(&self) -> Option<Mono> {
        match self.reader {
            Reader::Failed(at) => Some(at),
            _ => None,
        }
    }
}
