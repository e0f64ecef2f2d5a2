//! A sending lane: one shard of this region's log on its way to one peer.
//!
//! Problem: a peer may be current, an hour behind, or rewound by a lost tail, and its cursor alone is the truth. Sketch: the
//! lane reads the log by itself, from a state at or before the peer's cursor, with a fold of its own; so catching up and
//! keeping up are one path. What the fold accepts of this region's own becomes ranges, which travel within the receiver's
//! credit, several at once. Whatever goes wrong (another connection, a reset, a new life at either end) has one mend:
//! drop what is held and begin again at the peer's cursor.
//!
//! Invariants: ranges leave in order and without holes within one generation; bytes under way never exceed the credit; a
//! range ends at a record with an own stamp. Failure cases: the cursor's message is not the log's (the log lost its tail:
//! said, and the lane waits for the next life); the cursor is trimmed away or of an unknown life (`needs sync`).
//!
//! The shell drives it: [`Sending::poll_reader`] says what to read; [`Sending::handle_message`] takes it while
//! [`Sending::wants_messages`]; [`Sending::poll_transmit`] gives ranges while the session is open. Reports come from the
//! session's Welcome, Ack and Reset. Of `now`, `wall` is this region's log clock.

use std::collections::VecDeque;

use crate::coordinates::{Anchor, AppliedThrough, Cursor, Life, Position, Sequence};
use crate::credit::Credit;
use crate::fold::{Fold, LogName};
use crate::header::{Header, Lineage, Range, Record};
use crate::limits;
use crate::link::lane::{Hold, LaneReport, RangeFrame};
use crate::planted::{self, Planted};
use crate::time::{Mono, Now, Wall};

pub(crate) mod conflation;
mod lag;
mod outbox;
mod reading;
mod records;
mod state;
#[cfg(test)]
mod tests;
mod timing;
mod view;

use lag::Unapplied;
pub use lag::{LagRecord, OriginLag};
use outbox::Outbox;
pub use outbox::Spared;
use records::Records;
pub use state::{Deadline, LaneEvent, LaneState, ReaderFailure, ReaderOrder, Stall, SyncReason};

/// Where the lane begins.
#[derive(Debug, Clone, Copy)]
struct Start {
    /// The last sequence that the peer has and that is still the log's.
    shared: Sequence,
    /// What the log's message there must be; none if the peer's cursor is past a fork.
    check: Option<Cursor>,
}

#[derive(Debug)]
enum Reader {
    None,
    Asked,
    Running(Box<Fold>),
    Failed(Mono),
}

/// What the receiver said last.
#[derive(Debug, Clone, Copy)]
struct Receiver {
    generation: u64,
    life: Option<Life>,
    hold: Option<Hold>,
    needs_sync: bool,
}

/// A sending lane.
#[derive(Debug)]
pub struct Sending {
    log: LogName,
    lineage: Lineage,
    receiver: Option<Receiver>,
    cursor: Option<Cursor>,
    /// The newest cursor of the peer whose message was found in the log.
    verified: Option<Cursor>,
    applied: Option<AppliedThrough>,
    paused: bool,
    /// The link takes no range for the moment.
    link_full: bool,
    start: Option<Start>,
    stall: Option<Stall>,
    run: u64,
    reader: Reader,
    order: Option<ReaderOrder>,
    records: Records,
    outbox: Outbox,
    credit: Credit,
    moved: Mono,
    unapplied: Unapplied,
    events: VecDeque<LaneEvent>,
}

impl Sending {
    /// The lane of `log`, this region's, to one peer; idle.
    #[must_use]
    pub fn new(log: LogName) -> Self {
        Self {
            lineage: Lineage::default(),
            receiver: None,
            cursor: None,
            verified: None,
            applied: None,
            paused: false,
            link_full: false,
            start: None,
            stall: None,
            run: 0,
            reader: Reader::None,
            order: None,
            records: Records::default(),
            outbox: Outbox::new(log.region.clone(), Sequence::NONE),
            credit: Credit::default(),
            moved: Mono::default(),
            unapplied: Unapplied::new(),
            events: VecDeque::new(),
            log,
        }
    }

    /// What is known of the lag from whoever sent before: the peer had applied all that was appended up to `since`, and nothing is
    /// known beyond. To be called before anything else.
    pub fn handle_lag_before(&mut self, since: Wall) {
        self.unapplied.begin(since);
    }

    /// The log has an own record at `sequence`, stored at `appended`, as the reader at its head says. It waits for the peer whether or
    /// not this lane has a reader.
    pub fn handle_stored(&mut self, sequence: Sequence, appended: Wall) {
        self.unapplied.read(sequence, appended);
    }

