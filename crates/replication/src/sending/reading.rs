//! What a sending lane does with what its reader finds.

use bytes::Bytes;

use super::outbox::End;
use super::{LaneEvent, Reader, ReaderFailure, ReaderOrder, Sending, Stall, SyncReason};
use crate::coordinates::{Anchor, Cursor, Sequence};
use crate::fold::{Accepted, Fold, Message, Verdict};
use crate::header::Header;
use crate::limits;
use crate::planted::{self, Planted};
use crate::time::Now;

impl Sending {
    /// The reader of `run` begins after `fold`, the state of the mark that it starts from or [`Fold::new`].
    pub fn handle_reader_started(&mut self, now: Now, run: u64, fold: Fold) {
        if run != self.run || !matches!(self.reader, Reader::Asked) {
            return;
        }
        let Some(start) = self.start else { return };
        let first = fold.at().sequence;
        if first > start.shared || fold.log() != &self.log {
            let cursor = start.shared;
            return self.need_sync(SyncReason::Trimmed { cursor, first });
        }
        self.moved = now.mono;
        self.unapplied.read_from(first, fold.own_appended());
        self.reader = Reader::Running(Box::new(fold));
        self.check_cursor(now);
    }

    /// The reader of `run` ended, or could not be started.
    pub fn handle_reader_failed(&mut self, now: Now, run: u64, failure: ReaderFailure) {
        if run != self.run || matches!(self.reader, Reader::None) {
            return;
        }
        let shared = self.start.map_or(Sequence::NONE, |start| start.shared);
        match failure {
            ReaderFailure::Trimmed { first } => self.need_sync(SyncReason::Trimmed {
                cursor: shared,
                first,
            }),
            ReaderFailure::TailLost => {
                self.begin(now);
                self.fail(now);
            }
            ReaderFailure::Unavailable => self.fail(now),
        }
    }

    fn fail(&mut self, now: Now) {
        self.order = Some(ReaderOrder::Stop);
        self.reader = Reader::Failed(now.mono.after(limits::READER_RETRY));
    }

    /// Takes the next message of the reader of `run`. Messages of another run are ignored; a message that does not follow the last
    /// one begins the lane again.
    pub fn handle_message(&mut self, now: Now, run: u64, message: Message<'_>, body: &Bytes) {
        if run != self.run {
            return;
        }
        let Reader::Running(fold) = &mut self.reader else {
            return;
        };
        match fold.apply(message) {
            Err(_) => self.begin(now),
            Ok(Verdict::Stop { what, number }) => {
                self.stop_reading(Stall::UpgradeNeeded { what, number });
                self.events.push_back(LaneEvent::UpgradeNeeded { what, number });
            }
            Ok(Verdict::Void(_)) => self.check_cursor(now),
            Ok(Verdict::Accepted(Accepted::Life(_))) => self.new_life(now),
            Ok(Verdict::Accepted(accepted)) => {
                if accepted.carries_own_stamp()
                    && let Ok(header) = message.header
                {
                    self.own_record(now, &accepted, header, message, body);
                }
                self.check_cursor(now);
            }
        }
        if self.is_catching_up() {
            self.moved = now.mono;
        }
    }

    /// What was read of the log's own becomes part of a range if the peer does not have it.
    fn own_record(
        &mut self,
        now: Now,
        accepted: &Accepted,
        header: &Header,
        message: Message<'_>,
        body: &Bytes,
    ) {
        let (Reader::Running(fold), Some(start)) = (&self.reader, self.start) else {
            return;
        };
        let through = fold.at();
        self.unapplied.read(through.sequence, message.timestamp);
        if through.sequence <= start.shared {
            return;
        }
        self.records.read(through);
        let mut stages = header.stages;
        stages.appended = fold.own_appended().micros();
        stages.oldest_appended = stages.appended;
        stages.read = now.wall.micros();
        let end = End {
            through,
            highest_stamp: fold.highest_stamp(),
            stages,
        };
        let sealed = accepted.carries_own_changes() && header.body.check(body).is_ok();
        if accepted.carries_own_changes() && !sealed {
            self.events.push_back(LaneEvent::BrokenSeal(through));
        }
        let carried = if sealed { body.clone() } else { Bytes::new() };
        if !self.outbox.has_work() && self.credit.is_idle() {
            self.moved = now.mono;
        }
        self.outbox.push(now.mono, end, header, &carried);
    }

    /// The reader came past a record that begins a life: what it read past the fork, before the log lost its tail, may not be
    /// the log's.
    fn new_life(&mut self, now: Now) {
        let Reader::Running(fold) = &self.reader else {
            return;
        };
        let lineage = fold.lineage().clone();
        if self.learn(&lineage) {
            self.begin(now);
        } else {
            self.check_cursor(now);
        }
    }

    /// At the peer's cursor the log's message must be the peer's.
    fn check_cursor(&mut self, now: Now) {
        let (Reader::Running(fold), Some(start)) = (&self.reader, &mut self.start) else {
            return;
        };
        let at = fold.at();
        if at.sequence != start.shared {
            return;
        }
        match start.check.take() {
            Some(cursor) if differs(cursor, at) => self.suspect(now, cursor, at),
            checked => {
                self.verified = checked.or(self.verified);
                self.outbox.begin_after(at);
            }
        }
    }

    /// The log ends before the peer's cursor, or the reader does not come forward.
    pub(super) fn cursor_ahead(&mut self, now: Now) {
        match (&self.reader, self.cursor) {
            (Reader::Running(fold), Some(cursor)) => {
                let found = fold.at();
                self.suspect(now, cursor, found);
            }
            _ => self.moved = now.mono,
        }
    }

    pub(super) fn is_catching_up(&self) -> bool {
        match (&self.reader, self.start) {
            (Reader::Running(fold), Some(start)) => fold.at().sequence < start.shared,
            _ => false,
        }
    }
}

/// Whether the peer has another message at its cursor than the log has there.
pub(super) fn differs(cursor: Cursor, found: Anchor) -> bool {
    cursor.message_id != found.message_id && !planted::is(Planted::PreviousIgnored)
}
