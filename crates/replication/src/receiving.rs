//! A receiving lane: one shard of another region's log on its way into this region's, on one session.
//!
//! Problem: ranges come from a gateway that may be one of two, over a link that may be cut anywhere, and are appended to a log
//! whose answers may be lost. Sketch: the lane appends what follows the last range, several at once, and believes only what
//! it reads back: the fold at the head of the own log says what was accepted. A range that came back void is appended
//! again, byte for byte, when it is its turn; a range that the log has already is dropped; whatever does not follow begins
//! the lane again at the cursor, under a higher generation. The Ack is the fold's cursor, so nothing is acknowledged that
//! is not stored and accepted.
//!
//! Invariants: bytes held never exceed the window, or are one range; only ranges of the certificate's region are appended;
//! the cursor told never passes what was read back. Failure cases: a body that no agent could apply becomes a gap record, so
//! that the lane goes on and the missing changes are known; stamps ahead of this region's clock wait, and hold the lane in
//! the open beyond `max_offset`; a lineage that does not include the cursor holds it as `needs sync`.
//!
//! The shell drives it: one machine a session and shard, made when the head of the own log has been read up to its end. Of `now`,
//! `wall` is this region's log clock.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::aside::Entry;
use crate::coordinates::{AppliedThrough, Cursor, Life, Sequence};
use crate::credit::fits;
use crate::fold::{Fold, LogName, Origin, Token, Verdict};
use crate::header::{Header, Range, Record, StageTimes, Standing};
use crate::limits;
use crate::link::frame::Frame;
use crate::link::lane::{Hold, LaneReport, RangeFrame};
use crate::link::session::ClockEstimate;
use crate::names::RegionName;
use crate::time::{Mono, Now};

mod check;
pub mod lag;
mod queue;
mod state;
#[cfg(test)]
mod tests;

pub use check::Violation;
pub use queue::AppendId;
use queue::{Held, Queue};
pub use state::{Append, AppendFailure, Deadline, ReceivingEvent, ResetReason, Taken};

/// A receiving lane.
#[derive(Debug)]
pub struct Receiving {
    log: LogName,
    origin: RegionName,
    window: u32,
    max_offset: Duration,
    generation: u64,
    head: Sequence,
    life: Option<Life>,
    cursor: Option<Cursor>,
    needs_sync: bool,
    applied: Option<AppliedThrough>,
    origin_clock: Option<ClockEstimate>,
    queue: Queue,
    refused: Option<Hold>,
    stopped: bool,
    clock_held: bool,
    clock_due: Option<Mono>,
    unanswered: u32,
    full: bool,
    told: Option<LaneReport>,
    ack_due: bool,
    reset_due: bool,
    events: VecDeque<ReceivingEvent>,
}

impl Receiving {
    /// The lane of `origin` into `log`, this region's, whose head's fold is `head`. `max_offset` is the set's.
    #[must_use]
    pub fn new(log: LogName, origin: RegionName, max_offset: Duration, head: &Fold) -> Self {
        let mut lane = Self {
            log,
            origin,
            window: limits::LANE_WINDOW_BYTES,
            max_offset,
            generation: 1,
            head: head.at().sequence,
            life: head.lineage().current(),
            cursor: None,
            needs_sync: false,
            applied: None,
            origin_clock: None,
            queue: Queue::default(),
            refused: None,
            stopped: false,
            clock_held: false,
            clock_due: None,
            unanswered: 0,
            full: false,
            told: None,
            ack_due: false,
            reset_due: false,
            events: VecDeque::new(),
        };
        lane.read_head(head);
        lane
    }

    /// Another window than [`limits::LANE_WINDOW_BYTES`]; before the welcome.
    #[must_use]
    pub fn with_window(mut self, window: u32) -> Self {
        self.window = window;
        self
    }

    /// The own log has a record of a later version: nothing that is appended would be read back.
    pub fn handle_stopped(&mut self) {
        self.stopped = true;
    }

    /// What the Welcome says of this lane.
    pub fn welcome(&mut self) -> LaneReport {
        let report = self.report();
        self.told = Some(report.clone());
        report
    }

    fn report(&self) -> LaneReport {
        LaneReport {
            shard: self.log.shard.clone(),
            generation: self.generation,
            life: self.life,
            cursor: self.cursor,
            applied: self.applied,
            window: if self.life.is_some() { self.window } else { 0 },
            hold: self.hold(),
            needs_sync: self.needs_sync,
        }
    }

    /// What the fold at the head has of the origin; the cursor before.
    fn read_head(&mut self, head: &Fold) -> Option<Cursor> {
        let held = head.origin(&self.origin);
        self.needs_sync = held.is_some_and(Origin::needs_sync);
        std::mem::replace(&mut self.cursor, held.map(|origin| origin.cursor))
    }

