//! A named lease: which process of a region leads (design.md section 7).
//!
//! Problem: one gateway should forward and one agent should steward. That process may die, be
//! stopped for a while, or lose its NATS, and a reply may be lost after its request was carried
//! out.
//!
//! Sketch: a lease is one entry of a key-value bucket with a time to live, written only by
//! compare-and-set on its revision. The holder renews it and sends beats. A standby that has
//! neither received a beat nor seen a renewal for [`limits::LEASE_SILENCE`] overwrites the entry
//! with its own. An unknown outcome is resolved by a read.
//!
//! Invariants: a revision has one holder, since compare-and-set gave it to one. A machine leads
//! only under a revision that it has learned is its own. With a store that answers and one live
//! candidate, there is a leader within [`limits::LEASE_SILENCE`] and a few round trips. Leadership
//! is an optimisation, never a safety argument: a leader that can't reach the lease continues until
//! it sees another holder, so two may lead for a while.
//!
//! Failure cases:
//!
//! - A reply is lost: the machine reads the entry and continues from it.
//! - A watch event arrives late: it is ignored unless its revision is newer.
//! - The bucket was created again and counts from one: only a read may go back to a lower revision,
//!   and every conflict leads to a read.
//! - An entry expired although its holder still sends beats: a standby waits until the holder is
//!   silent.

use std::collections::VecDeque;
use std::fmt;

use crate::coordinates::{Life, WriterId};
use crate::limits;
use crate::names::ProcessName;
use crate::time::Mono;

mod request;
#[cfg(test)]
mod tests;

pub use request::{Operation, Reply, Request};

/// A revision of a lease's entry: assigned by the bucket, greater with each write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// The holder of a lease: one run of one process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The process.
    pub process: ProcessName,
    /// Its run, so that a process that starts again is another holder.
    pub run: WriterId,
}

/// A lease's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseEntry {
    /// The holder that wrote it.
    pub holder: Holder,
    /// Its revision.
    pub revision: Revision,
}

/// The message that a leader sends to the standbys every [`limits::LEASE_BEAT`]: its entry.
pub type Beat = LeaseEntry;

/// The epoch of a leadership, for display: the log's life and the lease's revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// The life of the region's log.
    pub life: Life,
    /// The revision of the leadership.
    pub revision: Revision,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.life, self.revision.0)
    }
}

/// A change of this process's leadership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It leads.
    Leads {
        /// Under this revision.
        revision: Revision,
    },
    /// It no longer leads.
    SteppedDown {
        /// The new holder; none when this process released the lease itself.
        other: Option<Holder>,
    },
}

/// The deadlines of a lease machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// The reply to a request.
    Reply,
    /// The next renewal.
    Renewal,
    /// The end of the holder's allowed silence.
    Silence,
    /// The next attempt after a failure.
    Retry,
    /// The next beat.
    Beat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Standby,
    Leader { revision: Revision, beat_at: Mono },
    Leaving { revision: Option<Revision> },
}

/// The entry as this machine last knew it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Belief {
    Unknown,
    Absent,
    Held(LeaseEntry),
}

/// One candidate for one lease.
#[derive(Debug)]
pub struct Lease {
    own: Holder,
    role: Role,
    belief: Belief,
    /// The newest known revision; a beat or a watch event counts only above it.
    newest: Option<Revision>,
    /// When the last beat or write of the holder was seen.
    sign: Option<Mono>,
    /// No request is sent before this time.
    from: Mono,
    outstanding: Option<(Request, Mono)>,
    requests: u64,
    events: VecDeque<Event>,
}

impl Lease {
    /// Creates a candidate. It begins as a standby and first reads the entry.
    #[must_use]
    pub fn new(own: Holder) -> Self {
        Self {
            own,
            role: Role::Standby,
            belief: Belief::Unknown,
            newest: None,
            sign: None,
            from: Mono::default(),
            outstanding: None,
            requests: 0,
            events: VecDeque::new(),
        }
    }

    /// The revision under which this process leads.
    #[must_use]
    pub fn leads(&self) -> Option<Revision> {
        match self.role {
            Role::Leader { revision, .. } => Some(revision),
            Role::Standby | Role::Leaving { .. } => None,
        }
    }

    /// The epoch under which this process leads; `life` is the life of its region's log.
    #[must_use]
    pub fn epoch(&self, life: Life) -> Option<Epoch> {
        self.leads().map(|revision| Epoch { life, revision })
    }

