//! The write path of one process for one shard: from a client's write to its outcome (design.md sections 5 and 6).
//!
//! Problem: the log is reached over a network that loses, doubles and delays publishes; what a client is told must hold
//! for ever, and a log that answers nothing must not collect writes.
//!
//! Sketch: writes wait in a queue. When a message is formed its changes are stamped, and `seen` is taken from the newest
//! of the store and the own messages in flight, at one moment and against one store. The message is sent, the same bytes
//! under the same identifier again when unanswered, until it is read back from the log with its verdict. Publish
//! acknowledgements are hints: they stop the sending, never decide an outcome.
//!
//! Invariants: accepted means read back as accepted, once; failed means that the message is not in the log and never
//! will count (the fold keeps its identifier or its floor has passed it), or was never sent; everything else is unknown.
//! A message's stamps exceed everything that this process has applied. Nothing is sent for a client before a barrier
//! has been read back. Own messages in flight lie within half of `max_behind`, so that none makes another void. At
//! most [`limits::WRITER_BYTES`] and [`limits::WRITER_WRITES`] are held.
//!
//! Failure cases: the deadline passes first (unknown, if a copy may be in the log); the log is full (failed, if no copy
//! may be in it); the log answers nothing (new writes are refused unsent, one message a second probes); an acknowledgement
//! at or below a sequence already read (a life is suspected); a clock that ran ahead (void stamps are forgotten, so
//! that a mended clock mends the process); a log that was made anew and has no life yet (sent again). One case is left: a void message that was lost with the log's tail, of which
//! the network still holds a copy, may count in the next life although its client was told that it failed.

use std::collections::{BTreeMap, VecDeque};

use crate::cell::CellId;
use crate::change::Op;
use crate::coordinates::{Anchor, MessageId, Position, Sequence, WriterId};
use crate::fold::{Accepted, Fold, LogName, Token, Verdict, Void};
use crate::header::{ClockLimits, Header};
use crate::hlc::{Clock, Hlc};
use crate::ids::MessageIds;
use crate::limits;
use crate::seen::Seen;
use crate::store::Store;
use crate::time::{Mono, Now};
use crate::version::Version;

mod append;
mod flight;
mod form;
mod outcome;
mod queue;
mod silence;
#[cfg(test)]
mod tests;
mod write;

pub use append::{Append, Deadline, Event, PublishError};
use flight::Flight;
use queue::Queue;
use silence::Silence;
pub use write::{Failure, Outcome, Refused, Ticket, Write};

/// The writer of one process for one shard.
#[derive(Debug)]
pub struct Writer {
    log: LogName,
    writer: WriterId,
    ids: MessageIds,
    clock: Clock,
    clock_limits: ClockLimits,
    /// The greatest stamp that counts or may count; the clock may go back to it when a stamp ahead was void.
    binding: Hlc,
    read: Sequence,
    ready: bool,
    /// A stamp ahead was void: nothing is formed until nothing is in flight, and the clock goes back to `binding`.
    ahead: bool,
    /// The next stamp would be too far above one in flight.
    spread: bool,
    /// When the next barrier is to be formed; none while one is in flight or none is wanted.
    barrier_from: Option<Mono>,
    queue: Queue,
    flights: Vec<Flight>,
    newest_own: BTreeMap<CellId, (Version, Seen)>,
    held_bytes: usize,
    silence: Silence,
    /// While the log is not writable: when the next probe may be sent.
    probe_at: Option<Mono>,
    outcomes: VecDeque<(Ticket, Outcome)>,
    events: VecDeque<Event>,
    /// The log's clock less this process's, in microseconds.
    log_offset: i64,
}

impl Writer {
    /// A writer of the log of which `fold` has been applied, for the process run `writer`, whose message identifiers
    /// come from `seed`: 128 random bits, a seed of its own for each shard. It has a barrier to append before anything
    /// else.
    #[must_use]
    pub fn new(fold: &Fold, writer: WriterId, seed: u128) -> Self {
        let mut this = Self {
            log: fold.log().clone(),
            writer,
            ids: MessageIds::new(seed),
            clock: Clock::default(),
            clock_limits: ClockLimits::default(),
            binding: Hlc::ZERO,
            read: fold.at().sequence,
            ready: false,
            ahead: false,
            spread: false,
            barrier_from: Some(Mono::default()),
            queue: Queue::default(),
            flights: Vec::new(),
            newest_own: BTreeMap::new(),
            held_bytes: 0,
            silence: Silence::default(),
            probe_at: None,
            outcomes: VecDeque::new(),
            events: VecDeque::new(),
            log_offset: 0,
        };
        this.observe_all(fold);
        this
    }

    /// The clock that stamps the log is `offset` microseconds ahead of this process's: stage times are told by it.
    pub fn handle_log_clock(&mut self, offset: i64) {
        self.log_offset = offset;
    }

    /// Whether the barrier was read back.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether appends are answered.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.probe_at.is_none()
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

    /// Messages that wait to be read back.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Bytes held for writes whose outcomes are not known.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Takes a write; its outcome comes from [`Writer::poll_outcome`].
    ///
    /// # Errors
    /// [`Refused`]; the write was not and will not be sent.
    pub fn handle_write(&mut self, now: Now, write: Write) -> Result<Ticket, Refused> {
        if !self.ready {
            return Err(Refused::NotReady);
        }
        if !self.is_writable() {
            return Err(Refused::NotWritable);
        }
        if matches!(&write.op, Op::Put { value, .. } if value.len() > limits::VALUE_BYTES) {
            return Err(Refused::TooLarge);
        }
        let bytes = form::estimate(&write);
        let open = self.queue.open();
        let over = self.held_bytes + bytes > limits::WRITER_BYTES && self.held_bytes > 0;
        if over || open >= limits::WRITER_WRITES {
            return Err(Refused::Overloaded);
        }
        self.held_bytes += bytes;
        Ok(self.queue.push(now, write, bytes))
    }

