//! When a sending lane does something of its own accord.

use super::{Deadline, LaneEvent, Reader, Sending};
use crate::limits;
use crate::time::{Mono, Now};

impl Sending {
    /// Does what is due; then [`Sending::poll_transmit`] has what is to be sent.
    pub fn handle_timeout(&mut self, now: Now) {
        let due = |(at, deadline): (Mono, Deadline)| (at <= now.mono).then_some(deadline);
        match self.poll_timeout().and_then(due) {
            Some(Deadline::Flush) if self.link_full => self.outbox.close_open(now.mono),
            None | Some(Deadline::Flush) => {}
            Some(Deadline::Behind) => self.outbox.fall_behind(now.mono),
            Some(Deadline::Retry) => self.begin(now),
            Some(Deadline::CursorAhead) => self.cursor_ahead(now),
            Some(Deadline::Progress) => {
                self.moved = now.mono;
                self.events.push_back(LaneEvent::NoProgress);
            }
        }
    }

    /// The next deadline, and which it is.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Mono, Deadline)> {
        let sends = self.receiver.is_some() && !self.paused && self.stall.is_none();
        let flush = self
            .outbox
            .due(&self.credit)
            .filter(|_| sends && !(self.link_full && self.outbox.is_behind()));
        let retry = match self.reader {
            Reader::Failed(until) => Some(until),
            _ => None,
        };
        let ahead = (self.is_catching_up()).then(|| self.moved.after(limits::CURSOR_AHEAD));
        let progress = self.is_owing().then(|| self.moved.after(limits::LANE_PROGRESS));
        [
            flush.map(|at| (at, Deadline::Flush)),
            self.outbox.behind_at().map(|at| (at, Deadline::Behind)),
            retry.map(|at| (at, Deadline::Retry)),
            ahead.map(|at| (at, Deadline::CursorAhead)),
            progress.map(|at| (at, Deadline::Progress)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether the peer's cursor should move.
    fn is_owing(&self) -> bool {
        let held = self.receiver.is_none_or(|receiver| receiver.hold.is_some());
        let work = !self.credit.is_idle() || self.outbox.has_work();
        work && !held && !self.paused && self.stall.is_none()
    }
}
