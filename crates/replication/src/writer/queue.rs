//! Writes that wait to be sent, and the deadlines of all writes whose outcomes are open.

use std::collections::{BTreeSet, VecDeque};

use super::write::{Ticket, Write};
use crate::limits;
use crate::time::{Mono, Now};

#[derive(Debug)]
pub(super) struct Queued {
    pub(super) ticket: Ticket,
    pub(super) since: Now,
    pub(super) write: Write,
    pub(super) bytes: usize,
}

/// Ordered by ticket, which is the order of arrival.
///
/// Invariant: a write has a deadline here exactly while its outcome is open, whether it waits here
/// or is in flight.
#[derive(Debug, Default)]
pub(super) struct Queue {
    tickets: u64,
    waiting: VecDeque<Queued>,
    bytes: usize,
    deadlines: BTreeSet<(Mono, Ticket)>,
}

impl Queue {
    pub(super) fn push(&mut self, since: Now, write: Write, bytes: usize) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.deadlines.insert((write.deadline, ticket));
        self.bytes += bytes;
        self.waiting.push_back(Queued {
            ticket,
            since,
            write,
            bytes,
        });
        ticket
    }

    /// Bytes of the writes that wait here.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Writes whose outcomes are open, sent or not.
    pub(super) fn open(&self) -> usize {
        self.deadlines.len()
    }

    pub(super) fn fills_a_message(&self) -> bool {
        self.bytes >= limits::MESSAGE_BODY_BYTES || self.waiting.len() >= limits::MESSAGE_CHANGES
    }

    pub(super) fn oldest(&self) -> Option<&Queued> {
        self.waiting.front()
    }

    /// Removes the oldest write to be sent; its deadline stays.
    pub(super) fn pop(&mut self) -> Option<Queued> {
        let queued = self.waiting.pop_front()?;
        self.bytes -= queued.bytes;
        Some(queued)
    }

    /// Removes the oldest write unsent.
    pub(super) fn pop_unsent(&mut self) -> Option<Ticket> {
        let queued = self.pop()?;
        self.close(queued.write.deadline, queued.ticket);
        Some(queued.ticket)
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Closes the next write whose deadline is at or before `now`. Returns whether it waited here;
    /// if so, it is removed.
    pub(super) fn pop_overdue(&mut self, now: Mono) -> Option<(Ticket, bool)> {
        let (_, ticket) = *self.deadlines.first().filter(|(at, _)| *at <= now)?;
        self.deadlines.pop_first();
        let found = self.waiting.binary_search_by_key(&ticket, |queued| queued.ticket);
        let queued = found.ok().and_then(|at| self.waiting.remove(at));
        if let Some(queued) = &queued {
            self.bytes -= queued.bytes;
        }
        Some((ticket, queued.is_some()))
    }

    /// The write has its outcome.
    pub(super) fn close(&mut self, deadline: Mono, ticket: Ticket) {
        self.deadlines.remove(&(deadline, ticket));
    }
}