    /// Takes the lives of the log as the fold at its head knows them. To be called when the process has read the log up to its end
    /// and whenever a life begins; a lane says nothing before the first.
    pub fn handle_head(&mut self, now: Now, head: &Fold) {
        self.unapplied.begin(now.wall);
        if self.learn(head.lineage()) && self.receiver.is_some() {
            self.begin(now);
        }
    }

    /// Takes lives that are newer than the known ones, or stand in their place; whether they do.
    fn learn(&mut self, lineage: &Lineage) -> bool {
        let held = self.lineage.current();
        if !lineage.current().is_some_and(|told| told.supersedes(held)) {
            return false;
        }
        let fork = lineage.links().last().map(|link| link.fork);
        if held.is_some() {
            self.unapplied.forget_after(fork.unwrap_or_default());
        }
        self.lineage = lineage.clone();
        true
    }

    /// The session opened and the peer takes this lane.
    pub fn handle_welcome(&mut self, now: Now, report: &LaneReport) {
        self.unapplied.begin(now.wall);
        self.adopt(now, report);
    }

    /// The receiver begins the lane again. One of an older generation is ignored.
    pub fn handle_reset(&mut self, now: Now, report: &LaneReport) {
        if self
            .receiver
            .is_some_and(|receiver| report.generation > receiver.generation)
        {
            self.adopt(now, report);
        }
    }

    /// The receiver says how far it is. One of another generation is ignored; one of another life of the receiver's log begins
    /// the lane again.
    pub fn handle_ack(&mut self, now: Now, report: &LaneReport) {
        let Some(receiver) = &mut self.receiver else {
            return;
        };
        if report.generation != receiver.generation {
            return;
        }
        let new_life = std::mem::replace(&mut receiver.life, report.life) != report.life;
        if std::mem::replace(&mut receiver.hold, report.hold) != report.hold {
            self.moved = now.mono;
        }
        receiver.needs_sync = report.needs_sync;
        self.credit.grant(report.window);
        self.report_applied(now, report.applied);
        if new_life {
            self.cursor = report.cursor;
            self.begin(now);
        } else if report.cursor != self.cursor {
            self.advance(now, report.cursor);
        }
    }

    fn adopt(&mut self, now: Now, report: &LaneReport) {
        self.receiver = Some(Receiver {
            generation: report.generation,
            life: report.life,
            hold: report.hold,
            needs_sync: report.needs_sync,
        });
        self.cursor = report.cursor;
        self.credit = Credit::new(report.window);
        self.report_applied(now, report.applied);
        self.begin(now);
    }

    fn report_applied(&mut self, now: Now, applied: Option<AppliedThrough>) {
        self.applied = applied.or(self.applied);
        if let Some(through) = self
            .applied
            .and_then(|applied| self.lineage.shared_through(applied.0))
        {
            self.unapplied.applied(now.wall, through);
        }
    }

    /// The peer's cursor moved within a generation.
    fn advance(&mut self, now: Now, cursor: Option<Cursor>) {
        let Some(cursor) = cursor else { return };
        self.credit.release(now.mono, &self.lineage, cursor.position);
        self.cursor = Some(cursor);
        self.moved = now.mono;
        let needs_sync = matches!(self.stall, Some(Stall::NeedsSync(_)));
        match self.lineage.resumes_after(cursor.position) {
            Some(shared) if !needs_sync => self.verify(now, cursor, shared),
            _ => self.begin(now),
        }
    }

    /// The peer may have its cursor from another gateway, or from a tail that the log has lost: what is sent next must follow
    /// the log's own message there.
    fn verify(&mut self, now: Now, cursor: Cursor, shared: Sequence) {
        let Some(start) = &mut self.start else { return };
        let check = Some(cursor).filter(|cursor| cursor.position.sequence == shared);
        let at = match &self.reader {
            Reader::Running(fold) => fold.at().sequence,
            _ => Sequence::NONE,
        };
        if shared > at {
            if shared >= start.shared {
                *start = Start { shared, check };
                self.outbox.restart(shared);
            }
            return;
        }
        let unchanged = check.is_none() && shared <= start.shared;
        match self.records.find(shared) {
            None if unchanged => {}
            None => self.begin(now),
            Some(held) if check.is_some_and(|cursor| reading::differs(cursor, held)) => {
                self.suspect(now, cursor, held);
            }
            Some(held) => {
                self.verified = check.or(self.verified);
                self.records.forget_through(shared);
                self.outbox.skip_through(held);
            }
        }
    }

    /// The link is gone: nothing is read or held until the next welcome.
    pub fn handle_disconnected(&mut self, _now: Now) {
        self.receiver = None;
        self.verified = None;
        self.credit = Credit::default();
        self.clear();
    }

    /// Whether one end of the link asks that no ranges travel.
    pub fn handle_paused(&mut self, now: Now, paused: bool) {
        self.paused = paused;
        self.moved = now.mono;
    }

