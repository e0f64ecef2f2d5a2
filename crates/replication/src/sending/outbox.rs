//! Records that a sending lane has read and not yet sent, cut into ranges.
//!
//! A range takes all sequences from the end of the previous range through a record that carries an
//! own stamp. What follows that record waits for the next such record, so that two regions do not
//! answer each other's ranges forever. A range is closed when the next body would make it too
//! large, or on request.
//!
//! Stored bodies pass through unchanged while ranges leave. Once a closed range has not left for
//! [`limits::LANE_BEHIND`], everything held becomes one window ([`super::conflation`]), and later
//! records join it. This ends when everything has left and the path is fast enough for the records
//! as they are read.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::conflation::Window;
use crate::body;
use crate::coordinates::{Anchor, Sequence};
use crate::credit::Credit;
use crate::fold::LogName;
use crate::header::{BodySeal, Header, Lineage, Range, Record, StageTimes};
use crate::hlc::Hlc;
use crate::limits;
use crate::link::lane::RangeFrame;
use crate::names::RegionName;
use crate::planted::{self, Planted};
use crate::time::{Mono, Wall};

/// An upper bound of a header's share of the credit, until the header is made.
const HEADER_COST: u64 = 1024;

/// Where a range may end: the fold's state at a record with an own stamp.
#[derive(Debug, Clone)]
pub(super) struct End {
    /// The record.
    pub through: Anchor,
    /// The log's own highest stamp there.
    pub highest_stamp: Hlc,
    /// The log's own admission floor there.
    pub admission_floor: Hlc,
    /// Its stage times so far.
    pub stages: StageTimes,
}

/// A range that may be sent.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    /// The log's message directly before it.
    pub after: Anchor,
    pub end: End,
    pub body: Bytes,
    pub seal: BodySeal,
    since: Mono,
}

/// What was saved while the lane was behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spared {
    /// Changes that were left out.
    pub changes: u64,
    /// Bytes of the bodies that were compressed, before compression.
    pub plain_bytes: u64,
    /// The same after compression.
    pub packed_bytes: u64,
}

impl Ready {
    /// The frame of this range when it leaves at `sent` by the clock of `log`.
    pub(super) fn frame(&self, log: &LogName, lineage: &Lineage, generation: u64, sent: Wall) -> RangeFrame {
        let mut shard = log.shard.clone();
        if planted::is(Planted::ShardSwapped) {
            shard.partition ^= 1;
        }
        let header = Header {
            set: log.set.clone(),
            shard,
            record: Record::Range(Range {
                origin: log.region.clone(),
                lineage: lineage.clone(),
                previous: self.after.message_id,
                first: self.after.sequence.next(),
                through: self.end.through,
                highest_stamp: self.end.highest_stamp,
                admission_floor: self.end.admission_floor,
            }),
            body: self.seal,
            stages: StageTimes {
                sent: sent.micros(),
                ..self.end.stages
            },
        };
        RangeFrame {
            shard: log.shard.clone(),
            generation,
            header: header.encode(),
            body: self.body.clone(),
        }
    }
}

impl End {
    /// The end of a range whose earlier records ended at `earlier`. The oldest record determines
    /// the first stage times.
    fn after(self, earlier: Option<Self>) -> Self {
        let Some(earlier) = earlier else { return self };
        let oldest = earlier.stages;
        Self {
            stages: StageTimes {
                requested: oldest.requested,
                published: oldest.published,
                oldest_appended: oldest.oldest_appended,
                ..self.stages
            },
            ..self
        }
    }
}

impl std::ops::Sub for Spared {
    type Output = Self;

    /// What was saved since `before`.
    fn sub(self, before: Self) -> Self {
        Self {
            changes: self.changes - before.changes,
            plain_bytes: self.plain_bytes - before.plain_bytes,
            packed_bytes: self.packed_bytes - before.packed_bytes,
        }
    }
}

#[derive(Debug, Default)]
struct Open {
    bodies: Vec<Bytes>,
    bytes: usize,
    changes: u32,
    end: Option<End>,
    began: Mono,
}

#[derive(Debug, Default)]
struct Behind {
    window: Window,
    end: Option<End>,
    began: Mono,
    /// Bytes of the bodies taken since the window began, as stored.
    stored_bytes: u64,
}