    /// Takes a range from the link; none where it is not the next one, and another report says so.
    ///
    /// # Errors
    /// [`Violation`]: the session is to end with it as the reason.
    pub fn handle_range(&mut self, now: Now, frame: RangeFrame) -> Result<Option<Taken>, Violation> {
        if frame.generation < self.generation {
            return Ok(None);
        }
        if frame.generation > self.generation {
            return Err(Violation::Generation {
                current: self.generation,
                found: frame.generation,
            });
        }
        let (range, seal, stages) = check::range(&self.log, &self.origin, &frame)?;
        let (held, cost) = (self.queue.bytes(), frame.cost());
        let window = if self.life.is_some() { self.window } else { 0 };
        if !fits(u64::from(window), held, cost) {
            return Err(Violation::Credit { held, cost, window });
        }
        if !self.follows(&range) {
            return Ok(None);
        }
        let taken = Taken {
            through: range.through.sequence,
            codec: seal.codec,
        };
        let stages = self.received(now, stages);
        self.hold_range(now, Held::new(range, seal, stages, frame.body, cost));
        self.look_at_clock(now);
        Ok(Some(taken))
    }

    /// Whether a range comes after the last one, or after the cursor. If it does not, does what is to be done.
    fn follows(&mut self, range: &Range) -> bool {
        let last = self.queue.last().and_then(|held| held.range.end());
        let standing = range.standing(last.or(self.cursor));
        match standing {
            Standing::OlderLife => self.refuse(Hold::OlderLife),
            Standing::UnknownLineage => self.refuse(Hold::UnknownLineage),
            Standing::Next => self.refused = None,
            Standing::Covered { .. } => (self.refused, self.ack_due) = (None, true),
            Standing::Elsewhere { .. } | Standing::OtherHistory => {
                self.refused = None;
                self.reset(ResetReason::NotNext);
            }
        }
        standing == Standing::Next
    }

