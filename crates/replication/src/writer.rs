//! The write path of one process for one shard: from a client's write to its outcome (design.md
//! sections 5 and 6).
//!
//! Problem: the network to the log loses, duplicates and delays publishes. An outcome that a client
//! gets must stay true forever, and a log that does not answer must not collect writes.
//!
//! Sketch: writes wait in a queue. When a message is formed, its changes are stamped, and `seen` is
//! computed from the store and the own messages in flight, at one moment and against one store. The
//! message is sent until it is read back from the log with its verdict; an unanswered message is
//! sent again with the same bytes under the same identifier. Publish acknowledgements are hints:
//! they stop the sending, but never decide an outcome.
//!
//! Invariants:
//!
//! - Accepted means read back as accepted, once.
//! - Failed means that the message does not count and never will: it was read back as void (the
//!   fold keeps its identifier, or its floor has passed it), or no copy of it is or can be in the
//!   log.
//! - Everything else is unknown.
//! - The stamps of a message exceed everything that this process has applied.
//! - Nothing is sent for a client before a barrier has been read back.
//! - The stamps of own messages in flight lie within half of `max_behind`, so that none makes
//!   another void.
//! - At most [`limits::WRITER_BYTES`] and [`limits::WRITER_WRITES`] are held.
//!
//! Failure cases:
//!
//! - The deadline passes first: unknown if a copy may be in the log.
//! - The log is full: failed if no copy can be in it.
//! - The log does not answer: new writes are refused unsent, and one message a second probes the
//!   log.
//! - The log acknowledges a sequence that was already read: a new life is suspected.
//! - The clock ran ahead: void stamps are forgotten, so that fixing the clock fixes the process.
//! - The log was created again and has no life yet: the message is sent again.
//!
//! One case remains: a void message is lost with the log's tail while the network still has a copy
//! of it. The copy may count in the next life although its client was notified of a failure.
//!
//! The parts with their own state: the writes that wait (`queue.rs`), how a message is formed
//! (`form.rs`, with the clock in `stamps.rs`), the messages in flight (`flights.rs`), the barriers
//! (`barriers.rs`), and whether the log is writable (`availability.rs`).

use std::collections::VecDeque;

use crate::change::Op;
use crate::coordinates::{Anchor, MessageId, Position, Sequence, WriterId};
use crate::fold::{Fold, Verdict, Void};
use crate::limits;
use crate::planted::{self, Planted};
use crate::store::Store;
use crate::time::{Mono, Now};

mod append;
mod availability;
mod barriers;
mod flight;
mod flights;
mod form;
mod queue;
mod stamps;
#[cfg(test)]
mod tests;
mod write;

pub use append::{Append, Deadline, Event, PublishError};
pub use write::{Failure, Outcome, Refused, Ticket, Write};

use availability::Availability;
use barriers::Barriers;
use flight::{Flight, FlightWrite};
use flights::Flights;
use form::MessageBuilder;
use queue::Queue;

/// The writer of one process for one shard. See the [module](self) for the algorithm.
///
/// The shell owns the fold and the store. For each message of the log it calls [`Fold::apply`],
/// applies the changes to the store, and calls [`Writer::handle_message`]. Other inputs:
///
/// - from clients: [`Writer::handle_write`];
/// - from the log: [`Writer::handle_published`] and [`Writer::handle_publish_failed`] answer one
///   send of [`Writer::poll_append`]; they may come in any order, late or never;
/// - from the store's recovery: [`Writer::handle_rewind`], before any message is read again;
/// - from the clocks: [`Writer::handle_log_clock`], [`Writer::handle_timeout`].
///
/// After every input, the shell calls [`Writer::handle_timeout`] and polls the outputs in this
/// order, each until it is empty:
///
/// 1. [`Writer::poll_append`], unless the store does not serve. It takes the store to which every
///    message passed to [`Writer::handle_message`] was applied.
/// 2. [`Writer::poll_outcome`]. Each write that was taken gets one outcome. An accepted write is in
///    the store.
/// 3. [`Writer::poll_event`].
///
/// Without input, the shell does the same at [`Writer::poll_timeout`]; [`Deadline`] is what is due
/// then. The deadlines of a client and of an answer need [`Writer::handle_timeout`], the others
/// [`Writer::poll_append`]. A call that comes early changes nothing.
#[derive(Debug)]
pub struct Writer {
    builder: MessageBuilder,
    /// The log was read through this sequence.
    read: Sequence,
    barriers: Barriers,
    availability: Availability,
    queue: Queue,
    flights: Flights,
    outcomes: VecDeque<(Ticket, Outcome)>,
    events: VecDeque<Event>,
}