    /// The holder of the lease, as far as this process knows.
    #[must_use]
    pub fn holder(&self) -> Option<&Holder> {
        match (&self.role, &self.belief) {
            (Role::Leader { .. }, _) => Some(&self.own),
            (_, Belief::Held(entry)) => Some(&entry.holder),
            (_, Belief::Unknown | Belief::Absent) => None,
        }
    }

    /// Whether the lease was given up and no request remains.
    #[must_use]
    pub fn is_released(&self) -> bool {
        self.role == Role::Leaving { revision: None } && self.outstanding.is_none()
    }

    /// Input: the entry from a watch; none when it was deleted or expired. May arrive late.
    pub fn handle_watch(&mut self, now: Mono, entry: Option<LeaseEntry>) {
        match entry {
            None => self.doubt(now),
            Some(entry) if Some(entry.revision) > self.newest => self.observe(now, Some(entry)),
            Some(_) => {}
        }
    }

    /// Input: a beat.
    pub fn handle_beat(&mut self, now: Mono, beat: Beat) {
        if beat.holder == self.own {
            return;
        }
        if Some(beat.revision) > self.newest {
            self.observe(now, Some(beat));
        } else if matches!(&self.belief, Belief::Held(entry) if entry.holder == beat.holder) {
            self.sign = Some(now);
        }
    }

    /// Input: gives up the lease permanently.
    pub fn handle_release(&mut self) {
        let revision = self.leads();
        if revision.is_some() {
            self.events.push_back(Event::SteppedDown { other: None });
        }
        if !matches!(self.role, Role::Leaving { .. }) {
            self.role = Role::Leaving { revision };
            self.from = Mono::default();
        }
    }

    /// Input: the time. Handles what is due at `now`.
    pub fn handle_timeout(&mut self, now: Mono) {
        let overdue = |(_, since): &(Request, Mono)| since.after(limits::LEASE_REPLY) <= now;
        if let Some((request, _)) = self.outstanding.take_if(|asked| overdue(asked)) {
            self.settle(now, &request.operation, Reply::Unreachable);
        }
    }

    /// The next deadline, and which one it is.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Mono, Deadline)> {
        let beat = match self.role {
            Role::Leader { beat_at, .. } => Some((beat_at, Deadline::Beat)),
            Role::Standby | Role::Leaving { .. } => None,
        };
        let request = match &self.outstanding {
            Some((_, since)) => Some((since.after(limits::LEASE_REPLY), Deadline::Reply)),
            None => self.next_request().map(|(at, deadline, _)| (at, deadline)),
        };
        beat.into_iter().chain(request).min()
    }

    /// The next beat to publish.
    pub fn poll_beat(&mut self, now: Mono) -> Option<Beat> {
        let Role::Leader { revision, beat_at } = &mut self.role else {
            return None;
        };
        if *beat_at > now {
            return None;
        }
        *beat_at = now.after(limits::LEASE_BEAT);
        Some(Beat {
            holder: self.own.clone(),
            revision: *revision,
        })
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Takes an entry that is newer than the known one, or that was read.
    fn observe(&mut self, now: Mono, entry: Option<LeaseEntry>) {
        match &entry {
            Some(entry) if entry.holder == self.own => self.lead(now, entry.revision),
            Some(entry) => {
                self.step_down(&entry.holder);
                if !matches!(&self.belief, Belief::Held(held) if held == entry) {
                    self.sign = Some(now);
                }
            }
            None => {}
        }
        self.newest = entry.as_ref().map_or(self.newest, |entry| Some(entry.revision));
        self.belief = entry.map_or(Belief::Absent, Belief::Held);
    }

    fn lead(&mut self, now: Mono, revision: Revision) {
        match &mut self.role {
            Role::Leader { revision: held, .. } => *held = revision,
            Role::Leaving { revision: held } => *held = Some(revision),
            Role::Standby => {
                self.role = Role::Leader {
                    revision,
                    beat_at: now,
                };
                self.events.push_back(Event::Leads { revision });
            }
        }
    }

    fn step_down(&mut self, other: &Holder) {
        match self.role {
            Role::Leader { .. } => {
                self.role = Role::Standby;
                let other = Some(other.clone());
                self.events.push_back(Event::SteppedDown { other });
            }
            Role::Leaving { .. } => self.role = Role::Leaving { revision: None },
            Role::Standby => {}
        }
    }

    /// The entry has changed in an unknown way: it must be read.
    fn doubt(&mut self, now: Mono) {
        self.belief = Belief::Unknown;
        self.from = self.from.min(now);
    }
}
