//! What a sending lane has read and not yet sent, cut into ranges.
//!
//! A range takes all sequences from where the last one ended through a record that carries an own stamp; what follows that
//! record waits for the next such record, so that two regions do not answer each other's ranges for ever. It is closed when
//! the next body would make it too large, or when it is asked for.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::coordinates::{Anchor, Sequence};
use crate::header::{BodySeal, Header, StageTimes};
use crate::hlc::Hlc;
use crate::limits;
use crate::time::Mono;

/// Where a range may end: what the fold said at a record with an own stamp.
#[derive(Debug, Clone)]
pub struct End {
    /// The record.
    pub through: Anchor,
    /// The log's own highest stamp there.
    pub highest_stamp: Hlc,
    /// When it passed each stage so far.
    pub stages: StageTimes,
}

/// A range that may be sent.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The log's message right before it.
    pub after: Anchor,
    /// Its end.
    pub end: End,
    /// Its body.
    pub body: Bytes,
    /// The seal of its body.
    pub seal: BodySeal,
}

#[derive(Debug, Default)]
struct Open {
    bodies: Vec<Bytes>,
    bytes: usize,
    changes: u32,
    end: Option<End>,
    began: Mono,
}

#[derive(Debug)]
pub struct Outbox {
    after: Anchor,
    open: Open,
    ready: VecDeque<Ready>,
    ready_bytes: usize,
}

impl Outbox {
    /// The first range begins after `after`, whose message [`Outbox::begin_after`] tells once it is known.
    pub fn new(after: Sequence) -> Self {
        Self {
            after: Anchor {
                sequence: after,
                ..Anchor::default()
            },
            open: Open::default(),
            ready: VecDeque::new(),
            ready_bytes: 0,
        }
    }

    /// The log's message right before the first range.
    pub fn begin_after(&mut self, after: Anchor) {
        self.after = after;
    }

    /// Takes an accepted record with an own stamp; `body` is empty unless it carries own changes. One that the receiver has
    /// already is left out.
    pub fn push(&mut self, now: Mono, end: End, header: &Header, body: &Bytes) {
        if end.through.sequence <= self.after.sequence {
            return;
        }
        let changes = if body.is_empty() { 0 } else { header.body.changes };
        let too_large = self.open.bytes + body.len() > limits::MESSAGE_BODY_BYTES
            || (self.open.changes as usize).saturating_add(changes as usize) > limits::MESSAGE_CHANGES;
        if too_large && !body.is_empty() {
            self.close();
        }
        if self.open.end.is_none() {
            self.open.began = now;
        }
        self.open.end = Some(end);
        if !body.is_empty() {
            self.open.bytes += body.len();
            self.open.changes = self.open.changes.saturating_add(changes);
            self.open.bodies.push(body.clone());
        }
        if self.open.bytes >= limits::MESSAGE_BODY_BYTES {
            self.close();
        }
    }

    /// The receiver has everything through `held`, a message of the log, from whomever. Ranges that end there or before are
    /// dropped; one that spans it stays, and the receiver begins the lane again when it comes.
    pub fn skip_through(&mut self, held: Anchor) {
        while self
            .ready
            .front()
            .is_some_and(|range| range.end.through.sequence <= held.sequence)
        {
            self.pop();
        }
        let open_end = self.open.end.as_ref().map(|end| end.through.sequence);
        if open_end.is_some_and(|end| end <= held.sequence) {
            self.open = Open::default();
        }
        if !self.has_work() && self.after.sequence < held.sequence {
            self.after = held;
        }
    }

    fn close(&mut self) {
        let Some(end) = self.open.end.take() else { return };
        let open = std::mem::take(&mut self.open);
        let body = join(open.bodies, open.bytes);
        let after = std::mem::replace(&mut self.after, end.through);
        self.ready_bytes += body.len();
        self.ready.push_back(Ready {
            after,
            end,
            seal: BodySeal::of(&body, open.changes),
            body,
        });
    }

    /// The range to send next. One that is not full is held back while `now` is before [`Outbox::due`].
    pub fn front(&mut self, now: Mono, idle: bool) -> Option<&Ready> {
        if self.ready.is_empty()
            && self.open.end.is_some()
            && (idle || self.due().is_some_and(|due| due <= now))
        {
            self.close();
        }
        self.ready.front()
    }

    /// Removes what [`Outbox::front`] gave.
    pub fn pop(&mut self) {
        if let Some(range) = self.ready.pop_front() {
            self.ready_bytes -= range.body.len();
        }
    }

    /// Until when a range that is not full is held back; none if there is none, or a full one is ready.
    pub fn due(&self) -> Option<Mono> {
        let waits = self.ready.is_empty() && self.open.end.is_some();
        waits.then(|| self.open.began.after(limits::GROUP_FORWARD))
    }

    /// Whether there is anything to send, now or in a moment.
    pub fn has_work(&self) -> bool {
        !self.ready.is_empty() || self.open.end.is_some()
    }

    /// Bytes of bodies held.
    pub fn bytes(&self) -> usize {
        self.ready_bytes + self.open.bytes
    }
}

/// Bodies concatenate.
fn join(mut bodies: Vec<Bytes>, bytes: usize) -> Bytes {
    if bodies.len() == 1 {
        return bodies.swap_remove(0);
    }
    let mut joined = BytesMut::with_capacity(bytes);
    bodies.iter().for_each(|body| joined.extend_from_slice(body));
    joined.freeze()
}