impl Writer {
    /// Creates the writer of the log that `fold` has read so far, for the process run `writer`.
    /// Message identifiers come from `seed`: 128 random bits, a different seed for each shard. The
    /// writer appends a barrier before anything else.
    #[must_use]
    pub fn new(fold: &Fold, writer: WriterId, seed: u128) -> Self {
        Self {
            builder: MessageBuilder::new(fold, writer, seed),
            read: fold.at().sequence,
            barriers: Barriers::new(),
            availability: Availability::default(),
            queue: Queue::default(),
            flights: Flights::default(),
            outcomes: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Input: the clock that stamps the log is `offset` microseconds ahead of this process's clock.
    /// Stage times use the log's clock.
    pub fn handle_log_clock(&mut self, offset: i64) {
        self.builder.set_log_offset(offset);
    }

    /// Whether the barrier has been read back.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.barriers.is_read_back()
    }

    /// Whether the log answers appends.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.availability.is_writable()
    }

    /// Whether nothing waits for an outcome.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.flights.is_empty() && self.outcomes.is_empty()
    }

    /// Writes that wait to be sent.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Messages that have not been read back yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Bytes held for writes whose outcomes are not known yet.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.queue.bytes() + self.flights.bytes()
    }

    /// Input: a client's write. Its outcome comes from [`Writer::poll_outcome`].
    ///
    /// # Errors
    /// [`Refused`]; the write was not and will not be sent.
    pub fn handle_write(&mut self, now: Now, write: Write) -> Result<Ticket, Refused> {
        if !self.is_ready() {
            return Err(Refused::NotReady);
        }
        if !self.is_writable() {
            return Err(Refused::NotWritable);
        }
        if matches!(&write.op, Op::Put { value, .. } if value.len() > limits::VALUE_BYTES) {
            return Err(Refused::TooLarge);
        }
        let (bytes, held) = (form::estimate(&write), self.held_bytes());
        let too_many_bytes = held > 0 && held + bytes > limits::WRITER_BYTES;
        if too_many_bytes || self.queue.open() >= limits::WRITER_WRITES {
            return Err(Refused::Overloaded);
        }
        Ok(self.queue.push(now, write, bytes))
    }

    /// Input: a message was read, judged and applied. `fold` is at this message. `superseded` has
    /// one entry for each change of its body, in order: whether a newer change had already won.
    /// Every message of the log goes through here.
    pub fn handle_message(&mut self, now: Now, fold: &Fold, verdict: &Verdict, superseded: &[bool]) {
        self.read = fold.at().sequence;
        self.builder.stamps.observe(fold, verdict);
        if let Some(at) = self.flights.find(fold.at().message_id) {
            match (verdict, fold.position()) {
                (Verdict::Accepted(_), Some(position)) => {
                    self.note_answer();
                    self.accept(at, position, superseded);
                }
                (Verdict::Void(void), _) => {
                    self.note_answer();
                    self.handle_void(now, at, *void);
                }
                (Verdict::Accepted(_) | Verdict::Stop { .. }, _) => {}
            }
        }
        self.flights.send_missing_again(self.read);
    }

    /// Input: the fold was rewound after the log began a new life. All messages in flight are sent
    /// again.
    pub fn handle_rewind(&mut self, fold: &Fold) {
        self.read = fold.at().sequence;
        self.flights.send_all_again();
    }

    /// Input: the store continues with another one's contents at `fold`, and has not read what lies
    /// between. Whether the messages in flight count is not known any more. Another barrier comes
    /// before the next write.
    pub fn handle_skip(&mut self, fold: &Fold) {
        self.read = fold.at().sequence;
        self.builder.stamps.observe_all(fold);
        self.barriers = Barriers::new();
        while !self.flights.is_empty() {
            self.builder.stamps.bind(self.flights.get(0).highest);
            for write in self.end(0).writes {
                let version = write.version.clone();
                self.settle(write, Outcome::Unknown { version });
            }
        }
    }

    /// Input: a publish was acknowledged. The message counts only once it is read back.
    pub fn handle_published(&mut self, message_id: MessageId, sequence: Sequence) {
        self.note_answer();
        let Some(at) = self.flights.find(message_id) else {
            return;
        };
        self.flights.get_mut(at).acknowledge(sequence);
        if sequence <= self.read {
            self.events.push_back(Event::LifeSuspected {
                acknowledged: Anchor { sequence, message_id },
                read: self.read,
            });
        }
    }

    /// Input: a publish failed.
    pub fn handle_publish_failed(&mut self, now: Now, message_id: MessageId, error: PublishError) {
        if error == PublishError::Unanswered {
            self.availability.handle_unanswered();
            self.stop_if_silent(now);
        } else {
            self.note_answer();
        }
        let Some(at) = self.flights.find(message_id) else {
            return;
        };
        let flight = self.flights.get_mut(at);
        if !flight.is_waiting() {
            return;
        }
        match error {
            PublishError::Unanswered => flight.rest_unanswered(now.mono),
            PublishError::Full if flight.may_fail() => self.fail(now, at, Failure::LogFull),
            PublishError::Refused if flight.may_fail() => self.fail(now, at, Failure::LogRefused),
            PublishError::Full | PublishError::Refused => flight.rest(now.mono),
        }
    }

    /// Input: the time. Handles what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.flights.rest_unanswered(now.mono);
        self.availability.handle_timeout(now.mono);
        self.stop_if_silent(now);
        while let Some((ticket, is_queued)) = self.queue.pop_overdue(now.mono) {
            if is_queued {
                self.outcomes
                    .push_back((ticket, Outcome::Failed(Failure::NotSent)));
            } else if let Some(version) = self.flights.close(ticket) {
                self.outcomes.push_back((ticket, Outcome::Unknown { version }));
            }
        }
        while let Some(at) = self.flights.find_unwanted() {
            // A copy may count, so the clock must not go back below its stamp.
            self.builder.stamps.bind(self.flights.get(at).highest);
            self.end(at);
        }
        self.probe_if_idle();
    }

    /// Output: the next deadline, and which one it is.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Mono, Deadline)> {
        let client = self.queue.next_deadline().map(|at| (at, Deadline::Client));
        let probe_at = self.availability.probe_at().unwrap_or_default();
        let barrier = self.barriers.form_from();
        let barrier = barrier.map(|at| (at.max(probe_at), Deadline::Retry));
        let group_commit = self.group_commit_at().map(|at| (at, Deadline::GroupCommit));
        let silence = self.availability.answer_by();
        let silence = silence.map(|at| (at, Deadline::Answer));
        let flights = self.flights.iter();
        let flights = flights.filter_map(|flight| self.flight_timeout(flight));
        let others = [client, barrier, group_commit, silence];
        flights.chain(others.into_iter().flatten()).min()
    }

    fn flight_timeout(&self, flight: &Flight) -> Option<(Mono, Deadline)> {
        if let Some(by) = flight.answer_by() {
            return Some((by, Deadline::Answer));
        }
        let from = flight.send_from()?;
        Some(match self.availability.probe_at() {
            Some(at) => (at.max(from), Deadline::Probe),
            None => (from, Deadline::Retry),
        })
    }

    /// When a message that waits for more writes is formed without them.
    fn group_commit_at(&self) -> Option<Mono> {
        let waits = self.has_room() && !self.flights.is_empty() && !self.flights.is_spread();
        let oldest = self.queue.oldest().filter(|_| waits)?;
        Some(oldest.since.mono.after(limits::GROUP_COMMIT))
    }

    /// Output: the next message to append. `store` is the store to which this writer's log was
    /// applied.
    pub fn poll_append(&mut self, now: Now, store: &Store) -> Option<Append> {
        if !self.availability.may_send(now.mono) {
            return None;
        }
        let at = match self.flights.find_due(now.mono) {
            Some(at) => at,
            None => self.form(now, store)?,
        };
        self.availability.handle_sent(now.mono);
        Some(self.flights.get_mut(at).send(now.mono))
    }

    /// Output: the next outcome.
    pub fn poll_outcome(&mut self) -> Option<(Ticket, Outcome)> {
        self.outcomes.pop_front()
    }

    /// Output: the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Forms the message that is due and returns its index among those in flight.
    fn form(&mut self, now: Now, store: &Store) -> Option<usize> {
        let flight = if self.barriers.take_due(now.mono) {
            self.builder.form_barrier(now)
        } else {
            self.check_spread(now);
            if !self.may_form(now) {
                return None;
            }
            self.builder
                .form_batch(now, &mut self.queue, &mut self.flights, store)?
        };
        Some(self.flights.push(flight))
    }

    /// Checks whether the stamps in flight hold back the queued writes.
    fn check_spread(&mut self, now: Now) {
        if self.has_room() && !self.queue.is_empty() {
            let stamps = &self.builder.stamps;
            let lowest = self.flights.lowest_stamp();
            let is_spread = lowest.is_some_and(|lowest| stamps.would_spread(now.wall, lowest));
            self.flights.set_spread(is_spread);
        }
    }

    fn may_form(&self, now: Now) -> bool {
        let Some(oldest) = self.queue.oldest().filter(|_| self.has_room()) else {
            return false;
        };
        let has_waited = now.mono.since(oldest.since.mono) >= limits::GROUP_COMMIT;
        let is_time = self.flights.is_empty() || has_waited || self.queue.fills_a_message();
        is_time && !self.flights.is_spread()
    }

    fn has_room(&self) -> bool {
        let sends = self.is_ready() && self.is_writable() && !self.builder.stamps.is_ahead();
        sends && self.flights.len() < limits::APPENDS_IN_FLIGHT
    }

    /// The log has answered something.
    fn note_answer(&mut self) {
        if self.availability.handle_answer() {
            self.events.push_back(Event::Writable);
            self.barriers.end_probe();
        }
    }

    /// Refuses writes once the log has not answered for too long.
    fn stop_if_silent(&mut self, now: Now) {
        if !self.availability.stop_if_silent(now.mono) {
            return;
        }
        self.events.push_back(Event::NotWritable);
        while let Some(ticket) = self.queue.pop_unsent() {
            self.outcomes
                .push_back((ticket, Outcome::Failed(Failure::LogNotWritable)));
        }
    }

    /// A log that is not writable needs a message that shows when it is writable again: a barrier
    /// if nothing else is being sent.
    fn probe_if_idle(&mut self) {
        let sends = self.barriers.form_from().is_some() || self.flights.is_active();
        if let Some(at) = self.availability.probe_at().filter(|_| !sends) {
            self.barriers.probe(at);
        }
    }

    fn accept(&mut self, at: usize, position: Position, superseded: &[bool]) {
        let flight = self.end(at);
        if flight.is_barrier() {
            if self.barriers.handle_accepted() {
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
            self.settle(write, outcome);
        }
    }

    /// [`planted::Planted::AcknowledgedEarly`]: as if the message had been read back at `position`.
    #[cfg(feature = "planted")]
    pub fn acknowledge_early(&mut self, message_id: MessageId, position: Position) {
        if let Some(at) = self.flights.find(message_id) {
            let superseded = vec![false; self.flights.get(at).writes.len()];
            self.accept(at, position, &superseded);
        }
    }

    fn handle_void(&mut self, now: Now, at: usize, void: Void) {
        let flight = self.flights.get_mut(at);
        if flight.is_barrier() && !self.barriers.is_read_back() {
            self.events.push_back(Event::BarrierVoid(void));
        }
        if void == Void::NoLife && !flight.is_barrier() {
            // The fold keeps no identifier before the first life of a log that was created again:
            // another copy may count after it.
            return flight.rest_unanswered(now.mono);
        }
        if void == Void::ClockAhead {
            self.builder.stamps.handle_ahead();
        }
        self.fail(now, at, Failure::Void(void));
    }

    fn fail(&mut self, now: Now, at: usize, failure: Failure) {
        let flight = self.end(at);
        if flight.is_barrier() {
            self.barriers.handle_failed(now.mono);
        }
        for write in flight.writes {
            self.settle(write, Outcome::Failed(failure));
        }
    }

    /// Removes a message that has ended.
    fn end(&mut self, at: usize) -> Flight {
        let flight = self.flights.remove(at);
        if self.flights.is_empty() {
            self.builder.stamps.handle_no_flights();
        }
        flight
    }

    /// A write has its outcome. Its client gets it if it still waits.
    fn settle(&mut self, write: FlightWrite, outcome: Outcome) {
        if planted::is(Planted::LostOutcome) && write.version.hlc.millis().is_multiple_of(8) {
            return;
        }
        if write.open {
            self.queue.close(write.deadline, write.ticket);
            self.outcomes.push_back((write.ticket, outcome));
        }
    }
}
