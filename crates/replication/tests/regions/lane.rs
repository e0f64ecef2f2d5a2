//! A lane of the model: one gateway's sending machine, its current session, and the receiving
//! machine at the other end.

use std::collections::VecDeque;

use bytes::Bytes;
use isthmus_replication::coordinates::{Anchor, Cursor, MessageId, Sequence};
use isthmus_replication::fold::{Fold, Message};
use isthmus_replication::limits::MAX_OFFSET;
use isthmus_replication::link::frame::Frame;
use isthmus_replication::receiving::{Append, Receiving};
use isthmus_replication::sending::{LaneEvent, ReaderFailure, ReaderOrder, Sending};
use isthmus_replication::time::{Mono, Now};

use super::region::Region;

/// Small, so that credit runs out.
pub(crate) const WINDOW: u32 = 3000;

pub(crate) struct LaneSession {
    pub number: u64,
    pub gateway: usize,
    pub receiving: Receiving,
    there: VecDeque<Bytes>,
    back: VecDeque<Bytes>,
}

struct Reader {
    run: u64,
    at: Anchor,
}

pub(crate) struct Lane {
    pub from: usize,
    pub gateway: usize,
    pub to: usize,
    pub session: Option<LaneSession>,
    sending: Sending,
    reader: Option<Reader>,
    sessions: u64,
    /// The peer's cursor if the log has another message there.
    pub suspects: Option<Cursor>,
}

pub(crate) fn now(region: &Region, now_ms: u64) -> Now {
    Now {
        mono: Mono::from_nanos(now_ms * 1_000_000),
        wall: region.wall(now_ms),
    }
}

impl Lane {
    pub(crate) fn new(from: usize, gateway: usize, to: usize, origin: &Region) -> Self {
        Self {
            from,
            gateway,
            to,
            session: None,
            sending: Sending::new(origin.name.clone()),
            reader: None,
            sessions: 0,
            suspects: None,
        }
    }

    /// The gateway has read the head of its log.
    pub(crate) fn head(&mut self, origin: &Region, head: &Fold, now_ms: u64) {
        self.sending.handle_head(now(origin, now_ms), head);
    }

    pub(crate) fn connect(
        &mut self,
        origin: &Region,
        target: &Region,
        head: &Fold,
        gateway: usize,
        now_ms: u64,
    ) {
        if self.session.is_some() || head.lineage().current().is_none() {
            return;
        }
        let mut receiving = Receiving::new(target.name.clone(), origin.name.region.clone(), MAX_OFFSET, head)
            .with_window(WINDOW);
        self.sending
            .handle_welcome(now(origin, now_ms), &receiving.poll_welcome());
        self.sessions += 1;
        self.session = Some(LaneSession {
            number: self.sessions,
            gateway,
            receiving,
            there: VecDeque::new(),
            back: VecDeque::new(),
        });
    }

    /// Drops everything on the wire.
    pub(crate) fn cut(&mut self, origin: &Region, now_ms: u64) {
        if self.session.take().is_some() {
            self.sending.handle_disconnected(now(origin, now_ms));
        }
    }

    /// Reads up to `messages` and sends everything that may leave. Returns whether anything
    /// happened.
    pub(crate) fn send(&mut self, origin: &Region, messages: usize, now_ms: u64) -> bool {
        let now = now(origin, now_ms);
        let mut moved = false;
        self.sending.handle_timeout(now);
        while let Some(order) = self.sending.poll_reader() {
            self.order(order, origin, now);
            moved = true;
        }
        for _ in 0..messages {
            moved |= self.read(origin, now);
        }
        while let Some(frame) = self.sending.poll_transmit(now) {
            let credit = self.sending.credit();
            assert!(
                credit.used() <= u64::from(WINDOW) || credit.under_way() == 1,
                "credit exceeded: {credit:?}"
            );
            if let Some(session) = &mut self.session {
                session.there.push_back(Frame::Range(frame).encode());
            }
            moved = true;
        }
        while let Some(event) = self.sending.poll_event() {
            match event {
                LaneEvent::NeedsSync(_) => panic!("{event:?} in a model that trims nothing"),
                LaneEvent::LifeSuspected { cursor, .. } => self.suspects = Some(cursor),
                _ => {}
            }
        }
        moved
    }