    /// Nothing of the lane is taken as it is; its sender is told the cursor and why.
    fn refuse(&mut self, hold: Hold) {
        self.reset(ResetReason::Refused);
        self.refused = Some(hold);
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

    fn hold_range(&mut self, now: Now, mut held: Held) {
        if let Err(unusable) = check::body(&held.seal, &self.origin, &held.body) {
            let body = held.become_gap();
            self.undecodable(now, &held.range, unusable.to_string(), body);
        }
        self.queue.push(held);
    }

    fn undecodable(&mut self, now: Now, range: &Range, detail: String, body: Bytes) {
        let entry = Entry::of_range(&self.log, now.wall, range, detail, body);
        self.events
            .push_back(ReceivingEvent::Undecodable(Box::new(entry)));
    }

    /// Takes what the fold at the head of the own log says of its next message; `head` is that fold after it. What lies behind
    /// what was read of the same life before, as when a reader starts again, says nothing new and is ignored.
    pub fn handle_read_back(&mut self, now: Now, header: Option<&Header>, verdict: &Verdict, head: &Fold) {
        if head.lineage().current() == self.life && head.at().sequence < self.head {
            return;
        }
        let record = header.map(|header| &header.record);
        match (verdict, record) {
            (Verdict::Stop { .. }, _) => self.handle_stopped(),
            (Verdict::Void(_), Some(Record::Range(range) | Record::Gap(range)))
                if range.origin == self.origin =>
            {
                self.queue.void(now.mono, range);
            }
            _ => {}
        }
        self.handle_head(now, head);
    }

    /// Takes the fold at the end of the own log. To be called when a reader that started again has come to the end: what the
    /// log has lost shows there.
    pub fn handle_head(&mut self, now: Now, head: &Fold) {
        let life = head.lineage().current();
        self.head = head.at().sequence;
        let before = self.read_head(head);
        if std::mem::replace(&mut self.life, life) != life {
            return self.reset(ResetReason::NewLife);
        }
        if self.cursor == before {
            return;
        }
        (self.unanswered, self.full) = (0, false);
        let order =
            |cursor: Option<Cursor>| cursor.map(|cursor| (cursor.position.life, cursor.position.sequence));
        if order(self.cursor) < order(before) {
            return self.reset(ResetReason::CursorMoved);
        }
        self.release();
        self.look_at_clock(now);
    }

    /// Drops what the cursor covers. What is left must begin at the cursor.
    fn release(&mut self) {
        while let Some(held) = self.queue.first() {
            match held.range.standing(self.cursor) {
                Standing::Covered { .. } => self.queue.pop(),
                Standing::Next => return,
                _ => return self.reset(ResetReason::CursorMoved),
            }
        }
    }

    fn reset(&mut self, reason: ResetReason) {
        self.queue.clear();
        self.generation += 1;
        self.reset_due = true;
        (self.refused, self.clock_held, self.clock_due) = (None, false, None);
        self.events.push_back(ReceivingEvent::Reset {
            generation: self.generation,
            reason,
        });
    }

    /// An append was answered with a sequence. Only reading back makes it count.
    pub fn handle_appended(&mut self, _now: Now, _id: AppendId) {
        (self.unanswered, self.full) = (0, false);
    }

    /// An append was not answered with a sequence.
    pub fn handle_append_failed(&mut self, now: Now, id: AppendId, failure: AppendFailure) {
        let pause = match failure {
            AppendFailure::Unanswered => {
                self.unanswered = self.unanswered.saturating_add(1);
                limits::APPEND_RETRY
            }
            AppendFailure::Full => {
                self.full = true;
                limits::PROBE_INTERVAL
            }
            AppendFailure::TooLarge => Duration::ZERO,
        };
        let Some(held) = self.queue.failed(now.mono, id, pause) else {
            return;
        };
        if failure == AppendFailure::TooLarge && !held.gap {
            let (range, body) = (held.range.clone(), held.become_gap());
            let reason = "larger than this region's NATS takes: raise its max_payload".to_owned();
            self.undecodable(now, &range, reason, body);
        }
    }

    /// How far all live agents of this region have applied the origin's log.
    pub fn handle_applied(&mut self, applied: Option<AppliedThrough>) {
        self.applied = applied;
    }

    /// The origin's clock, as the session's pings say.
    pub fn handle_origin_clock(&mut self, clock: Option<ClockEstimate>) {
        self.origin_clock = clock;
    }

    /// Stamps ahead of this region's clock wait; beyond `max_offset` that is said.
    fn look_at_clock(&mut self, now: Now) {
        let ahead = self.queue.ahead(now.wall).map(|held| {
            Duration::from_millis(
                held.range
                    .highest_stamp
                    .millis()
                    .saturating_sub(now.wall.millis()),
            )
        });
        self.clock_held = ahead.is_some_and(|ahead| ahead > self.max_offset);
        self.clock_due = ahead.map(|ahead| now.mono.after(ahead.min(limits::CLOCK_RECHECK)));
    }

    /// The next message to append to the own log.
    pub fn poll_append(&mut self, now: Now) -> Option<Append> {
        self.look_at_clock(now);
        if self.stopped || self.life.is_none() {
            return None;
        }
        let most = self.most_appends();
        let (id, held) = self.queue.append(now, most)?;
        Some(Append {
            id,
            token: if held.gap {
                Token::Gateway
            } else {
                Token::Origin(self.origin.clone())
            },
            header: held.header(&self.log),
            body: held.body.clone(),
        })
    }

    /// While the log answers nothing one range is enough to learn when it does again.
    fn most_appends(&self) -> usize {
        let answers = self.unanswered < limits::UNANSWERED_APPENDS && !self.full;
        if answers { limits::LANE_APPENDS } else { 1 }
    }

    /// The Ack or Reset to write, when there is something new to say.
    pub fn poll_report(&mut self) -> Option<Frame> {
        let report = self.report();
        if !self.reset_due && !self.ack_due && self.told.as_ref() == Some(&report) {
            return None;
        }
        let before = self.told.as_ref().and_then(|told| told.hold);
        if before != report.hold {
            self.events.push_back(ReceivingEvent::Held(report.hold));
        }
        self.told = Some(report.clone());
        self.ack_due = false;
        Some(if std::mem::take(&mut self.reset_due) {
            Frame::Reset(report)
        } else {
            Frame::Ack(report)
        })
    }

    /// The next thing that the shell must know.
    pub fn poll_event(&mut self) -> Option<ReceivingEvent> {
        self.events.pop_front()
    }

    /// Does what is due; then [`Receiving::poll_append`] has what is to be appended.
    pub fn handle_timeout(&mut self, now: Now) {
        self.look_at_clock(now);
    }

    /// The next deadline, and which it is. `now.wall` decides which ranges may be appended at all.
    #[must_use]
    pub fn poll_timeout(&self, now: Now) -> Option<(Mono, Deadline)> {
        let append = self.queue.due(now.wall, self.most_appends());
        let append = append.filter(|_| !self.stopped && self.life.is_some());
        let clock = self.clock_due.map(|at| (at, Deadline::Clock));
        append
            .map(|at| (at, Deadline::Append))
            .into_iter()
            .chain(clock)
            .min()
    }

    /// Why nothing is appended for the moment.
    #[must_use]
    pub fn hold(&self) -> Option<Hold> {
        let told = [
            (self.stopped, Hold::UpgradeNeeded),
            (self.life.is_none(), Hold::Starting),
            (self.full, Hold::LogFull),
            (
                self.unanswered >= limits::UNANSWERED_APPENDS,
                Hold::LogNotWritable,
            ),
            (self.clock_held, Hold::Clock),
        ];
        let held = told.into_iter().find_map(|(held, hold)| held.then_some(hold));
        held.or(self.refused)
    }

    /// Through where the own log holds the origin's.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.cursor
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
