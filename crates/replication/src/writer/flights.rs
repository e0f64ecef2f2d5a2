//! The messages in flight.

use std::collections::BTreeMap;

use super::flight::Flight;
use super::write::Ticket;
use crate::cell::CellId;
use crate::coordinates::{MessageId, Sequence};
use crate::hlc::Hlc;
use crate::planted::{self, Planted};
use crate::seen::Seen;
use crate::time::Mono;
use crate::version::Version;

/// The messages in flight, in the order in which they were formed.
///
/// Invariant: a cell has a newest own write exactly while that write is in flight. `is_spread`
/// stays valid until a message ends.
#[derive(Debug, Default)]
pub(super) struct Flights {
    flights: Vec<Flight>,
    /// The newest own write of each cell, and what it had seen.
    newest: BTreeMap<CellId, (Version, Seen)>,
    /// The next stamp would be too far above one in flight.
    is_spread: bool,
}

impl Flights {
    /// Adds the newest message and returns its index.
    pub(super) fn push(&mut self, flight: Flight) -> usize {
        self.flights.push(flight);
        self.flights.len() - 1
    }

    /// Removes a message that has ended.
    pub(super) fn remove(&mut self, at: usize) -> Flight {
        let flight = self.flights.remove(at);
        for write in &flight.writes {
            let is_newest = |(version, _): &(Version, Seen)| *version == write.version;
            if self.newest.get(&write.id).is_some_and(is_newest) {
                self.newest.remove(&write.id);
            }
        }
        self.is_spread = false;
        flight
    }

    /// A write to `id` was formed.
    pub(super) fn set_newest(&mut self, id: CellId, version: Version, seen: Seen) {
        self.newest.insert(id, (version, seen));
    }

    /// Adds what the newest own write to `id` had seen. The write itself is not added: it may turn
    /// out void, and a write's `writer` already shows that it was known ([`crate::seen`]).
    pub(super) fn join_seen(&self, id: &CellId, seen: &mut Seen) {
        if let Some((version, of)) = self.newest.get(id) {
            seen.join(of);
            if planted::is(Planted::SeenByRegion) {
                seen.observe(version);
            }
        }
    }

    pub(super) fn set_spread(&mut self, is_spread: bool) {
        self.is_spread = is_spread;
    }

    pub(super) fn is_spread(&self) -> bool {
        self.is_spread
    }

    /// Lets each message rest whose answer is overdue.
    pub(super) fn rest_unanswered(&mut self, now: Mono) {
        for flight in &mut self.flights {
            if flight.answer_by().is_some_and(|by| by <= now) {
                flight.rest_unanswered(now);
            }
        }
    }

    pub(super) fn send_all_again(&mut self) {
        self.flights.iter_mut().for_each(Flight::send_again);
    }

    /// Sends again what was acknowledged at or below `read` but is not there.
    pub(super) fn send_missing_again(&mut self, read: Sequence) {
        for flight in &mut self.flights {
            flight.send_again_if_missing(read);
        }
    }

    /// The client of `ticket` stops waiting; the message stays as long as another client wants it.
    /// Returns the write's version if it is in flight.
    pub(super) fn close(&mut self, ticket: Ticket) -> Option<Version> {
        let mut writes = self.flights.iter_mut().flat_map(|flight| &mut flight.writes);
        let write = writes.find(|write| write.ticket == ticket)?;
        write.open = false;
        Some(write.version.clone())
    }

    pub(super) fn get(&self, at: usize) -> &Flight {
        &self.flights[at]
    }

    pub(super) fn get_mut(&mut self, at: usize) -> &mut Flight {
        &mut self.flights[at]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Flight> {
        self.flights.iter()
    }

    pub(super) fn find(&self, id: MessageId) -> Option<usize> {
        self.flights.iter().position(|flight| flight.message_id == id)
    }

    /// The first message that is to be sent.
    pub(super) fn find_due(&self, now: Mono) -> Option<usize> {
        self.flights.iter().position(|flight| flight.is_due(now))
    }

    /// The first message that no client wants.
    pub(super) fn find_unwanted(&self) -> Option<usize> {
        self.flights.iter().position(|flight| !flight.is_wanted())
    }

    /// Whether a message is sent again without further input.
    pub(super) fn is_active(&self) -> bool {
        self.flights.iter().any(Flight::is_active)
    }

    pub(super) fn lowest_stamp(&self) -> Option<Hlc> {
        let batches = self.flights.iter().filter(|flight| !flight.is_barrier());
        batches.map(|flight| flight.lowest).min()
    }

    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// Bytes of the writes in flight, as counted when they were taken.
    pub(super) fn bytes(&self) -> usize {
        self.flights.iter().map(|flight| flight.bytes).sum()
    }
}