    /// Whether the link takes no range for the moment: what would leave is closed, and soon the lane is behind.
    pub fn handle_link(&mut self, full: bool) {
        self.link_full = full;
    }

    fn clear(&mut self) {
        let reading = !matches!(self.reader, Reader::None);
        self.order = (reading || self.order.is_some()).then_some(ReaderOrder::Stop);
        self.reader = Reader::None;
        self.start = None;
        self.stall = None;
        self.records.clear();
        self.outbox.restart(Sequence::NONE);
    }

    /// Drops all that is held and begins at the peer's cursor.
    fn begin(&mut self, now: Now) {
        self.clear();
        self.verified = None;
        self.moved = now.mono;
        if self.lineage.current().is_none() {
            return;
        }
        let shared = match self.cursor {
            None => Some(Sequence::NONE),
            Some(cursor) => self.lineage.resumes_after(cursor.position),
        };
        let Some(shared) = shared else {
            return self.unknown_life(now);
        };
        if let Some(cursor) = self
            .cursor
            .filter(|cursor| self.lineage.shared_through(cursor.position).is_none())
        {
            // The log was made anew: whoever made it may not know what it held before.
            let found = Anchor::default();
            self.events.push_back(LaneEvent::LifeSuspected { cursor, found });
        }
        self.report_applied(now, None);
        let check = self.cursor.filter(|cursor| cursor.position.sequence == shared);
        self.start = Some(Start { shared, check });
        self.outbox.restart(shared);
        self.ask();
    }

    fn unknown_life(&mut self, now: Now) {
        let Some(cursor) = self.cursor else { return };
        let newest = self.lineage.current().map(|life| life.number);
        if newest <= Some(cursor.position.life.number) {
            return self.suspect(now, cursor, Anchor::default());
        }
        self.need_sync(SyncReason::UnknownLife(cursor));
    }

    fn ask(&mut self) {
        let Some(start) = self.start else { return };
        self.run += 1;
        self.reader = Reader::Asked;
        self.order = Some(ReaderOrder::Start {
            run: self.run,
            at_most: start.shared,
        });
    }

    fn stop_reading(&mut self, stall: Stall) {
        self.stall = Some(stall);
        self.reader = Reader::None;
        self.order = Some(ReaderOrder::Stop);
    }

    fn need_sync(&mut self, reason: SyncReason) {
        self.stop_reading(Stall::NeedsSync(reason));
        self.events.push_back(LaneEvent::NeedsSync(reason));
    }

    fn suspect(&mut self, now: Now, cursor: Cursor, found: Anchor) {
        self.verified = None;
        self.stop_reading(Stall::LifeSuspected);
        self.reader = Reader::Failed(now.mono.after(limits::SUSPECT_RETRY));
        self.events.push_back(LaneEvent::LifeSuspected { cursor, found });
    }

    /// Whether the reader may go on; else it waits, without losing its place.
    #[must_use]
    pub fn wants_messages(&self) -> bool {
        matches!(self.reader, Reader::Running(_)) && self.outbox.bytes() < limits::LANE_AHEAD_BYTES
    }

    /// What the shell must do about the reader.
    pub fn poll_reader(&mut self) -> Option<ReaderOrder> {
        self.order.take()
    }

    /// The next range to write, within the credit.
    pub fn poll_transmit(&mut self, now: Now) -> Option<RangeFrame> {
        let (receiver, life) = (self.receiver?, self.lineage.current()?);
        if self.paused || self.stall.is_some() || self.is_catching_up() {
            return None;
        }
        let ready = self.outbox.front(now.mono, &self.credit)?;
        let mut stages = ready.end.stages;
        stages.sent = now.wall.micros();
        let mut shard = self.log.shard.clone();
        if planted::is(Planted::ShardSwapped) {
            shard.partition ^= 1;
        }
        let header = Header {
            set: self.log.set.clone(),
            shard,
            record: Record::Range(Range {
                origin: self.log.region.clone(),
                lineage: self.lineage.clone(),
                previous: ready.after.message_id,
                first: ready.after.sequence.next(),
                through: ready.end.through,
                highest_stamp: ready.end.highest_stamp,
            }),
            body: ready.seal,
            stages,
        };
        let frame = RangeFrame {
            shard: self.log.shard.clone(),
            generation: receiver.generation,
            header: header.encode(),
            body: ready.body.clone(),
        };
        if !self.credit.allows(frame.cost()) {
            return None;
        }
        let end = Position {
            life,
            sequence: ready.end.through.sequence,
        };
        self.credit.spend(now.mono, end, frame.cost());
        self.records.sent(ready.end.through);
        self.outbox.sent(now.mono, &self.credit);
        Some(frame)
    }

    /// The next thing that the shell must know.
    pub fn poll_event(&mut self) -> Option<LaneEvent> {
        self.events.pop_front()
    }
}
