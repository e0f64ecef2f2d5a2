//! A sending lane: sends one shard of this region's log to one peer.
//!
//! Problem: a peer may be current, an hour behind, or rewound by a lost tail. Only its cursor is
//! authoritative.
//!
//! Sketch: the lane has its own reader and its own fold, and reads the log from a state at or
//! before the peer's cursor, so catching up and keeping up are one path. This region's own records
//! that the fold accepts become ranges. Ranges travel within the receiver's credit, several at
//! once. Every failure (a new connection, a reset, a new life at either end) has one fix: drop what
//! is held and start again at the peer's cursor.
//!
//! Invariants:
//!
//! - Ranges leave in order and without holes within one generation.
//! - Bytes under way never exceed the credit.
//! - A range ends at a record with an own stamp.
//!
//! Failure cases:
//!
//! - The log has another message at the cursor: the log lost its tail. An event reports it, and the
//!   lane waits for the next life.
//! - The cursor was trimmed away or is of an unknown life: `needs sync`.
//!
//! The parts with their own state: the peer's reports (`peer.rs`), why ranges may not leave
//! (`gate.rs`), the reader and what it has read (`reading.rs`), the ranges that have not left
//! (`outbox.rs`), those under way ([`Credit`]), and the lag (`lag.rs`).

use std::collections::VecDeque;

use bytes::Bytes;

use crate::coordinates::{Anchor, AppliedThrough, Cursor, Position, Sequence};
use crate::credit::Credit;
use crate::fold::{Accepted, Fold, LogName, Message, Verdict};
use crate::header::{Header, Lineage};
use crate::limits;
use crate::link::lane::{LaneReport, RangeFrame};
use crate::time::{Mono, Now, Wall};

pub(crate) mod conflation;
mod gate;
mod lag;
mod outbox;
mod peer;
mod reading;
mod records;
mod state;
#[cfg(test)]
mod tests;

pub use lag::{LagRecord, OriginLag};
pub use outbox::Spared;
pub use state::{Deadline, LaneEvent, LaneState, ReaderFailure, ReaderOrder, Stall, SyncReason};

use gate::Gate;
use lag::Unapplied;
use outbox::Outbox;
use peer::Peer;
use reading::{Place, Reading};

/// A sending lane. See the [module](self) for the algorithm. In every `now`, `wall` is the clock of
/// this region's log.
///
/// Inputs, besides [`Sending::handle_timeout`]:
///
/// - from the previous leader, before all others: [`Sending::handle_lag_before`];
/// - from the reader at the log's head: [`Sending::handle_head`], [`Sending::handle_stored`];
/// - from the link: [`Sending::handle_welcome`], [`Sending::handle_paused`],
///   [`Sending::handle_disconnected`];
/// - from the peer's reports: [`Sending::handle_ack`], [`Sending::handle_reset`];
/// - from the lane's own reader: [`Sending::handle_reader_started`], [`Sending::handle_message`],
///   [`Sending::handle_reader_failed`].
///
/// After every input, the shell polls the outputs in this order:
///
/// 1. [`Sending::poll_reader`], until it is empty. Each order ends the previous reader; a message
///    or a failure of an earlier run changes nothing.
/// 2. [`Sending::poll_event`], until it is empty.
/// 3. [`Sending::poll_transmit`], until it is empty, while the session is open. Before each call,
///    [`Sending::handle_link`] reports whether the link has room; without room the shell does not
///    poll.
///
/// Then the shell waits: for the next message of the reader while [`Sending::wants_messages`], for
/// any other input, and until [`Sending::poll_timeout`] at most. [`Sending::handle_timeout`] acts
/// only on the earliest deadline, and only if it is due, so the shell polls the outputs and the
/// next deadline after it. [`Deadline`] documents each of them. A call that comes early does
/// nothing.
#[derive(Debug)]
pub struct Sending {
    log: LogName,
    /// The newest known lives of the log, from any reader of it.
    lineage: Lineage,
    peer: Peer,
    gate: Gate,
    reading: Reading,
    outbox: Outbox,
    credit: Credit,
    /// When the lane last made progress, started again, or had nothing to do.
    moved: Mono,
    unapplied: Unapplied,
    events: VecDeque<LaneEvent>,
}

