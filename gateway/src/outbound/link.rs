//! The link to one peer region: dialled again for ever while this gateway leads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use isthmus_link::{Connection, LinkLimits, Refusal};
use isthmus_replication::coordinates::Shard;
use isthmus_replication::link::frame::{GoodbyeReason, LaneOffer, Welcome};
use isthmus_replication::link::session::{Session, SessionEvent};
use isthmus_replication::names::RegionName;
use isthmus_replication::time::Mono;
use isthmus_runtime::events::Severity;
use isthmus_runtime::random;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::doubts::{self, Doubts};
use super::lane::{FromLane, Lanes, ToLane};
use crate::addresses::{Names, PeerAddresses};
use crate::backoff::Backoff;
use crate::board::{Link, Phase, Told};
use crate::line::{self, Line, Over, STATUS};
use crate::region::REPORT_BYTES;
use crate::shared::Shared;

/// Whether the link answers is looked at this often.
const LOOK: Duration = Duration::from_millis(100);
/// The peer region's report is asked for this often.
const REPORT: Duration = Duration::from_secs(1);
/// An address that does not answer is given up sooner than the system would, so that the next one gets its turn.
const CONNECT: Duration = Duration::from_secs(3);
/// A handshake takes one round trip, and a path may take seconds.
const HANDSHAKE: Duration = Duration::from_secs(8);
/// A failure that was told is not told again within this time.
const TELL_AGAIN: Duration = Duration::from_secs(30);
/// Different failures that are told within that time.
const TOLD: usize = 16;

/// A lane ended by itself: a fault of this program, after which its lag is not known.
#[derive(Debug, thiserror::Error)]
#[error("a lane to region {peer} has ended; report it with the log of this process")]
pub struct LaneEnded {
    peer: RegionName,
}

/// The outbound link to one peer region.
pub struct PeerLink {
    shared: Shared,
    peer: RegionName,
    shards: Vec<Shard>,
    addresses: PeerAddresses,
    backoff: Backoff,
    told: BTreeMap<String, Mono>,
    doubts: Doubts,
}

impl PeerLink {
    /// The link to `peer`, which shares `shards`.
    ///
    /// # Errors
    /// No randomness for the waits between dials.
    pub fn new(
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
        shared.board.link(&peer, |_| {});
        Ok(Self {
            addresses: PeerAddresses::new(written, names),
            backoff: Backoff::new(random::bits()?),
            shared,
            peer,
            shards,
            told: BTreeMap::new(),
            doubts: Doubts::default(),
        })
    }

