//! The link to one peer region, dialled again forever while this gateway leads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use isthmus_door::names::Names;
use isthmus_link::{Connection, LinkLimits};
use isthmus_replication::coordinates::Shard;
use isthmus_replication::link::frame::{GoodbyeReason, LaneOffer, Welcome};
use isthmus_replication::link::session::{CallFailure, Session, SessionEvent};
use isthmus_replication::names::RegionName;
use isthmus_replication::time::Mono;
use isthmus_report::{LaneState, RegionReport, UnreadableReport};
use isthmus_runtime::events::throttle::Throttle;
use isthmus_runtime::events::{Severity, Source};
use isthmus_runtime::random;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::compare::{self, Comparing};
use super::landmarks_calls::{self, LandmarksCalls};
use super::lane::{FromLane, Lanes, ToLane};
use super::sync_calls::{self, SyncCall, SyncCalls};
use crate::addresses::PeerAddresses;
use crate::backoff::Backoff;
use crate::leader::{lost, won};
use crate::link_connection::{self, LinkConnection, LinkEnd, STATUS};
use crate::region::take_report;
use crate::shared::Shared;
use crate::view::{LinkView, Phase};

mod tell;

/// How often the state of the link is checked.
const REFRESH: Duration = Duration::from_millis(100);
/// How often the peer region's report is requested.
const REPORT: Duration = Duration::from_secs(1);
/// The timeout of a connection attempt. It is shorter than the system's, so that the next address
/// gets its turn.
const CONNECT: Duration = Duration::from_secs(3);
/// The timeout of a handshake. It takes one round trip, and a path may take seconds.
const HANDSHAKE: Duration = Duration::from_secs(8);
/// A link that was up for this long is dialled again without a wait.
const STEADY: Duration = Duration::from_secs(1);

/// A lane ended unexpectedly. This is a bug in this program, and the lane's lag is no longer known.
#[derive(Debug, thiserror::Error)]
#[error("a lane to region {peer} has ended; report it with the log of this process")]
pub(super) struct LaneEnded {
    peer: RegionName,
}

pub(super) struct PeerLink {
    shared: Shared,
    peer: RegionName,
    shards: Vec<Shard>,
    addresses: PeerAddresses,
    backoff: Backoff,
    /// The failures since the link was last up.
    reported: Throttle<String>,
    landmarks_calls: LandmarksCalls,
    comparing: Comparing,
    /// The steward's requests to the peer.
    syncs: mpsc::Receiver<SyncCall>,
    sync_calls: SyncCalls,
    /// When the link was accepted; none while it is not.
    up_since: Option<Mono>,
    /// Links that send their last frames while the next one is dialled.
    closing: JoinSet<()>,
}

impl PeerLink {
    /// The link to `peer`, which has `shards` in common with this region.
    ///
    /// # Errors
    /// When there is no randomness for the waits between dials.
    pub(super) fn new(
        shared: Shared,
        peer: RegionName,
        shards: Vec<Shard>,
        names: Arc<dyn Names>,
    ) -> anyhow::Result<Self> {
        let written = shared
            .process
            .settings
            .link
            .dial
            .get(&peer)
            .cloned()
            .unwrap_or_default();
        shared.view.link(&peer, |_| {});
        Ok(Self {
            addresses: PeerAddresses::new(written, names),
            backoff: Backoff::new(random::bits()?),
            syncs: shared.sync_routes.add(&peer),
            shared,
            peer,
            shards,
            reported: Throttle::default(),
            landmarks_calls: LandmarksCalls::default(),
            comparing: Comparing::default(),
            sync_calls: SyncCalls::default(),
            up_since: None,
            closing: JoinSet::new(),
        })
    }

