//! Leases in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use isthmus_replication::time::Mono;

use crate::leases::LEAST_TTL;
use crate::{Ended, Lease, LeaseError, LeaseEvent, LeaseName, Revision};

/// The leases of one region.
#[derive(Debug, Clone, Default)]
pub struct MemoryLeases {
    last: Revision,
    leases: BTreeMap<LeaseName, LeaseSlot>,
}

#[derive(Debug, Clone)]
struct LeaseSlot {
    revision: Revision,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Held { payload: Bytes, until: Mono },
    Free(Ended),
}

impl MemoryLeases {
    /// Takes, renews or takes over a lease.
    ///
    /// # Errors
    /// [`LeaseError::Conflict`] and [`LeaseError::TooShort`].
    pub fn put(
        &mut self,
        now: Mono,
        name: &LeaseName,
        expected: Revision,
        payload: Bytes,
        ttl: Duration,
    ) -> Result<Revision, LeaseError> {
        if ttl < LEAST_TTL {
            return Err(LeaseError::TooShort);
        }
        let until = now.after(ttl);
        self.write(now, name, expected, State::Held { payload, until })
    }

    /// Releases a lease.
    ///
    /// # Errors
    /// [`LeaseError::Conflict`].
    pub fn release(&mut self, now: Mono, name: &LeaseName, expected: Revision) -> Result<(), LeaseError> {
        self.write(now, name, expected, State::Free(Ended::Released))
            .map(|_| ())
    }

    fn write(
        &mut self,
        now: Mono,
        name: &LeaseName,
        expected: Revision,
        state: State,
    ) -> Result<Revision, LeaseError> {
        if self.get(now, name).revision != expected {
            return Err(LeaseError::Conflict);
        }
        Ok(self.set(name.clone(), state))
    }

    fn set(&mut self, name: LeaseName, state: State) -> Revision {
        self.last = Revision(self.last.0 + 1);
        let entry = LeaseSlot {
            revision: self.last,
            state,
        };
        self.leases.insert(name, entry);
        self.last
    }

    /// The current state of a lease.
    pub fn get(&mut self, now: Mono, name: &LeaseName) -> Lease {
        self.expire(now);
        self.leases.get(name).map_or_else(Lease::default, |entry| Lease {
            revision: entry.revision,
            payload: match &entry.state {
                State::Held { payload, .. } => Some(payload.clone()),
                State::Free(_) => None,
            },
        })
    }

    /// Ends the leases that were not renewed in time; each end has a revision of its own.
    pub fn expire(&mut self, now: Mono) {
        let ended: Vec<LeaseName> = self
            .leases
            .iter()
            .filter(|(_, entry)| matches!(entry.state, State::Held { until, .. } if until <= now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in ended {
            self.set(name, State::Free(Ended::Expired));
        }
    }

    /// Ends every lease: the bucket was lost.
    pub fn end_all(&mut self) {
        let names: Vec<LeaseName> = self.leases.keys().cloned().collect();
        for name in names {
            self.set(name, State::Free(Ended::Expired));
        }
    }

    /// When the next lease expires unless it is renewed.
    #[must_use]
    pub fn next_end(&self) -> Option<Mono> {
        self.leases
            .values()
            .filter_map(|entry| match entry.state {
                State::Held { until, .. } => Some(until),
                State::Free(_) => None,
            })
            .min()
    }

    /// The newest revision, and all held leases.
    #[must_use]
    pub fn snapshot(&self) -> (Revision, LeaseEvent) {
        let held = self.leases.iter().filter_map(|(name, entry)| match &entry.state {
            State::Held { payload, .. } => Some((name.clone(), entry.revision, payload.clone())),
            State::Free(_) => None,
        });
        (self.last, LeaseEvent::Snapshot(held.collect()))
    }

    /// The newest revision, and an event for each lease that changed after `seen`, oldest change
    /// first.
    #[must_use]
    pub fn since(&self, seen: Revision) -> (Revision, Vec<LeaseEvent>) {
        let mut changed: Vec<_> = self
            .leases
            .iter()
            .filter(|(_, entry)| entry.revision > seen)
            .collect();
        changed.sort_by_key(|(_, entry)| entry.revision);
        let events = changed.into_iter().map(|(name, entry)| entry.event(name.clone()));
        (self.last, events.collect())
    }
}

impl LeaseSlot {
    fn event(&self, name: LeaseName) -> LeaseEvent {
        let revision = self.revision;
        match &self.state {
            State::Held { payload, .. } => LeaseEvent::Held {
                name,
                revision,
                payload: payload.clone(),
            },
            State::Free(reason) => LeaseEvent::Ended {
                name,
                revision,
                reason: *reason,
            },
        }
    }
}
