//! How a message ends: what its writes are told, and what is forgotten with it.

use super::flight::{Flight, FlightWrite};
use super::{
    Accepted, Deadline, Event, Failure, Fold, Hlc, Mono, Now, Outcome, Position, Ticket, Verdict, Void,
    Writer,
};
use crate::limits;
use crate::planted::{self, Planted};

impl Writer {
    /// Takes note of every stamp that the fold has accepted.
    pub(super) fn observe_all(&mut self, fold: &Fold) {
        self.observe_stamp(fold.highest_stamp());
        for (_, origin) in fold.origins() {
            self.observe_stamp(origin.highest_stamp);
        }
        self.clock_limits = fold.membership().map_or_else(Default::default, |held| held.clock);
    }

    pub(super) fn observe(&mut self, fold: &Fold, verdict: &Verdict) {
        self.observe_stamp(fold.highest_stamp());
        match verdict {
            Verdict::Accepted(Accepted::Range { origin, .. }) => {
                self.observe_stamp(fold.origin(origin).map_or(Hlc::ZERO, |held| held.highest_stamp));
            }
            Verdict::Accepted(Accepted::Membership { .. }) => {
                self.clock_limits = fold.membership().map_or_else(Default::default, |held| held.clock);
            }
            _ => {}
        }
    }

    fn observe_stamp(&mut self, stamp: Hlc) {
        if planted::is(Planted::StampsIgnoreApplied) {
            return;
        }
        self.binding = self.binding.max(stamp);
        self.clock.observe(stamp);
    }

    pub(super) fn accepted(&mut self, at: usize, position: Position, superseded: &[bool]) {
        let flight = self.end(at);
        if flight.is_barrier() {
            if !self.ready {
                self.ready = true;
                self.events.push_back(Event::Ready);
            }
            return;
        }
        let applied = superseded.len() == flight.writes.len();
        for (place, write) in flight.writes.into_iter().enumerate() {
            let version = write.version.clone();
            let outcome = if applied {
                Outcome::Accepted {
                    version,
                    position,
                    superseded: superseded[place],
                }
            } else {
                Outcome::Unknown { version }
            };
            self.tell(write, outcome);
        }
    }

    /// [`planted::Planted::AcknowledgedEarly`]: as if the message had been read back at `position`.
    #[cfg(feature = "planted")]
    pub fn acknowledge_early(&mut self, message_id: crate::coordinates::MessageId, position: Position) {
        if let Some(at) = self
            .flights
            .iter()
            .position(|flight| flight.message_id == message_id)
        {
            let superseded = vec![false; self.flights[at].writes.len()];
            self.accepted(at, position, &superseded);
        }
    }

    pub(super) fn void(&mut self, now: Now, at: usize, void: Void) {
        if self.flights[at].is_barrier() && !self.ready {
            self.events.push_back(Event::BarrierVoid(void));
        }
        self.ahead |= void == Void::ClockAhead;
        if void == Void::NoLife && !self.flights[at].is_barrier() {
            // The fold keeps no identifier before the first life of a log that was made anew: another copy may count after it.
            return self.flights[at].unanswered(now.mono);
        }
        self.fail(now, at, Failure::Void(void));
    }

    pub(super) fn fail(&mut self, now: Now, at: usize, failure: Failure) {
        if self.flights[at].is_barrier() && !self.ready {
            self.barrier_from = Some(now.mono.after(limits::APPEND_RETRY));
        }
        for write in self.end(at).writes {
            self.tell(write, Outcome::Failed(failure));
        }
    }

    pub(super) fn listen(&mut self, now: Now) {
        if self.silence.is_long() && self.probe_at.is_none() {
            self.probe_at = Some(now.mono.after(limits::PROBE_INTERVAL));
            self.events.push_back(Event::NotWritable);
            while let Some(queued) = self.queue.pop_unsent() {
                self.held_bytes -= queued.bytes;
                self.outcomes
                    .push_back((queued.ticket, Outcome::Failed(Failure::LogNotWritable)));
            }
        }
    }

    pub(super) fn answered(&mut self) {
        self.silence.answered();
        if self.probe_at.take().is_some() {
            self.events.push_back(Event::Writable);
            if self.ready {
                self.barrier_from = None;
            }
        }
    }

    /// A log that is not writable needs a message to learn when it is: a barrier, if nothing else is being sent.
    pub(super) fn want_probe(&mut self) {
        let sends = self.barrier_from.is_some() || self.flights.iter().any(Flight::is_active);
        if let Some(at) = self.probe_at.filter(|_| !sends) {
            self.barrier_from = Some(at);
        }
    }

    /// The write's client goes; the message stays as long as another client wants it.
    pub(super) fn overdue_in_flight(&mut self, ticket: Ticket) {
        let writes = self.flights.iter_mut().flat_map(|flight| &mut flight.writes);
        for write in writes.filter(|write| write.ticket == ticket) {
            write.open = false;
            let version = write.version.clone();
            self.outcomes.push_back((ticket, Outcome::Unknown { version }));
        }
    }

    pub(super) fn drop_closed_flights(&mut self) {
        while let Some(at) = self.flights.iter().position(|flight| !flight.is_wanted()) {
            self.binding = self.binding.max(self.flights[at].highest);
            self.end(at);
        }
    }

    pub(super) fn flight_timeout(&self, flight: &Flight) -> Option<(Mono, Deadline)> {
        if let Some(by) = flight.answer_by() {
            return Some((by, Deadline::Answer));
        }
        let from = flight.send_from()?;
        Some(match self.probe_at {
            Some(at) => (at.max(from), Deadline::Probe),
            None => (from, Deadline::Retry),
        })
    }

    fn end(&mut self, at: usize) -> Flight {
        let flight = self.flights.remove(at);
        self.held_bytes -= flight.bytes;
        for write in &flight.writes {
            if self
                .newest_own
                .get(&write.id)
                .is_some_and(|(version, _)| *version == write.version)
            {
                self.newest_own.remove(&write.id);
            }
        }
        self.spread = false;
        if self.ahead && self.flights.is_empty() {
            self.ahead = false;
            self.clock = crate::hlc::Clock::default();
            self.clock.observe(self.binding);
        }
        flight
    }

    fn tell(&mut self, write: FlightWrite, outcome: Outcome) {
        if planted::is(Planted::LostOutcome) && write.version.hlc.millis().is_multiple_of(8) {
            return;
        }
        if write.open {
            self.queue.close(write.deadline, write.ticket);
            self.outcomes.push_back((write.ticket, outcome));
        }
    }
}
