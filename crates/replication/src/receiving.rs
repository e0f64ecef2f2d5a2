//! A receiving lane: one shard of another region's log on its way into this region's, on one
//! session.
//!
//! Problem: ranges come from a gateway that may be one of two, over a link that may be cut
//! anywhere, and are appended to a log whose answers may be lost. Sketch: the lane appends what
//! follows the last range, several at once, and believes only what it reads back: the fold at the
//! head of the own log says what was accepted. A range that came back void is appended again, byte
//! for byte, when it is its turn; a range that the log has already is dropped; whatever does not
//! follow begins the lane again at the cursor, under a higher generation. The Ack is the fold's
//! cursor, so nothing is acknowledged that is not stored and accepted.
//!
//! Invariants: bytes held never exceed the window, or are one range; only ranges of the
//! certificate's region are appended; the cursor in a report never passes what was read back.
//! Failure cases: a body that no agent could apply becomes a gap record, so that the lane goes on
//! and the missing changes are known; stamps ahead of this region's clock wait, and hold the lane
//! in the open beyond `max_offset`; a lineage that does not include the cursor holds it as `needs
//! sync`.
//!
//! The parts with a state of their own: the head of the own log (`head.rs`), the ranges that are
//! held (`queue.rs`), what the own log answers (`answers.rs`), stamps that are ahead (`clock.rs`),
//! and the reports to the sender (`reports.rs`).

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

/// A receiving lane, one for a session and shard. It is made when the head of the own log has been
/// read up to its end. See the [module](self) for the algorithm. Of every `now`, `wall` is the
/// clock of this region's log.
///
/// Inputs, beside [`Receiving::handle_timeout`]:
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
/// 1. [`Receiving::poll_event`]: a range that can't be decoded is set aside before the gap that
///    stands for it is appended.
/// 2. [`Receiving::poll_append`]. An append may be answered in any order, late or never.
/// 3. [`Receiving::poll_report`], once the Welcome is sent.
/// 4. [`Receiving::poll_event`] again: a report brings the event of a new hold.
///
/// [`Receiving::poll_timeout`] is when [`Receiving::poll_append`] may have something although no
/// input came; [`Receiving::handle_timeout`] goes before it. Both may be called at any time.
#[derive(Debug)]
pub struct Receiving {
    log: LogName,
    origin: RegionName,
    window: u32,
    /// How far all live agents of this region have applied the origin's log.
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
    /// The lane of `origin` into `log`, this region's, whose head's fold is `head`. `max_offset` is
    /// the set's.
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

    /// Another window than [`limits::LANE_WINDOW_BYTES`]; before the welcome.
    #[must_use]
    pub fn with_window(mut self, window: u32) -> Self {
        self.window = window;
        self
    }

    /// Input: the own log has a record of a later version. Nothing that is appended would be read
    /// back.
    pub fn handle_stopped(&mut self) {
        self.head.stop();
    }

    /// Output: what the Welcome says of this lane.
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

    /// Input: a range from the link. None is taken where it is not the next one, and another report
    /// says so.
    ///
    /// # Errors
    /// [`Violation`]: the session is to end with it as the reason.
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

    /// The stage times of a range that came now.
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

    /// Takes the range if it comes after the last one, or after the cursor. If it does not, its
    /// sender gets a report.
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

    /// Nothing of the lane is taken as it is; its sender gets the cursor and the reason.
    fn refuse(&mut self, hold: Hold) {
        self.reset(ResetReason::Refused);
        self.refused = Some(hold);
    }

    fn set_aside(&mut self, now: Now, range: &Range, detail: String, body: Bytes) {
        let entry = Entry::of_range(&self.log, now.wall, range, detail, body);
        self.events
            .push_back(ReceivingEvent::Undecodable(Box::new(entry)));
    }

    /// Input: what the fold at the head of the own log says of its next message; `head` is that
    /// fold after it. What lies behind what was read of the same life before, as when a reader
    /// starts again, says nothing new and is ignored.
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

    /// Input: the fold at the end of the own log. To be called when a reader that started again has
    /// come to the end: what the log has lost shows there.
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

    /// Drops what the cursor covers. What is left must begin at the cursor.
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

    /// Input: an append was answered with a sequence. Only reading back makes it count.
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
            let reason = "larger than this region's NATS takes: raise its max_payload".to_owned();
            self.set_aside(now, &range, reason, body);
        }
    }

    /// Input: how far all live agents of this region have applied the origin's log.
    pub fn handle_applied(&mut self, applied: Option<AppliedThrough>) {
        self.applied = applied;
    }

    /// Input: the origin's clock, as the session's pings say.
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

    /// Output: the Ack or Reset to write, when there is something new to say.
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

    /// Output: the next thing that the shell must know.
    pub fn poll_event(&mut self) -> Option<ReceivingEvent> {
        self.events.pop_front()
    }

    /// Input: the time. [`Receiving::poll_append`] has what is to be appended.
    pub fn handle_timeout(&mut self, now: Now) {
        self.check_clock(now);
    }

    /// Output: the next deadline, and which it is. `now.wall` decides which ranges may be appended
    /// at all.
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

    /// Why nothing is appended for the moment.
    #[must_use]
    pub fn hold(&self) -> Option<Hold> {
        let head = self.head.hold();
        let held = head.or_else(|| self.answers.hold());
        held.or_else(|| self.clock.hold()).or(self.refused)
    }

    /// Through where the own log holds the origin's.
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