/// The ranges of a lane that have not left.
///
/// Invariant: each ready range begins where the previous one ended. The open range or the window
/// begins at `after`, the end of the last ready range. Only one of the open range and the window is
/// not empty.
#[derive(Debug)]
pub(super) struct Outbox {
    region: RegionName,
    after: Anchor,
    open: Open,
    behind: Option<Behind>,
    ready: VecDeque<Ready>,
    ready_bytes: usize,
    spared: Spared,
}

impl Outbox {
    /// Creates the outbox of `region`'s log. The first range begins after `after`;
    /// [`Outbox::begin_after`] sets the message there once it is known.
    pub(super) fn new(region: RegionName, after: Sequence) -> Self {
        Self {
            region,
            after: Anchor {
                sequence: after,
                ..Anchor::default()
            },
            open: Open::default(),
            behind: None,
            ready: VecDeque::new(),
            ready_bytes: 0,
            spared: Spared::default(),
        }
    }

    /// Drops everything held and starts again after `after`.
    pub(super) fn restart(&mut self, after: Sequence) {
        *self = Self {
            spared: self.spared,
            ..Self::new(self.region.clone(), after)
        };
    }

    /// Sets the log's message directly before the first range.
    pub(super) fn begin_after(&mut self, after: Anchor) {
        self.after = after;
    }

    /// Takes an accepted record with an own stamp; `body` is empty unless the record carries own
    /// changes. A record that the receiver already has is left out.
    pub(super) fn push(&mut self, now: Mono, end: End, header: &Header, body: &Bytes) {
        if end.through.sequence <= self.after.sequence {
            return;
        }
        let changes = if body.is_empty() { 0 } else { header.body.changes };
        if self.behind.is_some() {
            return self.gather(now, end, body.clone(), changes);
        }
        let too_large = self.open.bytes + body.len() > limits::MESSAGE_BODY_BYTES
            || (self.open.changes as usize).saturating_add(changes as usize) > limits::MESSAGE_CHANGES;
        if too_large && !body.is_empty() {
            self.close_open(now);
        }
        if self.open.end.is_none() {
            self.open.began = now;
        }
        self.open.end = Some(end.after(self.open.end.take()));
        if !body.is_empty() {
            self.open.bytes += body.len();
            self.open.changes = self.open.changes.saturating_add(changes);
            self.open.bodies.push(body.clone());
        }
        if self.open.bytes >= limits::MESSAGE_BODY_BYTES {
            self.close_open(now);
        }
    }

    /// Takes consecutive records that end at `end` into the window. A body that can't be decoded
    /// travels unchanged.
    fn gather(&mut self, now: Mono, end: End, body: Bytes, changes: u32) {
        let Ok(decoded) = body::decode(&self.region, body.clone()) else {
            self.close_window(now);
            return self.push_ready(now, end, BodySeal::of(&body, changes), body);
        };
        let next = Window::of(decoded);
        if self
            .behind
            .as_ref()
            .is_some_and(|behind| !behind.window.has_room_for(&next))
        {
            self.close_window(now);
        }
        let behind = self.behind.get_or_insert_default();
        if behind.end.is_none() {
            (behind.began, behind.stored_bytes) = (now, 0);
        }
        behind.stored_bytes += body.len() as u64;
        behind.end = Some(end.after(behind.end.take()));
        behind.window.append(next);
        if behind.window.is_full() {
            self.close_window(now);
        }
    }

    /// A range has waited so long that the lane is behind: everything held is gathered into a
    /// window.
    pub(super) fn fall_behind(&mut self, now: Mono) {
        self.close_open(now);
        let Some(first) = self.ready.front() else { return };
        self.after = first.after;
        self.ready_bytes = 0;
        self.behind = Some(Behind::default());
        for ready in std::mem::take(&mut self.ready) {
            self.gather(now, ready.end, ready.body, ready.seal.changes);
        }
    }

    /// When the lane falls behind unless the first range leaves earlier; none if it is behind
    /// already or no range waits.
    pub(super) fn behind_at(&self) -> Option<Mono> {
        let first = self.ready.front().filter(|_| self.behind.is_none())?;
        Some(first.since.after(limits::LANE_BEHIND))
    }

    /// The receiver has everything through `held`, a message of the log, from any sender. Ranges
    /// that end there or before are dropped. One that spans it stays; the receiver starts the lane
    /// again when that range arrives.
    pub(super) fn skip_through(&mut self, held: Anchor) {
        let is_held = |end: &End| end.through.sequence <= held.sequence;
        while self.ready.front().is_some_and(|range| is_held(&range.end)) {
            self.pop();
        }
        if self.open.end.as_ref().is_some_and(is_held) {
            self.open = Open::default();
        }
        if let Some(behind) = &mut self.behind
            && behind.end.as_ref().is_some_and(is_held)
        {
            *behind = Behind::default();
        }
        if !self.has_work() && self.after.sequence < held.sequence {
            self.after = held;
        }
    }