    /// Keeps the link up whenever this gateway leads, until `stop`.
    ///
    /// # Errors
    /// [`LaneEnded`] if a lane ends unexpectedly.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), LaneEnded> {
        let mut leading = self.shared.leading.clone();
        loop {
            tokio::select! {
                () = won(&mut leading) => {}
                () = stop.cancelled() => return Ok(()),
            }
            let (teller, mut from_lanes) = mpsc::channel(2 * self.shards.len().max(1));
            let lanes = Lanes::start(&self.shared, &self.peer, &self.shards, &teller);
            while *leading.borrow() && !stop.is_cancelled() {
                if let Some(connection) = self.connect(&stop).await {
                    self.hold(connection, &lanes, &mut from_lanes, &stop).await;
                }
                if lanes.is_broken() {
                    return Err(LaneEnded { peer: self.peer });
                }
            }
            drop(lanes);
            while self.closing.join_next().await.is_some() {}
            self.shared.tables.lock().compared.forget(&self.peer);
            self.shared.view.link(&self.peer, |link| {
                link.phase = Phase::Standby;
                link.lanes.clear();
            });
        }
    }

    /// Dials the next address after the backoff's next wait, which is short if the last link was
    /// up.
    async fn connect(&mut self, stop: &CancellationToken) -> Option<Connection> {
        self.shared.view.link(&self.peer, LinkView::dial);
        let mut leading = self.shared.leading.clone();
        let wait = self.backoff.wait();
        tokio::select! {
            connection = self.dial_after(wait) => connection,
            () = lost(&mut leading) => None,
            () = stop.cancelled() => None,
        }
    }

    async fn dial_after(&mut self, wait: Duration) -> Option<Connection> {
        tokio::time::sleep(wait).await;
        let limits = LinkLimits {
            connect: CONNECT,
            handshake: HANDSHAKE,
            ..LinkLimits::default()
        };
        let address = match self.addresses.next(self.shared.process.clock.mono()).await {
            Ok(address) => address,
            Err(error) => {
                let mend = "check link.dial, or the region's gateways in set.yaml";
                self.failed(
                    "address",
                    &format!("no address of region {} is known: {error}; {mend}", self.peer),
                );
                return None;
            }
        };
        self.shared
            .view
            .link(&self.peer, |link| link.address = Some(address));
        match self.shared.links.dial(address, &self.peer, &limits).await {
            Ok(connection) => Some(connection),
            Err(error) => {
                if matches!(error, isthmus_link::DialError::Refused { .. }) {
                    self.shared.metrics.refused(error.label());
                }
                self.failed(error.label(), &error.to_string());
                None
            }
        }
    }

    /// Runs a session on `connection` until it ends.
    async fn hold(
        &mut self,
        connection: Connection,
        lanes: &Lanes,
        from_lanes: &mut mpsc::Receiver<FromLane>,
        stop: &CancellationToken,
    ) {
        self.shared
            .view
            .link(&self.peer, |link| link.phase = Phase::Greeting);
        while from_lanes.try_recv().is_ok() {}
        (self.landmarks_calls, self.comparing) = (LandmarksCalls::default(), Comparing::default());
        self.sync_calls = SyncCalls::default();
        while self.syncs.try_recv().is_ok() {}
        let session = Session::dialer(
            self.shared.log_now(),
            link_connection::party(&self.shared),
            self.peer.clone(),
            self.offers(),
        );
        let mut connection = LinkConnection::new(connection, session, self.shared.clone());
        connection
            .session
            .pause(self.shared.paused.borrow().contains(&self.peer));
        let end = self.converse(&mut connection, lanes, from_lanes, stop).await;
        lanes.tell_all(|| ToLane::Closed).await;
        self.shared.cursors.connected(&self.peer, false);
        let now = self.shared.process.clock.mono();
        if self
            .up_since
            .take()
            .is_some_and(|since| now.since(since) >= STEADY)
        {
            self.backoff.skip();
        }
        while self.closing.try_join_next().is_some() {}
        if connection.session.is_ended() {
            self.closing.spawn(connection.close());
        }
        self.link_ended(&end);
    }

    async fn converse(
        &mut self,
        connection: &mut LinkConnection,
        lanes: &Lanes,
        from_lanes: &mut mpsc::Receiver<FromLane>,
        stop: &CancellationToken,
    ) -> LinkEnd {
        let links = Arc::clone(&self.shared.links);
        let proven = connection.peer.clone();
        let mut certificate = links.until_refused(&proven);
        let mut paused = self.shared.paused.subscribe();
        let mut leading = self.shared.leading.clone();
        let mut refresh = interval(REFRESH);
        let mut report = interval(REPORT);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refused = false;
        loop {
            tokio::select! {
                event = connection.next() => match event {
                    Ok(event) => self.handle(connection, lanes, event).await,
                    Err(end) => return end,
                },
                _ = refresh.tick() => {
                    self.update_view(connection);
                    if lanes.is_broken() && !connection.session.is_ended() {
                        connection.session.refuse(GoodbyeReason::Draining, "a lane of this gateway has ended");
                    }
                }
                _ = report.tick() => {
                    connection.note_sent();
                    // If the session is not open yet or has too many calls, the next tick asks
                    // again.
                    let _ = connection.session.request(self.shared.log_now(), STATUS, bytes::Bytes::new());
                    self.comparing.ask(&self.shared, &self.peer, &mut connection.session, &self.shards);
                }
                Ok(()) = paused.changed() => {
                    let paused = paused.borrow_and_update().contains(&self.peer);
                    connection.session.pause(paused);
                }
                Some(call) = self.syncs.recv() => {
                    let now = self.shared.log_now();
                    self.sync_calls.ask(&self.shared, &self.peer, &mut connection.session, now, call).await;
                }
                Some(event) = from_lanes.recv() => self.handle_lane_event(connection, event),
                refusal = &mut certificate, if !refused => {
                    refused = true;
                    self.refuse_peer(connection, &refusal);
                }
                () = lost(&mut leading), if !connection.session.is_ended() => {
                    connection.session.refuse(GoodbyeReason::NotLeading, "another gateway of this region leads");
                }
                () = stop.cancelled(), if !connection.session.is_ended() => {
                    connection.session.refuse(GoodbyeReason::Draining, "this gateway is stopping");
                }
            }
        }
    }

    async fn handle(&mut self, connection: &mut LinkConnection, lanes: &Lanes, event: SessionEvent) {
        match event {
            SessionEvent::Welcome(welcome) => self.welcomed(connection, lanes, welcome).await,
            SessionEvent::Ack(report) => {
                self.shared.metrics.ack_received(&self.peer);
                lanes.tell(&report.shard.clone(), ToLane::Ack(report)).await;
            }
            SessionEvent::Reset(report) => lanes.tell(&report.shard.clone(), ToLane::Reset(report)).await,
            SessionEvent::Paused(paused) => lanes.tell_all(|| ToLane::Paused(paused)).await,
            SessionEvent::SetDiffers { peer } => link_connection::set_differs(&self.shared, &peer),
            SessionEvent::PeerEvent(event) => {
                link_connection::record_peer_event(&self.shared, &self.peer, &event)
            }
            SessionEvent::Request(request) => {
                link_connection::answer(&self.shared, &mut connection.session, &request)
            }
            SessionEvent::Response { id, outcome } => self.answered(id, outcome).await,
            SessionEvent::Hello(_) | SessionEvent::Range(_) | SessionEvent::Ended(_) => {}
        }
    }

    fn handle_lane_event(&mut self, connection: &mut LinkConnection, event: FromLane) {
        match event {
            FromLane::Stuck(shard) if connection.sends() => {
                tracing::debug!(peer = %self.peer, %shard, "the lane's cursor does not move, but its bytes are being sent");
            }
            FromLane::Stuck(shard) => {
                self.shared.metrics.watchdog(&self.peer);
                let text = format!("no progress on lane {shard} although there is work");
                connection.session.refuse(GoodbyeReason::NoProgress, &text);
            }
            FromLane::Suspects(shard, cursor) => {
                let now = self.shared.log_now();
                self.landmarks_calls
                    .ask(&mut connection.session, now, shard, cursor);
            }
        }
    }

    async fn welcomed(&mut self, connection: &mut LinkConnection, lanes: &Lanes, welcome: Welcome) {
        self.backoff.reset();
        self.up_since = Some(self.shared.process.clock.mono());
        let since = self.shared.now().wall;
        let address = self
            .shared
            .view
            .lock()
            .links
            .get(&self.peer)
            .and_then(|link| link.address);
        let gateway = &welcome.party.process;
        self.event(
            "",
            Severity::Notice,
            "link_up",
            format!("the link to region {} is up: {gateway} accepted it", self.peer),
            json!({ "peer": self.peer.as_str(), "gateway": gateway.as_str(), "address": address.map(|at| at.to_string()) }),
        );
        self.shared.view.link(&self.peer, |link| {
            link.phase = Phase::Connected;
            link.gateway = Some(welcome.party.process.clone());
            link.version = Some(welcome.version);
            link.certificate_ends = Some(connection.peer.not_after());
            link.since = Some(since);
            link.last_error = None;
        });
        self.reported = Throttle::default();
        self.shared.cursors.connected(&self.peer, true);
        let taken: BTreeMap<_, _> = welcome
            .lanes
            .into_iter()
            .map(|report| (report.shard.clone(), report))
            .collect();
        for shard in &self.shards {
            if !taken.contains_key(shard) {
                let text = format!(
                    "region {} does not accept shard {shard}: compare both set.yaml",
                    self.peer
                );
                self.shared.process.events.record_from(
                    &Source::region(&self.peer).of_shard(shard),
                    Severity::Warning,
                    "lane_refused",
                    text,
                    json!({ "peer": self.peer.as_str() }),
                );
            }
        }
        for (shard, report) in taken {
            let outbox = connection.outbox.clone();
            let paused = connection.session.is_paused();
            lanes
                .tell(
                    &shard,
                    ToLane::Opened {
                        report,
                        outbox,
                        paused,
                    },
                )
                .await;
        }
    }

    fn update_view(&self, connection: &LinkConnection) {
        let now = self.shared.log_now();
        if connection.session.is_open() {
            self.shared
                .cursors
                .connected(&self.peer, !connection.session.is_quiet(now));
        }
        let path = connection.path();
        self.shared.view.link(&self.peer, |link| link.path = path);
    }

    fn offers(&self) -> Vec<LaneOffer> {
        let life = |shard| {
            let head = self.shared.head_of(shard);
            let position = head.borrow().as_ref()?.position();
            position.map(|position| position.life)
        };
        self.shards
            .iter()
            .map(|shard| LaneOffer {
                shard: shard.clone(),
                life: life(shard),
            })
            .collect()
    }

    /// Records which lanes of the peer can't bring what is missing here.
    fn note_stuck(&self, report: &Result<RegionReport, UnreadableReport>) {
        let link = report
            .as_ref()
            .ok()
            .and_then(|report| report.link(self.shared.region().as_str()));
        self.shared.cursors.stuck(&self.peer, |shard| {
            let lane = link.and_then(|link| link.lane(shard.group.as_str(), shard.partition));
            let is_stuck = |state| matches!(state, LaneState::NeedsSync | LaneState::UnknownLineage);
            lane.and_then(|lane| lane.state.known()).is_some_and(is_stuck)
        });
    }

    /// Handles the outcome of a call of this end.
    async fn answered(&mut self, id: u64, outcome: Result<Bytes, CallFailure>) {
        let (shared, peer) = (&self.shared, &self.peer);
        if let Some(shard) = self.comparing.take(id) {
            match outcome {
                Ok(body) => compare::answered(shared, peer, &shard, &body),
                Err(failure) => tracing::debug!(%peer, %failure, "a comparison was not answered"),
            }
            return;
        }
        if let Some(reply) = self.sync_calls.take(id) {
            return sync_calls::pass_on(shared, peer, &reply, outcome).await;
        }
        match (self.landmarks_calls.take(id), outcome) {
            (Some(doubt), Ok(body)) => landmarks_calls::pass_on(shared, peer, doubt, &body).await,
            (None, Ok(body)) => {
                let report = RegionReport::read(&body);
                self.note_stuck(&report);
                take_report(shared, peer, report);
            }
            (None, Err(CallFailure::Refused(why))) => {
                take_report(shared, peer, Err(UnreadableReport::Refused(why.to_string())));
            }
            (_, Err(failure)) => tracing::debug!(%peer, %failure, "a call was not answered"),
        }
    }
}
