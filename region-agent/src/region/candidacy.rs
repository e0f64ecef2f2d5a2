//! Which of the region's agents is the steward: the shell around the core's lease machine (design.md section 7).

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use isthmus_log::{LeaseError, LeaseEvent, LeaseName, LeaseWatch, Leases, PeerSubscription};
use isthmus_replication::lease::{Beat, Entry, Event, Holder, Lease, Operation, Reply, Request, Revision};
use isthmus_replication::limits;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{Region, payload};

/// Giving the lease up may take this long before the process goes on ending: it expires by itself.
const RELEASE: Duration = Duration::from_millis(700);
const RETRY: Duration = Duration::from_millis(200);
/// A process whose clock was ahead tries again after this.
const BARRED: Duration = Duration::from_secs(2);

/// The candidacy of this agent.
#[derive(Debug)]
pub struct Candidacy {
    region: Region,
    own: Holder,
    name: LeaseName,
}

struct Running<'a> {
    candidacy: &'a Candidacy,
    lease: Lease,
    watch: LeaseWatch,
    beats: PeerSubscription,
    asked: Option<BoxFuture<'static, (u64, Reply)>>,
}

impl Candidacy {
    /// Stands for steward as `own`.
    #[must_use]
    pub fn new(region: Region, own: Holder) -> Self {
        Self {
            region,
            own,
            name: LeaseName::steward(),
        }
    }

    /// Stands until `stop`, then gives the lease up. An agent whose clock is ahead does not stand: its marks are void.
    ///
    /// # Errors
    /// None: a bucket that does not answer is asked again for ever.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        while !stop.is_cancelled() {
            if !self.region.clock_is_ahead() {
                self.stand(&stop).await;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(BARRED) => {}
            }
        }
        Ok(())
    }

    async fn stand(&self, stop: &CancellationToken) {
        let beats = tokio::select! {
            () = stop.cancelled() => return,
            beats = self.subscribe() => beats,
        };
        let mut running = Running {
            lease: Lease::new(self.own.clone()),
            watch: self.region.context().ports.leases.watch(),
            candidacy: self,
            beats,
            asked: None,
        };
        while !stop.is_cancelled() && !self.region.clock_is_ahead() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = running.step() => {}
            }
        }
        running.lease.handle_release();
        running.show();
        let released = async {
            while !running.lease.is_released() {
                running.step().await;
            }
        };
        if timeout(RELEASE, released).await.is_err() {
            tracing::info!("the steward's lease was not given up in time; it expires by itself");
        }
    }

    async fn subscribe(&self) -> PeerSubscription {
        loop {
            match self
                .region
                .context()
                .ports
                .peers
                .subscribe(&self.name.beat_suffix())
                .await
            {
                Ok(beats) => return beats,
                Err(error) => tracing::debug!(%error, "the steward's beats can't be heard yet"),
            }
            sleep(RETRY).await;
        }
    }

    fn ask(&self, request: Request) -> BoxFuture<'static, (u64, Reply)> {
        let leases = Arc::clone(&self.region.context().ports.leases);
        let (name, holder) = (self.name.clone(), payload::holder(&self.own));
        Box::pin(async move {
            (
                request.id,
                perform(&*leases, &name, holder, request.operation).await,
            )
        })
    }
}