    /// Whether the held records are gathered into a window.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// Closes the open range, even if it is not full.
    pub(super) fn close_open(&mut self, now: Mono) {
        let Some(end) = self.open.end.take() else { return };
        let open = std::mem::take(&mut self.open);
        let body = join(open.bodies, open.bytes);
        self.push_ready(now, end, BodySeal::of(&body, open.changes), body);
    }

    fn close_window(&mut self, now: Mono) {
        let Some(behind) = &mut self.behind else { return };
        let Some(end) = behind.end.take() else { return };
        let window = std::mem::take(&mut behind.window);
        self.spared.changes += window.left_out();
        let (plain, changes) = window.into_body(&self.region);
        let plain_bytes = plain.len();
        let (seal, body) = body::pack(plain, changes);
        if body.len() < plain_bytes {
            self.spared.plain_bytes += plain_bytes as u64;
            self.spared.packed_bytes += body.len() as u64;
        }
        self.push_ready(now, end, seal, body);
    }

    fn push_ready(&mut self, since: Mono, end: End, seal: BodySeal, body: Bytes) {
        let after = std::mem::replace(&mut self.after, end.through);
        self.ready_bytes += body.len();
        self.ready.push_back(Ready {
            after,
            end,
            body,
            seal,
            since,
        });
    }

    /// The range to send next. A range that is not full is closed when `now` reaches
    /// [`Outbox::due`], or when nothing is under way. [`Outbox::pop_sent`] removes it.
    pub(super) fn poll_ready(&mut self, now: Mono, credit: &Credit) -> Option<&Ready> {
        let due = || self.due(credit).is_some_and(|due| due <= now);
        if self.ready.is_empty() && (due() || (credit.is_idle() && self.may_leave(credit))) {
            self.close_open(now);
            self.close_window(now);
        }
        self.ready.front()
    }

    /// The range that [`Outbox::poll_ready`] returned has left.
    pub(super) fn pop_sent(&mut self, now: Mono, credit: &Credit) {
        self.pop();
        let has_work = self.has_work();
        let carried = |behind: &mut Behind| {
            let within = now.since(behind.began).max(limits::LANE_GATHER);
            !has_work && credit.carries(now, behind.stored_bytes, within)
        };
        self.behind.take_if(carried);
    }

    fn pop(&mut self) {
        if let Some(range) = self.ready.pop_front() {
            self.ready_bytes -= range.body.len();
        }
    }

    /// How long a range that is not full is held back; none if there is none, a full one is ready,
    /// or it could not leave.
    pub(super) fn due(&self, credit: &Credit) -> Option<Mono> {
        let waits = self.ready.is_empty() && self.may_leave(credit);
        waits.then(|| match &self.behind {
            None => self.open.began.after(limits::GROUP_FORWARD),
            Some(behind) => behind.began.after(limits::LANE_GATHER),
        })
    }

    /// Whether a range that is not full may leave. A window stays open until then, since it can
    /// still take in more.
    fn may_leave(&self, credit: &Credit) -> bool {
        match &self.behind {
            None => self.open.end.is_some() && credit.used() < credit.window(),
            Some(behind) => behind.end.is_some() && credit.allows(behind.window.bytes() as u64 + HEADER_COST),
        }
    }

    /// Whether there is anything to send, now or in a moment.
    pub(super) fn has_work(&self) -> bool {
        let gathered = self.behind.as_ref().is_some_and(|behind| behind.end.is_some());
        !self.ready.is_empty() || self.open.end.is_some() || gathered
    }

    /// Bytes of bodies held.
    pub(super) fn bytes(&self) -> usize {
        let gathered = self.behind.as_ref().map_or(0, |behind| behind.window.bytes());
        self.ready_bytes + self.open.bytes + gathered
    }

    /// What was saved so far.
    pub(super) fn spared(&self) -> Spared {
        self.spared
    }
}

fn join(mut bodies: Vec<Bytes>, bytes: usize) -> Bytes {
    if bodies.len() == 1 {
        return bodies.swap_remove(0);
    }
    let mut joined = BytesMut::with_capacity(bytes);
    bodies.iter().for_each(|body| joined.extend_from_slice(body));
    joined.freeze()
}
