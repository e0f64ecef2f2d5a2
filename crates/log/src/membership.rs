//! A process's own member lease: what shows it alive to the region, for as long as it renews it (design.md section 7).

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::{LeaseError, LeaseName, Member, Ports, Revision};

/// So long that an election of the region's NATS flaps nobody.
const TTL: Duration = Duration::from_secs(15);
const RENEWAL: Duration = Duration::from_secs(3);
/// Giving the lease up may take this long; it runs out by itself.
const RELEASE: Duration = Duration::from_millis(700);

/// A member lease that is held, or to be had.
#[derive(Debug)]
pub struct Membership {
    ports: Ports,
    name: LeaseName,
    held: Option<(Revision, Bytes)>,
    terms: u64,
}

/// What became of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The lease is held.
    Held,
    /// Not for the moment; try again.
    Open,
    /// Another process writes the same lease.
    Taken,
}

impl Membership {
    /// The lease of `member`, not yet taken.
    #[must_use]
    pub fn new(ports: Ports, member: &Member) -> Self {
        Self {
            name: member.lease(),
            ports,
            held: None,
            terms: 0,
        }
    }

    /// Which time it is that this process holds the lease, counted from 1, if the next renewal succeeds. Part of what a member
    /// writes: it tells one coming or going of a run from another.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.terms + u64::from(self.held.is_none())
    }

    /// Takes or renews the lease with `payload`. May be dropped; what it did then shows at the next renewal.
    pub async fn renew(&mut self, payload: Bytes) -> Renewal {
        match self.write(payload.clone()).await {
            Ok(revision) => {
                self.terms = self.term();
                self.held = Some((revision, payload));
                Renewal::Held
            }
            Err(error) => {
                let lost = self.held.take().filter(|_| error == LeaseError::Conflict);
                match lost {
                    Some((_, written)) if self.is_written_by_another(&written).await => Renewal::Taken,
                    _ => Renewal::Open,
                }
            }
        }
    }

    async fn write(&self, payload: Bytes) -> Result<Revision, LeaseError> {
        let leases = &self.ports.leases;
        let expected = match &self.held {
            Some((revision, _)) => *revision,
            None => leases.get(&self.name).await?.revision,
        };
        leases.put(&self.name, expected, payload, TTL).await
    }

    /// A lease that ran out while this process was stopped is in nobody's hands.
    async fn is_written_by_another(&self, written: &Bytes) -> bool {
        let lease = self.ports.leases.get(&self.name).await;
        lease.is_ok_and(|lease| lease.payload.is_some_and(|payload| payload != *written))
    }

    /// How long to wait before the next renewal.
    #[must_use]
    pub fn pause(&self) -> Duration {
        if self.held.is_some() { RENEWAL } else { RENEWAL / 6 }
    }

    /// Gives the lease up, so that the others need not wait for its end.
    pub async fn leave(self) {
        if let Some((revision, _)) = self.held
            && timeout(RELEASE, self.ports.leases.release(&self.name, revision))
                .await
                .is_err()
        {
            tracing::debug!(lease = %self.name, "the member lease was not given up in time; it runs out by itself");
        }
    }
}