impl Running<'_> {
    /// Waits for one input and does what follows from it.
    async fn step(&mut self) {
        let clock = self.candidacy.region.context().process.clock.clone();
        let now = clock.mono();
        self.lease.handle_timeout(now);
        if let Some(request) = self.lease.poll_request(now) {
            self.asked = Some(self.candidacy.ask(request));
        }
        if let Some(beat) = self.lease.poll_beat(now) {
            tell(&self.candidacy.region, &self.candidacy.name, &beat).await;
        }
        self.show();
        let wake = self.lease.poll_timeout().map(|(at, _)| clock.instant(at));
        tokio::select! {
            biased;
            (id, reply) = answer(&mut self.asked) => {
                self.asked = None;
                self.lease.handle_reply(clock.mono(), id, reply);
            }
            Some(event) = self.watch.next() => self.watched(event),
            Some(beat) = self.beats.next() => {
                if let Some(beat) = payload::read_beat(&beat.payload) {
                    self.lease.handle_beat(clock.mono(), beat);
                }
            }
            () = async { match wake { Some(at) => sleep_until(at).await, None => pending().await } } => {}
        }
    }

    fn watched(&mut self, event: LeaseEvent) {
        let now = self.candidacy.region.context().process.clock.mono();
        let own = &self.candidacy.name;
        let entry = |revision: isthmus_log::Revision, payload: &[u8]| {
            payload::read_holder(payload).map(|holder| Entry {
                holder,
                revision: Revision(revision.0),
            })
        };
        match event {
            LeaseEvent::Snapshot(all) => {
                let found = all.iter().find(|(name, ..)| name == own);
                let found = found.and_then(|(_, revision, payload)| entry(*revision, payload));
                self.lease.handle_watch(now, found);
            }
            LeaseEvent::Held {
                name,
                revision,
                payload,
            } if name == *own => self.lease.handle_watch(now, entry(revision, &payload)),
            LeaseEvent::Ended { name, .. } if name == *own => self.lease.handle_watch(now, None),
            LeaseEvent::Held { .. } | LeaseEvent::Ended { .. } => {}
        }
    }

    /// Shows what became of stewardship.
    fn show(&mut self) {
        while let Some(event) = self.lease.poll_event() {
            match event {
                Event::Leads { revision } => tracing::info!(revision = revision.0, "is the steward"),
                Event::SteppedDown { other } => {
                    let other = other.map(|holder| holder.process.to_string());
                    tracing::info!(?other, "is the steward no more");
                }
            }
        }
        let mut roster = self.candidacy.region.roster();
        roster.stewards = self.lease.leads().is_some();
        roster.steward = self.lease.holder().map(|holder| holder.process.clone());
    }
}

async fn tell(region: &Region, name: &LeaseName, beat: &Beat) {
    let peers = &region.context().ports.peers;
    if let Err(error) = peers.publish(&name.beat_suffix(), payload::beat(beat)).await {
        tracing::debug!(%error, "no beat");
    }
}

async fn answer(asked: &mut Option<BoxFuture<'static, (u64, Reply)>>) -> (u64, Reply) {
    match asked {
        Some(asked) => asked.await,
        None => pending().await,
    }
}

async fn perform(leases: &dyn Leases, name: &LeaseName, holder: bytes::Bytes, operation: Operation) -> Reply {
    let revision = |revision: Revision| isthmus_log::Revision(revision.0);
    let written = |result: Result<isthmus_log::Revision, LeaseError>| match result {
        Ok(revision) => Reply::Written(Revision(revision.0)),
        Err(LeaseError::Conflict) => Reply::Conflict,
        Err(_) => Reply::Unreachable,
    };
    match operation {
        Operation::Read => {
            match leases.get(name).await {
                Ok(lease) => Reply::Read(lease.payload.as_deref().and_then(payload::read_holder).map(
                    |holder| Entry {
                        holder,
                        revision: Revision(lease.revision.0),
                    },
                )),
                Err(_) => Reply::Unreachable,
            }
        }
        Operation::Create => written(leases.create(name, holder, limits::LEASE_TTL).await),
        Operation::Update { expected } => written(
            leases
                .renew(name, revision(expected), holder, limits::LEASE_TTL)
                .await,
        ),
        Operation::Release { expected } => match leases.release(name, revision(expected)).await {
            Ok(()) => Reply::Written(expected),
            Err(LeaseError::Conflict) => Reply::Conflict,
            Err(_) => Reply::Unreachable,
        },
    }
}
