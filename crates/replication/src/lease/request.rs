//! The requests of a lease machine to the bucket, one at a time, and how it handles the replies.

use super::{Belief, Deadline, Lease, LeaseEntry, Revision, Role};
use crate::limits;
use crate::time::Mono;

/// A request to the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Identifies it in its reply.
    pub id: u64,
    /// The operation.
    pub operation: Operation,
}

/// An operation on the entry. Every write is a compare-and-set and gives the entry a time to live
/// of [`limits::LEASE_TTL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Read the entry from the server that decides writes.
    Read,
    /// Write the entry if there is none.
    Create,
    /// Write the entry if it has this revision.
    Update {
        /// The revision.
        expected: Revision,
    },
    /// Delete the entry if it has this revision.
    Release {
        /// The revision.
        expected: Revision,
    },
}

/// A reply of the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The entry that was read; none if there is no entry.
    Read(Option<LeaseEntry>),
    /// The entry was written, or deleted, at this revision.
    Written(Revision),
    /// The entry differs from what the request expected; nothing was written.
    Conflict,
    /// No reply, or one that leaves the outcome open.
    Unreachable,
}

impl Lease {
    /// The next request.
    pub fn poll_request(&mut self, now: Mono) -> Option<Request> {
        if self.outstanding.is_some() {
            return None;
        }
        let (_, _, operation) = self.next_request().filter(|(at, _, _)| *at <= now)?;
        self.requests += 1;
        let request = Request {
            id: self.requests,
            operation,
        };
        self.outstanding = Some((request, now));
        Some(request)
    }

    /// Input: the reply to the request `id`. A reply to an earlier request changes nothing.
    pub fn handle_reply(&mut self, now: Mono, id: u64, reply: Reply) {
        if let Some((request, _)) = self.outstanding.take_if(|(request, _)| request.id == id) {
            self.settle(now, &request.operation, reply);
        }
    }

    pub(super) fn settle(&mut self, now: Mono, operation: &Operation, reply: Reply) {
        match (operation, reply) {
            (Operation::Release { .. }, Reply::Unreachable) => self.from = now.after(limits::LEASE_RENEWAL),
            (Operation::Release { .. }, _) => self.role = Role::Leaving { revision: None },
            (Operation::Read, Reply::Read(entry)) => {
                self.observe(now, entry);
                self.from = now;
            }
            (_, Reply::Written(revision)) => {
                let holder = self.own.clone();
                self.observe(now, Some(LeaseEntry { holder, revision }));
                let leaving = matches!(self.role, Role::Leaving { .. });
                self.from = if leaving {
                    now
                } else {
                    now.after(limits::LEASE_RENEWAL)
                };
            }
            (_, Reply::Conflict) => {
                self.belief = Belief::Unknown;
                self.from = now.after(limits::LEASE_BEAT);
            }
            (_, Reply::Unreachable | Reply::Read(_)) => {
                self.belief = Belief::Unknown;
                self.from = now.after(limits::LEASE_RENEWAL);
            }
        }
    }

    /// The next operation, when it is due, and which deadline that is.
    pub(super) fn next_request(&self) -> Option<(Mono, Deadline, Operation)> {
        match (&self.role, &self.belief) {
            (Role::Leaving { revision: None }, _) => None,
            (
                Role::Leaving {
                    revision: Some(expected),
                },
                _,
            ) => {
                let expected = *expected;
                Some((self.from, Deadline::Retry, Operation::Release { expected }))
            }
            (_, Belief::Unknown) => Some((self.from, Deadline::Retry, Operation::Read)),
            (Role::Leader { .. }, Belief::Absent) => Some((self.from, Deadline::Renewal, Operation::Create)),
            (Role::Leader { .. }, Belief::Held(entry)) => {
                let expected = entry.revision;
                Some((self.from, Deadline::Renewal, Operation::Update { expected }))
            }
            (Role::Standby, Belief::Absent) => {
                Some((self.silent_from(), Deadline::Silence, Operation::Create))
            }
            (Role::Standby, Belief::Held(entry)) => {
                let expected = entry.revision;
                Some((
                    self.silent_from(),
                    Deadline::Silence,
                    Operation::Update { expected },
                ))
            }
        }
    }

    /// When the holder has been silent long enough; immediately if no sign of a holder was ever
    /// seen.
    fn silent_from(&self) -> Mono {
        self.sign
            .map_or(self.from, |sign| self.from.max(sign.after(limits::LEASE_SILENCE)))
    }
}
