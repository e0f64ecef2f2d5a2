//! A receiving lane: takes one shard of another region's log into this region's log, on one
//! session.
//!
//! Problem: ranges come from one of possibly two gateways, over a link that may be cut anywhere,
//! and are appended to a log whose answers may be lost.
//!
//! Sketch: the lane appends each range that follows the last one, several at once, and trusts only
//! what it reads back: the fold at the head of the own log decides what was accepted. A range that
//! was read back void is appended again, byte for byte, in its turn. A range that the log already
//! has is dropped. Any other range starts the lane again at the cursor, under a higher generation.
//! The Ack carries the fold's cursor, so nothing is acknowledged before it is stored and accepted.
//!
//! Invariants:
//!
//! - Bytes held never exceed the window, or belong to a single range.
//! - Only ranges of the certificate's region are appended.
//! - The cursor in a report never passes what was read back.
//!
//! Failure cases:
//!
//! - A body that no agent could apply becomes a gap record, so that the lane continues and the
//!   missing changes are known.
//! - Stamps ahead of this region's clock wait; beyond `max_offset` the lane reports a hold.
//! - A lineage that does not include the cursor is refused with [`Hold::UnknownLineage`]: a sync is
//!   needed.
//!
//! The parts with their own state: the head of the own log (`head.rs`), the held ranges
//! (`queue.rs`), the own log's answers to appends (`answers.rs`), stamps that are ahead
//! (`clock.rs`), and the reports to the sender (`reports.rs`).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::aside::Entry;
use crate::coordinates::{AppliedThrough, Cursor};
use crate::credit::fits;
use crate::fold::{Fold, LogName, SubjectToken, Verdict};
use crate::header::{Header, Range, Record, StageTimes, Standing};
use crate::limits;
use crate::link::frame::Frame;
use crate::link::lane::{Hold, LaneReport, RangeFrame};
use crate::link::session::ClockEstimate;
use crate::names::RegionName;
use crate::time::{Mono, Now};

mod answers;
mod check;
mod clock;
mod head;
pub mod lag;
mod queue;
mod reports;
mod state;
#[cfg(test)]
mod tests;

pub use check::Violation;
pub use queue::AppendId;
pub use state::{Append, AppendFailure, Deadline, ReceivingEvent, ResetReason, Taken};

use answers::LogAnswers;
use clock::ClockWait;
use head::{Head, Moved};
use queue::{Held, Queue};
use reports::Reports;

/// A receiving lane, one for each session and shard. It is created once the own log has been read
/// to its end. See the [module](self) for the algorithm. In every `now`, `wall` is the clock of
/// this region's log.
///
/// Inputs, besides [`Receiving::handle_timeout`]:
///
/// - from the link: [`Receiving::handle_range`], [`Receiving::handle_origin_clock`];
/// - from the reader at the head of the own log: [`Receiving::handle_read_back`] for each message,
///   [`Receiving::handle_head`] at the end of the log after a restart,
///   [`Receiving::handle_stopped`];
/// - from the own log: [`Receiving::handle_appended`], [`Receiving::handle_append_failed`];
/// - from the agents of this region: [`Receiving::handle_applied`].
///
/// The Welcome carries [`Receiving::poll_welcome`], which is polled once and before any report.
/// After every input, the shell polls the outputs in this order, each until it is empty:
///
/// 1. [`Receiving::poll_event`]: a range that can't be decoded is set aside before its gap is
///    appended.
/// 2. [`Receiving::poll_append`]. An append may be answered in any order, late or never.
/// 3. [`Receiving::poll_report`], once the Welcome is sent.
/// 4. [`Receiving::poll_event`] again: a report that carries a new hold also produces an event.
///
/// At [`Receiving::poll_timeout`], [`Receiving::poll_append`] may return something even without
/// input; the shell calls [`Receiving::handle_timeout`] first. Both may be called at any time.
#[derive(Debug)]
pub struct Receiving {
    log: LogName,
    origin: RegionName,
    window: u32,
    /// All live agents of this region have applied the origin's log through this position.
    applied: Option<AppliedThrough>,
    origin_clock: Option<ClockEstimate>,
    head: Head,
    queue: Queue,
    /// Why the last range was not taken.
    refused: Option<Hold>,
    clock: ClockWait,
    answers: LogAnswers,
    reports: Reports,
    events: VecDeque<ReceivingEvent>,
}

impl Receiving {
    /// Creates the lane of `origin` into `log`, this region's. `head` is the fold at the head of
    /// `log`; `max_offset` is the set's.
    #[must_use]
    pub fn new(log: LogName, origin: RegionName, max_offset: Duration, head: &Fold) -> Self {
        Self {
            window: limits::LANE_WINDOW_BYTES,
            applied: None,
            origin_clock: None,
            head: Head::new(&origin, head),
            queue: Queue::default(),
            refused: None,
            clock: ClockWait::new(max_offset),
            answers: LogAnswers::default(),
            reports: Reports::new(),
            events: VecDeque::new(),
            log,
            origin,
        }
    }