    /// Starts the reader as crates/log does: from a kept state at or before `at_most`.
    fn order(&mut self, order: ReaderOrder, origin: &Region, now: Now) {
        self.reader = None;
        let ReaderOrder::Start { run, at_most } = order else {
            return;
        };
        let at_most = origin.log.len().min(at_most.0 as usize);
        let fold = origin.fold(at_most / 7 * 7);
        self.reader = Some(Reader { run, at: fold.at() });
        self.sending.handle_reader_started(now, run, fold);
    }

    fn read(&mut self, origin: &Region, now: Now) -> bool {
        let Some(reader) = self.reader.as_mut().filter(|_| self.sending.wants_messages()) else {
            return false;
        };
        let run = reader.run;
        if !origin.holds(reader.at) {
            self.reader = None;
            self.sending
                .handle_reader_failed(now, run, ReaderFailure::TailLost);
            return true;
        }
        let Some(stored) = origin.log.get(reader.at.sequence.0 as usize) else {
            return false;
        };
        let header = stored.header();
        reader.at = Anchor {
            sequence: reader.at.sequence.next(),
            message_id: header.message_id(),
        };
        let message = Message {
            sequence: reader.at.sequence,
            timestamp: stored.at,
            token: Some(&stored.token),
            header: Ok(&header),
        };
        self.sending.handle_message(now, run, message, &stored.body);
        true
    }

    /// Delivers up to `frames` at each end, and returns the messages to append.
    pub(crate) fn deliver(
        &mut self,
        origin: &Region,
        target: &Region,
        frames: usize,
        now_ms: u64,
    ) -> Delivered {
        let mut delivered = Delivered::default();
        let Some(session) = &mut self.session else {
            return delivered;
        };
        let there = now(target, now_ms);
        for _ in 0..frames {
            let Some(bytes) = session.there.pop_front() else {
                break;
            };
            let Ok(Frame::Range(range)) = Frame::decode(bytes) else {
                panic!("not a range")
            };
            session
                .receiving
                .handle_range(there, range)
                .expect("an honest peer violates nothing");
            delivered.moved = true;
        }
        session.receiving.handle_timeout(there);
        while let Some(append) = session.receiving.poll_append(there) {
            delivered.appends.push(append);
        }
        let held = session.receiving.held_bytes();
        assert!(
            held <= u64::from(WINDOW) || session.receiving.has_work(),
            "{held} bytes held"
        );
        while let Some(report) = session.receiving.poll_report() {
            session.back.push_back(report.encode());
        }
        while session.receiving.poll_event().is_some() {}
        let here = now(origin, now_ms);
        for _ in 0..frames {
            let Some(bytes) = session.back.pop_front() else {
                break;
            };
            match Frame::decode(bytes) {
                Ok(Frame::Ack(report)) => self.sending.handle_ack(here, &report),
                Ok(Frame::Reset(report)) => self.sending.handle_reset(here, &report),
                other => panic!("not a report: {other:?}"),
            }
            delivered.moved = true;
        }
        delivered.moved |= !delivered.appends.is_empty();
        delivered
    }

    /// The state of both machines, for a failure's message.
    pub(crate) fn describe(&self) -> String {
        let held = self
            .session
            .as_ref()
            .map(|session| (session.receiving.hold(), session.receiving.cursor()));
        let reader = self
            .reader
            .as_ref()
            .map_or(Sequence::NONE, |reader| reader.at.sequence);
        format!(
            "{}.{} -> {}: {:?}, {:?}, cursor {:?}, reader at {reader}, receiver {held:?}",
            self.from,
            self.gateway,
            self.to,
            self.sending.state(),
            self.sending.credit(),
            self.sending.cursor(),
        )
    }
}

#[derive(Default)]
pub(crate) struct Delivered {
    pub moved: bool,
    pub appends: Vec<Append>,
}

/// A message before every message.
pub(crate) const NOWHERE: Anchor = Anchor {
    sequence: Sequence::NONE,
    message_id: MessageId(0),
};
