//! Which of the region's gateways forwards: the shell around the core's lease machine (design.md section 7).
//!
//! Leadership is an optimisation, never a safety argument: two leaders send the same ranges, and the folds of the
//! receiving regions void the second. So nothing here waits for certainty.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use isthmus_log::{
    LeaseError, LeaseEvent, LeaseName, LeaseWatch, Leases, PeerError, PeerSubscription, Ports,
};
use isthmus_replication::lease::{Entry, Event, Holder, Lease, Operation, Reply, Request, Revision};
use isthmus_replication::limits;
use isthmus_replication::time::Mono;
use isthmus_runtime::clock::Clock;
use tokio::sync::watch;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::board::{Board, Leadership};
use crate::metrics::GatewayMetrics;

mod payload;

/// Giving the lease up may take this long before the process goes on ending: it expires by itself.
const RELEASE: Duration = Duration::from_millis(700);
/// A subscription that could not be had is asked for again after this long.
const RETRY: Duration = Duration::from_millis(200);
/// A candidacy that wakes this much too late was starved: beats may wait for it.
const LATE: Duration = Duration::from_millis(50);
/// It then hears what waits for this long before it judges the leader silent, but not time after time.
const PATIENCE: Duration = Duration::from_millis(200);

/// The candidacy of this gateway.
pub struct Candidacy {
    /// The region's leases and talk.
    pub ports: Ports,
    /// This run of this process.
    pub own: Holder,
    /// Time.
    pub clock: Clock,
    /// Where leadership is shown.
    pub board: Board,
    /// Where it is counted.
    pub metrics: GatewayMetrics,
    /// Told whether this gateway leads.
    pub leading: watch::Sender<bool>,
}

struct Running {
    candidacy: Candidacy,
    lease: Lease,
    name: LeaseName,
    asked: Option<BoxFuture<'static, (u64, Reply)>>,
    /// When to wake at the latest.
    wake: Mono,
    /// A standby asks nothing before this.
    patient_until: Mono,
}

impl Candidacy {
    /// Stands for leader until `stop`, then gives the lease up.
    ///
    /// # Errors
    /// None: a bucket that does not answer is asked again for ever.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        let name = LeaseName::leader();
        let mut watch = self.ports.leases.watch();
        let (ports, suffix) = (self.ports.clone(), name.beat_suffix());
        let mut running = Running {
            lease: Lease::new(self.own.clone()),
            candidacy: self,
            name,
            asked: None,
            wake: Mono::from_nanos(u64::MAX),
            patient_until: Mono::default(),
        };
        let mut beats = tokio::select! {
            beats = subscribe(&ports, &suffix) => beats,
            () = stop.cancelled() => return Ok(()),
        };
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = running.step(&mut watch, &mut beats) => {}
            }
        }
        running.lease.handle_release();
        running.show();
        let released = async {
            while !running.lease.is_released() {
                running.step(&mut watch, &mut beats).await;
            }
        };
        if tokio::time::timeout(RELEASE, released).await.is_err() {
            tracing::info!("the lease was not given up in time; it expires by itself");
        }
        Ok(())
    }
}

impl Running {
    /// Waits for one input and does what follows from it.
    async fn step(&mut self, watch: &mut LeaseWatch, beats: &mut PeerSubscription) {
        let now = self.candidacy.clock.mono();
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
        self.show();
        let due = self.lease.poll_timeout();
        let due = due.map_or(Mono::from_nanos(u64::MAX), |(at, _)| at);
        self.wake = if patient { self.patient_until } else { due };
        let wake = self.candidacy.clock.instant(self.wake);
        tokio::select! {
            biased;
            (id, reply) = answer(&mut self.asked) => {
                self.asked = None;
                self.lease.handle_reply(self.candidacy.clock.mono(), id, reply);
            }
            Some(event) = watch.next() => self.watched(event),
            Some(beat) = beats.next() => {
                if let Some(beat) = payload::read_beat(&beat.payload) {
                    self.lease.handle_beat(self.candidacy.clock.mono(), beat);
                }
            }
            () = sleep_until(wake) => {}
        }
    }