    /// Replaces the default window of [`limits::LANE_WINDOW_BYTES`]. Must be called before the
    /// welcome.
    #[must_use]
    pub fn with_window(mut self, window: u32) -> Self {
        self.window = window;
        self
    }

    /// Input: the own log has a record of a later version. No further append would be read back.
    pub fn handle_stopped(&mut self) {
        self.head.stop();
    }

    /// Output: this lane's report in the Welcome.
    pub fn poll_welcome(&mut self) -> LaneReport {
        let report = self.report();
        self.reports.begin(report.clone());
        report
    }

    fn report(&self) -> LaneReport {
        LaneReport {
            shard: self.log.shard.clone(),
            generation: self.reports.generation(),
            life: self.head.life(),
            cursor: self.head.cursor(),
            applied: self.applied,
            window: self.open_window(),
            hold: self.hold(),
            needs_sync: self.head.needs_sync(),
        }
    }

    fn open_window(&self) -> u32 {
        match self.head.life() {
            Some(_) => self.window,
            None => 0,
        }
    }

    /// Input: a range from the link. Returns none if the range is not the next one; a report then
    /// follows, unless the range is of an older generation.
    ///
    /// # Errors
    /// [`Violation`]: the session must end with it as the reason.
    pub fn handle_range(&mut self, now: Now, frame: RangeFrame) -> Result<Option<Taken>, Violation> {
        let generation = self.reports.generation();
        if frame.generation < generation {
            return Ok(None);
        }
        if frame.generation > generation {
            return Err(Violation::Generation {
                current: generation,
                found: frame.generation,
            });
        }
        let (range, seal, stages) = check::range(&self.log, &self.origin, &frame)?;
        let (held, cost, window) = (self.queue.bytes(), frame.cost(), self.open_window());
        if !fits(u64::from(window), held, cost) {
            return Err(Violation::Credit { held, cost, window });
        }
        let stages = self.received(now, stages);
        Ok(self.take_if_next(now, Held::new(range, seal, stages, frame.body, cost)))
    }

    /// The stage times of a range that arrived at `now`.
    fn received(&self, now: Now, stages: StageTimes) -> StageTimes {
        let mut stages = StageTimes {
            received: now.wall.micros(),
            ..stages
        };
        if let Some(clock) = self.origin_clock {
            stages.offset = clock.offset_micros;
            stages.uncertainty = u64::try_from(clock.uncertainty.as_micros()).unwrap_or(u64::MAX);
        }
        stages
    }

    /// Takes the range if it follows the last one or the cursor. Otherwise its sender gets a
    /// report.
    fn take_if_next(&mut self, now: Now, held: Held) -> Option<Taken> {
        let last = self.queue.last().and_then(|held| held.range.end());
        match held.range.standing(last.or(self.head.cursor())) {
            Standing::Next => {
                self.refused = None;
                return Some(self.take(now, held));
            }
            Standing::OlderLife => self.refuse(Hold::OlderLife),
            Standing::UnknownLineage => self.refuse(Hold::UnknownLineage),
            Standing::Covered { .. } => {
                self.refused = None;
                self.reports.repeat();
            }
            Standing::Elsewhere { .. } | Standing::OtherHistory => {
                self.refused = None;
                self.reset(ResetReason::NotNext);
            }
        }
        None
    }

    fn take(&mut self, now: Now, mut held: Held) -> Taken {
        let taken = Taken {
            through: held.range.through.sequence,
            codec: held.seal.codec,
        };
        if let Err(unusable) = check::body(&held.seal, &self.origin, &held.body) {
            let body = held.become_gap();
            self.set_aside(now, &held.range, unusable.to_string(), body);
        }
        self.queue.push(held);
        self.check_clock(now);
        taken
    }

    /// Takes nothing of the lane as it is; its sender gets the cursor and the reason.
    fn refuse(&mut self, hold: Hold) {
        self.reset(ResetReason::Refused);
        self.refused = Some(hold);
    }

    fn set_aside(&mut self, now: Now, range: &Range, detail: String, body: Bytes) {
        let entry = Entry::of_range(&self.log, now.wall, range, detail, body);
        self.events
            .push_back(ReceivingEvent::Undecodable(Box::new(entry)));
    }

    /// Input: the verdict of the fold at the head of the own log on its next message; `head` is
    /// that fold after the message. Messages behind what was already read of the same life, as
    /// after a reader's restart, are ignored.
    pub fn handle_read_back(&mut self, now: Now, header: Option<&Header>, verdict: &Verdict, head: &Fold) {
        if self.head.is_ahead_of(head) {
            return;
        }
        let record = header.map(|header| &header.record);
        match (verdict, record) {
            (Verdict::Stop { .. }, _) => self.handle_stopped(),
            (Verdict::Void(_), Some(Record::Range(range) | Record::Gap(range)))
                if range.origin == self.origin =>
            {
                self.queue.repeat_void(now.mono, range);
            }
            _ => {}
        }
        self.handle_head(now, head);
    }