    /// A stamp for a record that this process appends by other ways: a mark. It exceeds everything applied.
    pub fn stamp(&mut self, now: Now) -> Hlc {
        self.clock.stamp(now.wall)
    }

    /// An identifier for a record that this process appends by other ways.
    pub fn message_id(&mut self) -> MessageId {
        self.ids.next_id()
    }

    /// Takes note of a message that was read, judged and applied: `fold` stands at it, and `superseded` tells for each
    /// change of its body, in order, whether a newer one had already won. Every message of the log goes through here.
    pub fn handle_message(&mut self, now: Now, fold: &Fold, verdict: &Verdict, superseded: &[bool]) {
        self.read = fold.at().sequence;
        self.observe(fold, verdict);
        let own = |flight: &Flight| flight.message_id == fold.at().message_id;
        if let Some(at) = self.flights.iter().position(own) {
            match (verdict, fold.position()) {
                (Verdict::Accepted(_), Some(position)) => {
                    self.answered();
                    self.accepted(at, position, superseded);
                }
                (Verdict::Void(void), _) => {
                    self.answered();
                    self.void(now, at, *void);
                }
                (Verdict::Accepted(_) | Verdict::Stop { .. }, _) => {}
            }
        }
        for flight in &mut self.flights {
            flight.read_through(self.read);
        }
    }

    /// Starts over at a rewound fold, after the log began a new life: what was acknowledged and not read is sent again.
    pub fn handle_rewind(&mut self, fold: &Fold) {
        self.read = fold.at().sequence;
        for flight in &mut self.flights {
            flight.send_again();
        }
    }

    /// Takes note of a publish acknowledgement. The message counts once it is read back.
    pub fn handle_published(&mut self, message_id: MessageId, sequence: Sequence) {
        self.answered();
        let Some(flight) = self.flights.iter_mut().find(|f| f.message_id == message_id) else {
            return;
        };
        flight.acknowledged(sequence);
        if sequence <= self.read {
            self.events.push_back(Event::LifeSuspected {
                acknowledged: Anchor { sequence, message_id },
                read: self.read,
            });
        }
    }

    /// Takes note of a publish that did not succeed.
    pub fn handle_publish_failed(&mut self, now: Now, message_id: MessageId, error: PublishError) {
        let found = self.flights.iter().position(|f| f.message_id == message_id);
        if error == PublishError::Unanswered {
            self.silence.failed();
            self.listen(now);
        } else {
            self.answered();
        }
        let Some(at) = found.filter(|at| self.flights[*at].is_waiting()) else {
            return;
        };
        match error {
            PublishError::Unanswered => self.flights[at].unanswered(now.mono),
            PublishError::Full if self.flights[at].may_fail() => self.fail(now, at, Failure::LogFull),
            PublishError::Refused if self.flights[at].may_fail() => self.fail(now, at, Failure::LogRefused),
            PublishError::Full | PublishError::Refused => self.flights[at].rest(now.mono),
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Now) {
        for at in 0..self.flights.len() {
            if self.flights[at].answer_by().is_some_and(|by| by <= now.mono) {
                self.flights[at].unanswered(now.mono);
            }
        }
        self.silence.handle_timeout(now.mono);
        self.listen(now);
        while let Some((ticket, queued)) = self.queue.pop_overdue(now.mono) {
            match queued {
                Some(bytes) => {
                    self.held_bytes -= bytes;
                    self.outcomes
                        .push_back((ticket, Outcome::Failed(Failure::NotSent)));
                }
                None => self.overdue_in_flight(ticket),
            }
        }
        self.drop_closed_flights();
        self.want_probe();
    }

    /// What to wait for next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Mono, Deadline)> {
        let client = self.queue.next_deadline().map(|at| (at, Deadline::Client));
        let barrier = self
            .barrier_from
            .map(|at| (at.max(self.probe_at.unwrap_or_default()), Deadline::Retry));
        let group_commit = self.group_commit_at().map(|at| (at, Deadline::GroupCommit));
        let silence = self.silence.due().map(|at| (at, Deadline::Answer));
        let flights = self
            .flights
            .iter()
            .filter_map(|flight| self.flight_timeout(flight));
        let others = [client, barrier, group_commit, silence];
        flights.chain(others.into_iter().flatten()).min()
    }

    /// The next message to append. `store` is what this writer's log was applied to.
    pub fn poll_append(&mut self, now: Now, store: &Store) -> Option<Append> {
        let may_send = self.probe_at.is_none_or(|at| at <= now.mono);
        if !may_send {
            return None;
        }
        let at = match self.flights.iter().position(|flight| flight.is_due(now.mono)) {
            Some(at) => at,
            None => self.form(now, store)?,
        };
        if self.probe_at.is_some() {
            self.probe_at = Some(now.mono.after(limits::PROBE_INTERVAL));
        }
        self.silence.sent(now.mono);
        Some(self.flights[at].send(now.mono))
    }

    /// The next outcome.
    pub fn poll_outcome(&mut self) -> Option<(Ticket, Outcome)> {
        self.outcomes.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
