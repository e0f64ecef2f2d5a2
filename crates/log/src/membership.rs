//! A process's own member lease: it shows the region that the process is alive, as long as the
//! process renews it (design.md section 7).

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::{LeaseError, LeaseName, Member, Ports, Revision};

/// Long enough that an election of the region's NATS does not make members flap.
const TTL: Duration = Duration::from_secs(15);
const RENEWAL: Duration = Duration::from_secs(3);
/// Time limit for releasing the lease; an unreleased lease expires by itself.
const RELEASE: Duration = Duration::from_millis(700);

/// A member lease, held or not yet taken.
#[derive(Debug)]
pub struct Membership {
    ports: Ports,
    name: LeaseName,
    held: Option<(Revision, Bytes)>,
    terms: u64,
}

/// The outcome of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The lease is held.
    Held,
    /// The lease is not held at the moment; try again.
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

    /// The number of the term in which this process holds the lease, counted from 1, if the next
    /// renewal succeeds. It is part of a member's payload and distinguishes the starts and ends of
    /// one run.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.terms + u64::from(self.held.is_none())
    }

    /// Takes or renews the lease with `payload`. May be dropped; the next renewal observes its
    /// effect.
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

    /// Whether another process wrote the lease. A lease that expired while this process was stopped
    /// belongs to nobody.
    async fn is_written_by_another(&self, written: &Bytes) -> bool {
        let lease = self.ports.leases.get(&self.name).await;
        lease.is_ok_and(|lease| lease.payload.is_some_and(|payload| payload != *written))
    }

    /// How long to wait before the next renewal.
    #[must_use]
    pub fn pause(&self) -> Duration {
        if self.held.is_some() { RENEWAL } else { RENEWAL / 6 }
    }

    /// Releases the lease, so that the others need not wait for it to expire.
    pub async fn leave(self) {
        if let Some((revision, _)) = self.held
            && timeout(RELEASE, self.ports.leases.release(&self.name, revision))
                .await
                .is_err()
        {
            tracing::debug!(lease = %self.name, "the member lease was not released in time; it expires by itself");
        }
    }
}
