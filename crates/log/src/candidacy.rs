//! One process's candidacy for one lease: the async shell around the lease state machine of the
//! core (design.md section 7).
//!
//! Holding the lease is an optimisation and never a safety argument: two leaders do no harm. So
//! nothing here waits for certainty.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use isthmus_replication::lease::{self, Beat, Event, Holder, LeaseEntry, Operation, Reply, Request};
use isthmus_replication::limits;
use isthmus_replication::time::Mono;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{LeaseError, LeaseEvent, LeaseName, LeaseWatch, Leases, PeerSubscription, Ports, Revision};

pub mod payload;

/// Time limit for releasing the lease during shutdown. An unreleased lease expires by itself.
const RELEASE: Duration = Duration::from_millis(700);
/// A candidacy that wakes up this late was starved of CPU; unread beats may be queued.
const LATE: Duration = Duration::from_millis(50);
/// A starved candidacy processes queued beats for this long before it considers the holder silent,
/// but not repeatedly.
const PATIENCE: Duration = Duration::from_millis(200);

type Asked = Option<BoxFuture<'static, (u64, Reply)>>;

/// A candidacy for a lease. [`Candidacy::step`] drives it; the caller queries its state after each
/// step.
pub struct Candidacy {
    ports: Ports,
    name: LeaseName,
    own: Bytes,
    lease: lease::Lease,
    watch: LeaseWatch,
    beats: PeerSubscription,
    asked: Asked,
    began: Instant,
    /// The latest time of the next action.
    wake: Mono,
    /// Until then a starved candidate that does not hold the lease sends no requests.
    patient_until: Mono,
}

impl Candidacy {
    /// Starts a candidacy for `name` as `own`, once the subscription to the holder's beats is open.
    pub async fn new(ports: Ports, name: LeaseName, own: Holder) -> Self {
        let beats = ports.peers.hear(&name.beat_suffix()).await;
        Self {
            watch: ports.leases.watch(),
            own: payload::holder(&own),
            lease: lease::Lease::new(own),
            ports,
            name,
            beats,
            asked: None,
            began: Instant::now(),
            wake: Mono::default(),
            patient_until: Mono::default(),
        }
    }

    /// The revision at which this process holds the lease; `None` while it does not hold it.
    #[must_use]
    pub fn leads(&self) -> Option<lease::Revision> {
        self.lease.leads()
    }

    /// The lease's holder, as far as this process knows.
    #[must_use]
    pub fn holder(&self) -> Option<&Holder> {
        self.lease.holder()
    }