    fn watched(&mut self, event: LeaseEvent) {
        let now = self.candidacy.clock.mono();
        let entry = |revision: isthmus_log::Revision, payload: &[u8]| {
            payload::read_holder(payload).map(|holder| Entry {
                holder,
                revision: Revision(revision.0),
            })
        };
        match event {
            LeaseEvent::Snapshot(all) => {
                let found = all.iter().find(|(name, ..)| *name == self.name);
                self.lease.handle_watch(
                    now,
                    found.and_then(|(_, revision, payload)| entry(*revision, payload)),
                );
            }
            LeaseEvent::Held {
                name,
                revision,
                payload,
            } if name == self.name => {
                self.lease.handle_watch(now, entry(revision, &payload));
            }
            LeaseEvent::Ended { name, .. } if name == self.name => self.lease.handle_watch(now, None),
            LeaseEvent::Held { .. } | LeaseEvent::Ended { .. } => {}
        }
    }

    fn ask(&self, request: Request) -> BoxFuture<'static, (u64, Reply)> {
        let leases = Arc::clone(&self.candidacy.ports.leases);
        let (name, holder) = (self.name.clone(), payload::holder(&self.candidacy.own));
        Box::pin(async move {
            let reply = perform(&*leases, &name, holder, request.operation).await;
            (request.id, reply)
        })
    }

    async fn beat(&mut self, beat: &Entry) {
        let told = self
            .candidacy
            .ports
            .peers
            .publish(&self.name.beat_suffix(), payload::beat(beat))
            .await;
        if let Err(PeerError::Away) = told {
            tracing::debug!("no beat: the region's NATS is away");
        }
    }

    /// Shows what became of leadership and tells who acts on it.
    fn show(&mut self) {
        while let Some(event) = self.lease.poll_event() {
            match event {
                Event::Leads { revision } => {
                    tracing::info!(revision = revision.0, "leads");
                    self.candidacy.metrics.took_over();
                }
                Event::SteppedDown { other } => {
                    let other = other.map(|holder| holder.process.to_string());
                    tracing::info!(?other, "leads no more");
                }
            }
        }
        let leads = self.lease.leads();
        let mut state = self.candidacy.board.state();
        let life = state
            .heads
            .values()
            .find_map(|head| head.position)
            .map(|position| position.life);
        let held = state.leadership.epoch.filter(|_| state.leadership.leading);
        state.leadership = Leadership {
            leader: self.lease.holder().map(|holder| holder.process.clone()),
            leading: leads.is_some(),
            epoch: leads.and_then(|revision| held.or(Some((life?, revision.0)))),
        };
        drop(state);
        self.candidacy.leading.send_if_modified(|leading| {
            let changed = *leading != leads.is_some();
            *leading = leads.is_some();
            changed
        });
    }
}

async fn subscribe(ports: &Ports, suffix: &str) -> PeerSubscription {
    loop {
        match ports.peers.subscribe(suffix).await {
            Ok(beats) => return beats,
            Err(error) => tracing::debug!(%error, "the leader's beats can't be heard yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn perform(leases: &dyn Leases, name: &LeaseName, holder: bytes::Bytes, operation: Operation) -> Reply {
    let at = |revision: Revision| isthmus_log::Revision(revision.0);
    let written = |outcome: Result<isthmus_log::Revision, LeaseError>| match outcome {
        Ok(revision) => Reply::Written(Revision(revision.0)),
        Err(LeaseError::Conflict) => Reply::Conflict,
        Err(error) => {
            tracing::debug!(%error, "the lease's outcome is open");
            Reply::Unreachable
        }
    };
    match operation {
        Operation::Read => read(leases, name).await,
        Operation::Create => written(leases.create(name, holder, limits::LEASE_TTL).await),
        Operation::Update { expected } => {
            written(leases.renew(name, at(expected), holder, limits::LEASE_TTL).await)
        }
        Operation::Release { expected } => {
            let released = leases.release(name, at(expected)).await;
            written(released.map(|()| at(expected)))
        }
    }
}

async fn read(leases: &dyn Leases, name: &LeaseName) -> Reply {
    let lease = match leases.get(name).await {
        Ok(lease) => lease,
        Err(_) => return Reply::Unreachable,
    };
    match lease.payload {
        None => Reply::Read(None),
        // An entry that nobody here wrote expires by itself.
        Some(payload) => payload::read_holder(&payload).map_or(Reply::Unreachable, |holder| {
            Reply::Read(Some(Entry {
                holder,
                revision: Revision(lease.revision.0),
            }))
        }),
    }
}

async fn answer(asked: &mut Option<BoxFuture<'static, (u64, Reply)>>) -> (u64, Reply) {
    match asked {
        Some(asked) => asked.await,
        None => std::future::pending().await,
    }
}