impl Sending {
    /// Creates the lane of `log`, this region's, to one peer; idle.
    #[must_use]
    pub fn new(log: LogName) -> Self {
        Self {
            lineage: Lineage::default(),
            peer: Peer::default(),
            gate: Gate::default(),
            reading: Reading::default(),
            outbox: Outbox::new(log.region.clone(), Sequence::NONE),
            credit: Credit::default(),
            moved: Mono::default(),
            unapplied: Unapplied::new(),
            events: VecDeque::new(),
            log,
        }
    }

    /// Input: the lag known to the previous leader. The peer had applied everything appended up to
    /// `since`; nothing is known beyond. Must be called before anything else.
    pub fn handle_lag_before(&mut self, since: Wall) {
        self.unapplied.begin(since);
    }

    /// Input: the reader at the log's head found an own record at `sequence`, stored at `appended`.
    /// The record waits for the peer whether or not this lane has a reader.
    pub fn handle_stored(&mut self, sequence: Sequence, appended: Wall) {
        self.unapplied.add(sequence, appended);
    }

    /// Input: the lives of the log as the fold at its head knows them. Must be called when the
    /// process has read the log to its end and whenever a life begins; a lane sends nothing before
    /// the first call.
    pub fn handle_head(&mut self, now: Now, head: &Fold) {
        self.unapplied.begin(now.wall);
        if self.adopt_lineage(head.lineage()) && self.peer.is_connected() {
            self.begin(now);
        }
    }

    /// Takes lives that are newer than the known ones or replace them. Returns whether they do.
    fn adopt_lineage(&mut self, lineage: &Lineage) -> bool {
        let held = self.lineage.current();
        if !lineage.current().is_some_and(|life| life.supersedes(held)) {
            return false;
        }
        let fork = lineage.links().last().map(|link| link.fork);
        if held.is_some() {
            self.unapplied.forget_after(fork.unwrap_or_default());
        }
        self.lineage = lineage.clone();
        true
    }

    /// Input: the session opened and the peer takes this lane.
    pub fn handle_welcome(&mut self, now: Now, report: &LaneReport) {
        self.unapplied.begin(now.wall);
        self.begin_generation(now, report);
    }

    /// Input: the receiver starts the lane again. An older generation is ignored.
    pub fn handle_reset(&mut self, now: Now, report: &LaneReport) {
        let current = self.peer.generation();
        if current.is_some_and(|current| report.generation > current) {
            self.begin_generation(now, report);
        }
    }

    /// Input: the receiver's progress. A report of another generation is ignored; a report of
    /// another life of the receiver's log starts the lane again.
    pub fn handle_ack(&mut self, now: Now, report: &LaneReport) {
        let Some(changed) = self.peer.acknowledge(report) else {
            return;
        };
        if changed.new_hold {
            self.moved = now.mono;
        }
        self.credit.grant(report.window);
        self.note_applied(now, report.applied);
        if changed.new_life {
            self.peer.set_cursor(report.cursor);
            self.begin(now);
        } else if report.cursor != self.peer.cursor()
            && let Some(cursor) = report.cursor
        {
            self.advance(now, cursor);
        }
    }

    /// Input: the link is down. Nothing is read or held until the next welcome.
    pub fn handle_disconnected(&mut self, _now: Now) {
        self.peer.close();
        self.credit = Credit::default();
        self.clear();
    }

    /// Input: whether one end of the link has paused the ranges.
    pub fn handle_paused(&mut self, now: Now, paused: bool) {
        self.gate.set_paused(paused);
        self.moved = now.mono;
    }

    /// Input: whether the link takes no ranges for now. While it is full, the open range is closed
    /// when it is due, and soon the lane is behind.
    pub fn handle_link(&mut self, full: bool) {
        self.gate.set_link_full(full);
    }

    fn begin_generation(&mut self, now: Now, report: &LaneReport) {
        self.peer.open(report);
        self.credit = Credit::new(report.window);
        self.note_applied(now, report.applied);
        self.begin(now);
    }

    fn note_applied(&mut self, now: Now, applied: Option<AppliedThrough>) {
        let applied = self.peer.note_applied(applied);
        if let Some(through) = applied.and_then(|applied| self.lineage.shared_through(applied.0)) {
            self.unapplied.handle_applied(now.wall, through);
        }
    }