    /// The next event to report.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.lease.poll_event()
    }

    /// Waits for one input or deadline and handles it. Cancel safe: it may be dropped and called
    /// again.
    pub async fn step(&mut self) {
        let wake = self.began + Duration::from_nanos(self.wake.nanos());
        tokio::select! {
            biased;
            (id, reply) = answer(&mut self.asked) => {
                self.asked = None;
                self.lease.handle_reply(self.now(), id, reply);
            }
            Some(event) = self.watch.next() => self.watched(event),
            Some(beat) = self.beats.next() => {
                if let Some(beat) = payload::read_beat(&beat.payload) {
                    self.lease.handle_beat(self.now(), beat);
                }
            }
            () = sleep_until(wake) => {}
        }
        self.act().await;
    }

    /// Stops holding the lease locally: [`Candidacy::leads`] returns `None` from then on.
    pub fn give_up(&mut self) {
        self.lease.handle_release();
    }

    /// Releases the lease in the bucket, so that the next holder need not wait for it to expire.
    pub async fn release(mut self) {
        self.give_up();
        let released = async {
            self.act().await;
            while !self.lease.is_released() {
                self.step().await;
            }
        };
        if timeout(RELEASE, released).await.is_err() {
            tracing::info!(lease = %self.name, "the lease was not released in time; it expires by itself");
        }
    }

    fn now(&self) -> Mono {
        let nanos = self.began.elapsed().as_nanos();
        Mono::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Performs due actions. A starved candidate first processes queued beats before it takes the
    /// lease.
    async fn act(&mut self) {
        let now = self.now();
        if now.since(self.wake) > LATE && now.since(self.patient_until) > PATIENCE * 5 {
            self.patient_until = now.after(PATIENCE);
        }
        let patient = now < self.patient_until && self.lease.leads().is_none();
        if !patient {
            self.lease.handle_timeout(now);
            if let Some(request) = self.lease.poll_request(now) {
                self.asked = Some(self.ask(request));
            }
        }
        if let Some(beat) = self.lease.poll_beat(now) {
            self.beat(&beat).await;
        }
        let due = self.lease.poll_timeout().map(|(at, _)| at);
        let due = if patient { Some(self.patient_until) } else { due };
        self.wake = due.unwrap_or_else(|| now.after(limits::LEASE_TTL));
    }

    fn watched(&mut self, event: LeaseEvent) {
        let now = self.now();
        match event {
            LeaseEvent::Snapshot(all) => {
                let found = all.iter().find(|(name, ..)| *name == self.name);
                let found = found.and_then(|(_, revision, payload)| entry(*revision, payload));
                self.lease.handle_watch(now, found);
            }
            LeaseEvent::Held {
                name,
                revision,
                payload,
            } if name == self.name => self.lease.handle_watch(now, entry(revision, &payload)),
            LeaseEvent::Ended { name, .. } if name == self.name => self.lease.handle_watch(now, None),
            LeaseEvent::Held { .. } | LeaseEvent::Ended { .. } => {}
        }
    }

    fn ask(&self, request: Request) -> BoxFuture<'static, (u64, Reply)> {
        let leases = Arc::clone(&self.ports.leases);
        let (name, own) = (self.name.clone(), self.own.clone());
        Box::pin(async move {
            let reply = perform(&*leases, &name, own, request.operation).await;
            (request.id, reply)
        })
    }

    async fn beat(&mut self, beat: &Beat) {
        let suffix = self.name.beat_suffix();
        if let Err(error) = self.ports.peers.publish(&suffix, payload::beat(beat)).await {
            tracing::debug!(%error, lease = %self.name, "a beat could not be published");
        }
    }
}

fn entry(revision: Revision, payload: &[u8]) -> Option<LeaseEntry> {
    payload::read_holder(payload).map(|holder| LeaseEntry {
        holder,
        revision: lease::Revision(revision.0),
    })
}

async fn perform(leases: &dyn Leases, name: &LeaseName, own: Bytes, operation: Operation) -> Reply {
    let at = |revision: lease::Revision| Revision(revision.0);
    let written = |outcome: Result<Revision, LeaseError>| match outcome {
        Ok(revision) => Reply::Written(lease::Revision(revision.0)),
        Err(LeaseError::Conflict) => Reply::Conflict,
        Err(error) => {
            tracing::debug!(%error, lease = %name, "the outcome of the lease request is unknown");
            Reply::Unreachable
        }
    };
    match operation {
        Operation::Read => read(leases, name).await,
        Operation::Create => written(leases.create(name, own, limits::LEASE_TTL).await),
        Operation::Update { expected } => {
            written(leases.renew(name, at(expected), own, limits::LEASE_TTL).await)
        }
        Operation::Release { expected } => {
            let released = leases.release(name, at(expected)).await;
            written(released.map(|()| at(expected)))
        }
    }
}

/// Reads an entry. One in an unknown format counts as unreachable; it expires by itself.
async fn read(leases: &dyn Leases, name: &LeaseName) -> Reply {
    match leases.get(name).await {
        Err(_) => Reply::Unreachable,
        Ok(lease) => match lease.payload {
            None => Reply::Read(None),
            Some(payload) => match entry(lease.revision, &payload) {
                Some(entry) => Reply::Read(Some(entry)),
                None => Reply::Unreachable,
            },
        },
    }
}

async fn answer(asked: &mut Asked) -> (u64, Reply) {
    match asked {
        Some(asked) => asked.await,
        None => std::future::pending().await,
    }
}