    /// Holds the link whenever this gateway leads, until `stop`.
    ///
    /// # Errors
    /// [`LaneEnded`].
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), LaneEnded> {
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
            self.shared.board.link(&self.peer, |link| {
                link.phase = Phase::Standby;
                link.lanes.clear();
            });
        }
    }

    /// Dials the next address; waits first unless the last link stood.
    async fn connect(&mut self, stop: &CancellationToken) -> Option<Connection> {
        self.shared.board.link(&self.peer, Link::dial);
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
            .board
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

    /// Runs a session on `connection` until it is over.
    async fn hold(
        &mut self,
        connection: Connection,
        lanes: &Lanes,
        from_lanes: &mut mpsc::Receiver<FromLane>,
        stop: &CancellationToken,
    ) {
        self.shared
            .board
            .link(&self.peer, |link| link.phase = Phase::Greeting);
        while from_lanes.try_recv().is_ok() {}
        self.doubts = Doubts::default();
        let session = Session::dialer(
            self.shared.log_now(),
            line::party(&self.shared),
            self.peer.clone(),
            self.offers(),
        );
        let mut line = Line::new(connection, session, self.shared.clone());
        line.session
            .pause(self.shared.paused.borrow().contains(&self.peer));
        let over = self.converse(&mut line, lanes, from_lanes, stop).await;
        lanes.tell_all(|| ToLane::Closed).await;
        self.shared.cursors.connected(&self.peer, false);
        if line.session.is_ended() {
            line.close().await;
        }
        self.fell(&over);
    }

    async fn converse(
        &mut self,
        line: &mut Line,
        lanes: &Lanes,
        from_lanes: &mut mpsc::Receiver<FromLane>,
        stop: &CancellationToken,
    ) -> Over {
        let links = Arc::clone(&self.shared.links);
        let proven = line.peer.clone();
        let mut certificate = links.until_refused(&proven);
        let mut paused = self.shared.paused.subscribe();
        let mut leading = self.shared.leading.clone();
        let mut look = interval(LOOK);
        let mut report = interval(REPORT);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refused = false;
        loop {
            tokio::select! {
                event = line.next() => match event {
                    Ok(event) => self.handle(line, lanes, event).await,
                    Err(over) => return over,
                },
                _ = look.tick() => {
                    self.look(line);
                    if lanes.is_broken() && !line.session.is_ended() {
                        line.session.refuse(GoodbyeReason::Draining, "a lane of this gateway has ended");
                    }
                }
                _ = report.tick() => {
                    line.note_sent();
                    // A session that is not open yet, or has too many calls, is asked at the next tick.
                    let _ = line.session.request(self.shared.log_now(), STATUS, bytes::Bytes::new());
                }
                Ok(()) = paused.changed() => {
                    let paused = paused.borrow_and_update().contains(&self.peer);
                    line.session.pause(paused);
                }
                Some(told) = from_lanes.recv() => self.told_by_lane(line, told),
                refusal = &mut certificate, if !refused => {
                    refused = true;
                    self.expel(line, &refusal);
                }
                () = lost(&mut leading), if !line.session.is_ended() => {
                    line.session.refuse(GoodbyeReason::NotLeading, "another gateway of this region leads");
                }
                () = stop.cancelled(), if !line.session.is_ended() => {
                    line.session.refuse(GoodbyeReason::Draining, "this gateway stops");
                }
            }
        }
    }

    async fn handle(&mut self, line: &mut Line, lanes: &Lanes, event: SessionEvent) {
        match event {
            SessionEvent::Welcome(welcome) => self.welcomed(line, lanes, welcome).await,
            SessionEvent::Ack(report) => {
                self.shared.metrics.ack_received(&self.peer);
                lanes.tell(&report.shard.clone(), ToLane::Ack(report)).await;
            }
            SessionEvent::Reset(report) => lanes.tell(&report.shard.clone(), ToLane::Reset(report)).await,
            SessionEvent::Paused(paused) => lanes.tell_all(|| ToLane::Paused(paused)).await,
            SessionEvent::SetDiffers { peer } => line::set_differs(&self.shared, &peer),
            SessionEvent::Told(event) => line::told(&self.shared, self.peer.as_str(), &event),
            SessionEvent::Request(request) => line::answer(&self.shared, &mut line.session, &request),
            SessionEvent::Response { id, outcome } => match (self.doubts.take(id), outcome) {
                (Some(doubt), Ok(body)) => doubts::pass_on(&self.shared, &self.peer, doubt, &body).await,
                (None, Ok(body)) => self.take_report(&body),
                (_, Err(failure)) => tracing::debug!(peer = %self.peer, %failure, "a call has no answer"),
            },
            SessionEvent::Hello(_) | SessionEvent::Range(_) | SessionEvent::Ended(_) => {}
        }
    }

    fn told_by_lane(&mut self, line: &mut Line, told: FromLane) {
        match told {
            FromLane::Stuck(shard) if line.sends() => {
                tracing::debug!(peer = %self.peer, %shard, "the lane's cursor does not move, and its bytes are leaving");
            }
            FromLane::Stuck(shard) => {
                self.shared.metrics.watchdog(&self.peer);
                let text = format!("nothing moved on lane {shard} although there is work");
                line.session.refuse(GoodbyeReason::NoProgress, &text);
            }
            FromLane::Suspects(shard, cursor) => {
                let now = self.shared.log_now();
                self.doubts.ask(&mut line.session, now, shard, cursor);
            }
        }
    }

    async fn welcomed(&mut self, line: &mut Line, lanes: &Lanes, welcome: Welcome) {
        self.backoff.reset();
        let since = self.shared.now().wall;
        let address = self
            .shared
            .board
            .state()
            .links
            .get(&self.peer)
            .and_then(|link| link.address);
        let gateway = &welcome.party.process;
        self.shared.process.events.record(
            Severity::Notice,
            "link_up",
            format!("the link to region {} stands: {gateway} took it", self.peer),
            json!({ "peer": self.peer.as_str(), "gateway": gateway.as_str(), "address": address.map(|at| at.to_string()) }),
        );
        self.shared.board.link(&self.peer, |link| {
            link.phase = Phase::Connected;
            link.gateway = Some(welcome.party.process.clone());
            link.version = Some(welcome.version);
            link.certificate_ends = Some(line.peer.not_after());
            link.since = Some(since);
            link.last_error = None;
        });
        self.told.clear();
        self.shared.cursors.connected(&self.peer, true);
        let taken: BTreeMap<_, _> = welcome
            .lanes
            .into_iter()
            .map(|report| (report.shard.clone(), report))
            .collect();
        for shard in &self.shards {
            if !taken.contains_key(shard) {
                let text = format!(
                    "region {} does not take shard {shard}: compare both set.yaml",
                    self.peer
                );
                self.shared.process.events.record(
                    Severity::Warning,
                    "lane_refused",
                    text,
                    json!({ "peer": self.peer.as_str() }),
                );
            }
        }
        for (shard, report) in taken {
            let outbox = line.outbox.clone();
            let paused = line.session.is_paused();
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

    fn look(&self, line: &Line) {
        let now = self.shared.log_now();
        if line.session.is_open() {
            self.shared
                .cursors
                .connected(&self.peer, !line.session.is_quiet(now));
        }
        let path = line.path();
        self.shared.board.link(&self.peer, |link| link.path = path);
    }

    fn take_report(&self, body: &[u8]) {
        if body.len() > REPORT_BYTES {
            return;
        }
        if let Ok(report @ serde_json::Value::Object(_)) = serde_json::from_slice(body) {
            let heard = self.shared.process.clock.mono();
            let mut state = self.shared.board.state();
            state.regions.insert(self.peer.clone(), Told { report, heard });
        }
    }

    fn offers(&self) -> Vec<LaneOffer> {
        let state = self.shared.board.state();
        let life = |shard| state.heads.get(shard)?.position.map(|position| position.life);
        self.shards
            .iter()
            .map(|shard| LaneOffer {
                shard: shard.clone(),
                life: life(shard),
            })
            .collect()
    }

    fn expel(&self, line: &mut Line, refusal: &Refusal) {
        self.shared.metrics.refused(refusal.reason().label());
        self.shared.process.events.record(
            Severity::Warning,
            "link_refused",
            format!(
                "the certificate of region {} holds no longer: {refusal}",
                self.peer
            ),
            json!({ "peer": self.peer.as_str(), "reason": refusal.reason().label() }),
        );
        line.session
            .refuse(GoodbyeReason::Certificate, &refusal.to_string());
    }

    fn fell(&mut self, over: &Over) {
        if over.is_own_will() {
            self.shared.process.events.record(
                Severity::Notice,
                "link_down",
                format!("the link to region {} is given up: {over}", self.peer),
                json!({ "peer": self.peer.as_str(), "reason": over.label() }),
            );
            return;
        }
        self.shared.metrics.reconnected(&self.peer);
        if over.is_refusal() {
            self.shared.metrics.refused(over.label());
        }
        self.failed(over.label(), &over.to_string());
    }

    /// Shows why there is no link, and tells it as an event where it is news.
    fn failed(&mut self, reason: &'static str, text: &str) {
        let now = self.shared.process.clock.mono();
        self.shared.board.link(&self.peer, |link| {
            link.last_error = Some(text.to_owned());
            link.phase = Phase::Dialing;
        });
        self.told.retain(|_, at| now.since(*at) < TELL_AGAIN);
        if self.told.len() >= TOLD || self.told.contains_key(text) {
            tracing::debug!(peer = %self.peer, reason, "no link: {text}");
            return;
        }
        self.told.insert(text.to_owned(), now);
        self.shared.process.events.record(
            Severity::Warning,
            "link_down",
            format!("no link to region {}: {text}", self.peer),
            json!({ "peer": self.peer.as_str(), "reason": reason }),
        );
    }
}

/// Waits until this gateway leads.
async fn won(leading: &mut watch::Receiver<bool>) {
    if leading.wait_for(|leading| *leading).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until it leads no more, or the candidacy has ended.
async fn lost(leading: &mut watch::Receiver<bool>) {
    let _ = leading.wait_for(|leading| !*leading).await;
}