    /// The peer's cursor moved within a generation.
    fn advance(&mut self, now: Now, cursor: Cursor) {
        self.credit.release(now.mono, &self.lineage, cursor.position);
        self.peer.set_cursor(Some(cursor));
        self.moved = now.mono;
        match self.lineage.resumes_after(cursor.position) {
            Some(shared) if !self.gate.needs_sync() => self.follow_cursor(now, cursor, shared),
            _ => self.begin(now),
        }
    }

    /// The peer may have its cursor from another gateway, or from a tail that the log has lost: the
    /// next range must follow the log's own message there.
    fn follow_cursor(&mut self, now: Now, cursor: Cursor, shared: Sequence) {
        match self.reading.move_cursor(cursor, shared) {
            Place::Unchanged => {}
            Place::Ahead => self.outbox.restart(shared),
            Place::Forgotten => self.begin(now),
            Place::Known(known) => match known.differs() {
                Some(cursor) => self.suspect(now, cursor, known.found),
                None => {
                    self.peer.verify(known.checked);
                    self.outbox.skip_through(known.found);
                }
            },
        }
    }

    fn clear(&mut self) {
        self.reading.clear();
        self.gate.end_stall();
        self.outbox.restart(Sequence::NONE);
    }

    /// Drops everything held and starts again at the peer's cursor.
    fn begin(&mut self, now: Now) {
        self.clear();
        self.peer.forget_verified();
        self.moved = now.mono;
        if self.lineage.current().is_none() {
            return;
        }
        let cursor = self.peer.cursor();
        let shared = match cursor {
            None => Some(Sequence::NONE),
            Some(cursor) => self.lineage.resumes_after(cursor.position),
        };
        let Some(shared) = shared else {
            return self.stop_at_unknown_life(now);
        };
        let is_foreign = |cursor: &Cursor| self.lineage.shared_through(cursor.position).is_none();
        if let Some(cursor) = cursor.filter(is_foreign) {
            // The log was created again, perhaps without knowledge of its earlier content.
            let found = Anchor::default();
            self.events.push_back(LaneEvent::LifeSuspected { cursor, found });
        }
        self.note_applied(now, None);
        self.outbox.restart(shared);
        self.reading.start(shared, cursor);
    }

    fn stop_at_unknown_life(&mut self, now: Now) {
        let Some(cursor) = self.peer.cursor() else {
            return;
        };
        let newest = self.lineage.current().map(|life| life.number);
        if newest <= Some(cursor.position.life.number) {
            return self.suspect(now, cursor, Anchor::default());
        }
        self.need_sync(SyncReason::UnknownLife(cursor));
    }

    fn need_sync(&mut self, reason: SyncReason) {
        self.gate.close(Stall::NeedsSync(reason));
        self.reading.stop();
        self.events.push_back(LaneEvent::NeedsSync(reason));
    }

    fn suspect(&mut self, now: Now, cursor: Cursor, found: Anchor) {
        self.peer.forget_verified();
        self.gate.close(Stall::LifeSuspected);
        self.reading.stop_until(now.mono.after(limits::SUSPECT_RETRY));
        self.events.push_back(LaneEvent::LifeSuspected { cursor, found });
    }

    /// Input: the reader of `run` starts after `fold`: the state of the mark that it starts from,
    /// or [`Fold::new`].
    pub fn handle_reader_started(&mut self, now: Now, run: u64, fold: Fold) {
        let Some(cursor) = self.reading.awaited(run) else {
            return;
        };
        let first = fold.at().sequence;
        if first > cursor || fold.log() != &self.log {
            return self.need_sync(SyncReason::Trimmed { cursor, first });
        }
        self.moved = now.mono;
        self.unapplied.handle_reader_started(first, fold.own_appended());
        self.reading.run_from(fold);
        self.check_start(now);
    }

    /// Input: the reader of `run` ended or could not be started.
    pub fn handle_reader_failed(&mut self, now: Now, run: u64, failure: ReaderFailure) {
        if !self.reading.is_current(run) {
            return;
        }
        let retry_at = now.mono.after(limits::READER_RETRY);
        match failure {
            ReaderFailure::Trimmed { first } => self.need_sync(SyncReason::Trimmed {
                cursor: self.reading.shared(),
                first,
            }),
            ReaderFailure::TailLost => {
                self.begin(now);
                self.reading.stop_until(retry_at);
            }
            ReaderFailure::Unavailable => self.reading.stop_until(retry_at),
        }
    }