    /// Input: the fold at the end of the own log. Must be called when a restarted reader has
    /// reached the end: a lost tail shows only there.
    pub fn handle_head(&mut self, now: Now, head: &Fold) {
        match self.head.read(&self.origin, head) {
            Moved::Nowhere => {}
            Moved::NewLife => self.reset(ResetReason::NewLife),
            Moved::Back => {
                self.answers.clear();
                self.reset(ResetReason::CursorMoved);
            }
            Moved::Forward => {
                self.answers.clear();
                self.release();
                self.check_clock(now);
            }
        }
    }

    /// Drops the ranges that the cursor covers. The rest must begin at the cursor.
    fn release(&mut self) {
        while let Some(held) = self.queue.first() {
            match held.range.standing(self.head.cursor()) {
                Standing::Covered { .. } => self.queue.pop(),
                Standing::Next => return,
                _ => return self.reset(ResetReason::CursorMoved),
            }
        }
    }

    fn reset(&mut self, reason: ResetReason) {
        self.queue.clear();
        self.refused = None;
        self.clock.clear();
        let generation = self.reports.begin_generation();
        self.events
            .push_back(ReceivingEvent::Reset { generation, reason });
    }

    /// Input: an append was answered with a sequence. It counts only once it is read back.
    pub fn handle_appended(&mut self, _now: Now, _id: AppendId) {
        self.answers.clear();
    }

    /// Input: an append was not answered with a sequence.
    pub fn handle_append_failed(&mut self, now: Now, id: AppendId, failure: AppendFailure) {
        let pause = self.answers.add_failure(failure);
        let Some(held) = self.queue.repeat_failed(now.mono, id, pause) else {
            return;
        };
        if failure == AppendFailure::TooLarge && !held.gap {
            let (range, body) = (held.range.clone(), held.become_gap());
            let reason = "larger than this region's NATS accepts: raise its max_payload".to_owned();
            self.set_aside(now, &range, reason, body);
        }
    }

    /// Input: all live agents of this region have applied the origin's log through `applied`.
    pub fn handle_applied(&mut self, applied: Option<AppliedThrough>) {
        self.applied = applied;
    }

    /// Input: the origin's clock, as estimated from the session's pings.
    pub fn handle_origin_clock(&mut self, clock: Option<ClockEstimate>) {
        self.origin_clock = clock;
    }

    /// Stamps ahead of this region's clock wait; beyond `max_offset` that is a hold.
    fn check_clock(&mut self, now: Now) {
        let ahead = self.queue.ahead(now.wall);
        self.clock.check(now, ahead.map(|held| held.range.highest_stamp));
    }

    /// Output: the next message to append to the own log.
    pub fn poll_append(&mut self, now: Now) -> Option<Append> {
        self.check_clock(now);
        if !self.head.takes_appends() {
            return None;
        }
        let most = self.answers.most_appends();
        let (id, held) = self.queue.begin_append(now, most)?;
        Some(Append {
            id,
            token: if held.gap {
                SubjectToken::Gateway
            } else {
                SubjectToken::Origin(self.origin.clone())
            },
            header: held.header(&self.log),
            body: held.body.clone(),
        })
    }

    /// Output: the Ack or Reset to write, if one is due.
    pub fn poll_report(&mut self) -> Option<Frame> {
        let report = self.report();
        if !self.reports.is_due(&report) {
            return None;
        }
        if self.reports.reported_hold() != report.hold {
            self.events.push_back(ReceivingEvent::Held(report.hold));
        }
        Some(self.reports.send(report))
    }

    /// Output: the next event for the shell.
    pub fn poll_event(&mut self) -> Option<ReceivingEvent> {
        self.events.pop_front()
    }

    /// Input: the time. [`Receiving::poll_append`] then returns what is to be appended.
    pub fn handle_timeout(&mut self, now: Now) {
        self.check_clock(now);
    }

    /// Output: the next deadline, and which one it is. Only ranges with stamps up to `now.wall` may
    /// be appended.
    #[must_use]
    pub fn poll_timeout(&self, now: Now) -> Option<(Mono, Deadline)> {
        let append = self.queue.due(now.wall, self.answers.most_appends());
        let append = append.filter(|_| self.head.takes_appends());
        let clock = self.clock.check_at().map(|at| (at, Deadline::Clock));
        append
            .map(|at| (at, Deadline::Append))
            .into_iter()
            .chain(clock)
            .min()
    }

    /// Why nothing is appended for now.
    #[must_use]
    pub fn hold(&self) -> Option<Hold> {
        let head = self.head.hold();
        let held = head.or_else(|| self.answers.hold());
        held.or_else(|| self.clock.hold()).or(self.refused)
    }

    /// The own log has the origin's log through this cursor.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.head.cursor()
    }

    /// Bytes held.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.queue.bytes()
    }

    /// Whether ranges wait to be appended or read back.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.queue.first().is_some()
    }
}
