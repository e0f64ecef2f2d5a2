//! The port to a region's leases (design.md section 7): names that at most one process holds, for a
//! time to live.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use isthmus_replication::time::Wall;
use tokio::sync::mpsc;

use crate::task::OwnedTask;
use crate::{EnsureError, LeaseError};

/// The minimum time to live that a server supports.
pub(crate) const LEAST_TTL: Duration = Duration::from_secs(1);

/// The leases of one region. Taking, renewing and taking over are the same compare-and-set on the
/// revision, [`Leases::put`].
#[async_trait]
pub trait Leases: Debug + Send + Sync {
    /// Makes sure that the bucket exists, as [`crate::ChangeLog::ensure`] does for a log.
    ///
    /// # Errors
    /// [`EnsureError`].
    async fn ensure(&self, create: bool, replicas: u8) -> Result<(), EnsureError>;

    /// When the bucket was created, if it exists with the consumers that this process reads it
    /// through.
    ///
    /// # Errors
    /// [`EnsureError`]; during an election the bucket seems to be missing, too.
    async fn made_at(&self) -> Result<Wall, EnsureError>;

    /// Takes, renews or takes over a lease: writes `payload` for `ttl` if the lease is at
    /// `expected`, and returns its new revision.
    ///
    /// # Errors
    /// [`LeaseError::Conflict`] if the lease is at another revision. After
    /// [`LeaseError::Unanswered`] the write may or may not have taken effect.
    async fn put(
        &self,
        name: &LeaseName,
        expected: Revision,
        payload: Bytes,
        ttl: Duration,
    ) -> Result<Revision, LeaseError>;

    /// Releases the lease if it is still at `expected`.
    ///
    /// # Errors
    /// [`LeaseError::Conflict`] if it is not.
    async fn release(&self, name: &LeaseName, expected: Revision) -> Result<(), LeaseError>;

    /// The current state of a lease; for a free one, the revision at which it can be taken.
    ///
    /// # Errors
    /// [`LeaseError`].
    async fn get(&self, name: &LeaseName) -> Result<Lease, LeaseError>;

    /// Follows all leases of the region.
    fn watch(&self) -> LeaseWatch;

    /// Takes a free lease.
    ///
    /// # Errors
    /// [`LeaseError::Conflict`] if it is held.
    async fn create(&self, name: &LeaseName, payload: Bytes, ttl: Duration) -> Result<Revision, LeaseError> {
        let lease = self.get(name).await?;
        match lease.payload {
            Some(_) => Err(LeaseError::Conflict),
            None => self.put(name, lease.revision, payload, ttl).await,
        }
    }

    /// Renews a lease that is held at `revision` and restarts its time to live.
    ///
    /// # Errors
    /// [`LeaseError::Conflict`] if it was taken over or expired.
    async fn renew(
        &self,
        name: &LeaseName,
        revision: Revision,
        payload: Bytes,
        ttl: Duration,
    ) -> Result<Revision, LeaseError> {
        self.put(name, revision, payload, ttl).await
    }
}

/// The name of a lease: `leader`, `steward`, `member.agent.agent-1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseName(Arc<str>);

/// Text that is not a lease name: a lease name consists of tokens of `[a-z0-9-]` joined by dots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a lease: use tokens of a-z, 0-9 and '-' joined by dots")]
pub struct InvalidLeaseName(String);

impl LeaseName {
    /// Validates a name.
    ///
    /// # Errors
    /// [`InvalidLeaseName`].
    pub fn parse(name: &str) -> Result<Self, InvalidLeaseName> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let token = |token: &str| !token.is_empty() && token.bytes().all(allowed);
        if name.len() <= 128 && name.split('.').all(token) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidLeaseName(name.chars().take(64).collect()))
        }
    }

    /// The lease of the gateways' leader.
    #[must_use]
    pub fn leader() -> Self {
        Self("leader".into())
    }

    /// The lease of the agents' steward.
    #[must_use]
    pub fn steward() -> Self {
        Self("steward".into())
    }

    pub(crate) fn member(tail: fmt::Arguments<'_>) -> Self {
        Self(format!("member.{tail}").into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The suffix, for [`crate::PeerBus`], under which the holder sends beats.
    #[must_use]
    pub fn beat_suffix(&self) -> String {
        format!("beat.{self}")
    }
}

impl fmt::Display for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Debug for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&*self.0, f)
    }
}

/// A lease's position in the order of all changes of the bucket; 0 for a lease that never existed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// The current state of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lease {
    /// The revision that a compare-and-set must name, also for a free lease.
    pub revision: Revision,
    /// The holder's payload; `None` for a free lease.
    pub payload: Option<Bytes>,
}

/// Why a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Nobody renewed it.
    Expired,
    /// Its holder gave it up.
    Released,
}

/// An event of a lease watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseEvent {
    /// All held leases: the first event, and again after every interruption.
    Snapshot(Vec<(LeaseName, Revision, Bytes)>),
    /// A lease was taken, renewed or taken over.
    Held {
        /// The lease.
        name: LeaseName,
        /// Its revision.
        revision: Revision,
        /// The holder's payload.
        payload: Bytes,
    },
    /// A lease became free.
    Ended {
        /// The lease.
        name: LeaseName,
        /// The revision at which it can be taken.
        revision: Revision,
        /// The reason.
        reason: Ended,
    },
}

/// Capacity of a watch's event queue.
const WAITING: usize = 64;

/// Follows all leases of a region until it is dropped; it continues after every interruption.
#[derive(Debug)]
pub struct LeaseWatch {
    events: mpsc::Receiver<LeaseEvent>,
    _task: OwnedTask,
}

impl LeaseWatch {
    /// A watch of the events that `work` sends; `work` ends with the watch.
    pub(crate) fn new<W>(work: impl FnOnce(mpsc::Sender<LeaseEvent>) -> W) -> Self
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let (sender, events) = mpsc::channel(WAITING);
        let task = OwnedTask::spawn(work(sender));
        Self { events, _task: task }
    }

    /// The next event; `None` when the process shuts down. Cancel safe.
    pub async fn next(&mut self) -> Option<LeaseEvent> {
        self.events.recv().await
    }
}