    /// Input: the next message of the reader of `run`. Messages of another run are ignored; a
    /// message that does not follow the last one starts the lane again.
    pub fn handle_message(&mut self, now: Now, run: u64, message: Message<'_>, body: &Bytes) {
        let Some(folded) = self.reading.apply(run, message) else {
            return;
        };
        match folded {
            Err(_) => self.begin(now),
            Ok(Verdict::Stop { what, number }) => {
                self.gate.close(Stall::UpgradeNeeded { what, number });
                self.reading.stop();
                self.events.push_back(LaneEvent::UpgradeNeeded { what, number });
            }
            Ok(Verdict::Void(_)) => self.check_start(now),
            Ok(Verdict::Accepted(Accepted::Life(_))) => self.take_life(now),
            Ok(Verdict::Accepted(accepted)) => {
                if accepted.carries_own_stamp()
                    && let Ok(header) = message.header
                {
                    self.unapplied.add(message.sequence, message.timestamp);
                    self.take_record(now, &accepted, header, body);
                }
                self.check_start(now);
            }
        }
        if self.reading.is_catching_up() {
            self.moved = now.mono;
        }
    }

    /// Adds an own record to a range if the peer does not have it.
    fn take_record(&mut self, now: Now, accepted: &Accepted, header: &Header, body: &Bytes) {
        let Some(end) = self.reading.add_record(now, header) else {
            return;
        };
        let sealed = accepted.carries_own_changes() && header.body.check(body).is_ok();
        if accepted.carries_own_changes() && !sealed {
            self.events.push_back(LaneEvent::BrokenSeal(end.through));
        }
        let carried = if sealed { body.clone() } else { Bytes::new() };
        if !self.outbox.has_work() && self.credit.is_idle() {
            self.moved = now.mono;
        }
        self.outbox.push(now.mono, end, header, &carried);
    }

    /// The reader passed a record that begins a life. What it read past the fork, before the log
    /// lost its tail, may not be in the log.
    fn take_life(&mut self, now: Now) {
        let Some(lineage) = self.reading.lineage().cloned() else {
            return;
        };
        if self.adopt_lineage(&lineage) {
            self.begin(now);
        } else {
            self.check_start(now);
        }
    }

    /// At the lane's start, the log must have the peer's message.
    fn check_start(&mut self, now: Now) {
        let Some(start) = self.reading.take_start() else {
            return;
        };
        match start.differs() {
            Some(cursor) => self.suspect(now, cursor, start.found),
            None => {
                self.peer.verify(start.checked);
                self.outbox.begin_after(start.found);
            }
        }
    }

    /// Input: the time. Acts on the earliest deadline if it is due; then [`Sending::poll_transmit`]
    /// returns what is to be sent.
    pub fn handle_timeout(&mut self, now: Now) {
        let due = |(at, deadline): (Mono, Deadline)| (at <= now.mono).then_some(deadline);
        match self.poll_timeout().and_then(due) {
            Some(Deadline::Flush) if self.gate.is_link_full() => self.outbox.close_open(now.mono),
            None | Some(Deadline::Flush) => {}
            Some(Deadline::Behind) => self.outbox.fall_behind(now.mono),
            Some(Deadline::Retry) => self.begin(now),
            Some(Deadline::CursorAhead) => self.suspect_cursor_ahead(now),
            Some(Deadline::Progress) => {
                self.moved = now.mono;
                self.events.push_back(LaneEvent::NoProgress);
            }
        }
    }

    /// The log ends before the peer's cursor, or the reader makes no progress.
    fn suspect_cursor_ahead(&mut self, now: Now) {
        match (self.reading.at(), self.peer.cursor()) {
            (Some(found), Some(cursor)) => self.suspect(now, cursor, found),
            _ => self.moved = now.mono,
        }
    }

    /// Output: the next deadline, and which one it is.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Mono, Deadline)> {
        let sends = self.peer.is_connected() && self.gate.is_open();
        let is_stuck = self.gate.is_link_full() && self.outbox.is_behind();
        let flush = self.outbox.due(&self.credit).filter(|_| sends && !is_stuck);
        let is_ahead = self.reading.is_catching_up();
        let ahead = is_ahead.then(|| self.moved.after(limits::CURSOR_AHEAD));
        let progress = self
            .owes_progress()
            .then(|| self.moved.after(limits::LANE_PROGRESS));
        [
            flush.map(|at| (at, Deadline::Flush)),
            self.outbox.behind_at().map(|at| (at, Deadline::Behind)),
            self.reading.retry_at().map(|at| (at, Deadline::Retry)),
            ahead.map(|at| (at, Deadline::CursorAhead)),
            progress.map(|at| (at, Deadline::Progress)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether the peer's cursor should move.
    fn owes_progress(&self) -> bool {
        let has_work = !self.credit.is_idle() || self.outbox.has_work();
        let is_held = !self.peer.is_connected() || self.peer.hold().is_some();
        has_work && !is_held && self.gate.is_open()
    }

    /// Whether the reader may continue; otherwise it waits without losing its place.
    #[must_use]
    pub fn wants_messages(&self) -> bool {
        self.reading.is_running() && self.outbox.bytes() < limits::LANE_AHEAD_BYTES
    }

    /// Output: the next order for the reader.
    pub fn poll_reader(&mut self) -> Option<ReaderOrder> {
        self.reading.poll_order()
    }

    /// Output: the next range to write, within the credit.
    pub fn poll_transmit(&mut self, now: Now) -> Option<RangeFrame> {
        let (generation, life) = (self.peer.generation()?, self.lineage.current()?);
        if !self.gate.is_open() || self.reading.is_catching_up() {
            return None;
        }
        let ready = self.outbox.poll_ready(now.mono, &self.credit)?;
        let frame = ready.frame(&self.log, &self.lineage, generation, now.wall);
        if !self.credit.allows(frame.cost()) {
            return None;
        }
        let through = ready.end.through;
        let end = Position {
            life,
            sequence: through.sequence,
        };
        self.credit.spend(now.mono, end, frame.cost());
        self.reading.add_sent(through);
        self.outbox.pop_sent(now.mono, &self.credit);
        Some(frame)
    }

    /// Output: the next event for the shell.
    pub fn poll_event(&mut self) -> Option<LaneEvent> {
        self.events.pop_front()
    }

    /// The state of the lane.
    #[must_use]
    pub fn state(&self) -> LaneState {
        if !self.peer.is_connected() {
            return LaneState::Idle;
        }
        let held = self.peer.hold().map(Stall::Held);
        if let Some(stall) = self.gate.reason().or(held) {
            return LaneState::Stalled(stall);
        }
        if self.lineage.current().is_none() {
            return LaneState::Waiting;
        }
        match self.reading.is_running() && !self.reading.is_catching_up() {
            true => LaneState::Streaming,
            false => LaneState::Reading,
        }
    }

    /// How far behind the peer is, at `now.wall`; grows while the link is down.
    #[must_use]
    pub fn lag(&self, now: Now) -> OriginLag {
        self.lag_record().at(now.wall)
    }

    /// The state from which [`Sending::lag`] is computed.
    #[must_use]
    pub fn lag_record(&self) -> LagRecord {
        self.unapplied.record()
    }

    /// The peer has the log through this cursor, as it last reported.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.peer.cursor()
    }

    /// The newest cursor of the peer whose message the log has: it may confirm a write. None while
    /// it is not known whether the peer's log matches this log, and while the peer misses a part of
    /// it.
    #[must_use]
    pub fn verified(&self) -> Option<Cursor> {
        self.peer.verified().filter(|_| !self.peer_needs_sync())
    }

    /// Whether the peer reports that it misses changes of this region until a sync brings them.
    #[must_use]
    pub fn peer_needs_sync(&self) -> bool {
        self.peer.needs_sync()
    }

    /// The peer's agents have applied the log through this position, as it last reported.
    #[must_use]
    pub fn applied(&self) -> Option<AppliedThrough> {
        self.peer.applied()
    }

    /// The credit: bytes under way and granted.
    #[must_use]
    pub fn credit(&self) -> &Credit {
        &self.credit
    }

    /// What was saved while the lane was behind, since the lane was created.
    #[must_use]
    pub fn spared(&self) -> Spared {
        self.outbox.spared()
    }
}
