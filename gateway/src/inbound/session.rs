//! One accepted link.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use isthmus_link::{Connection, Peer};
use isthmus_log::{PeerError, Role};
use isthmus_replication::coordinates::Shard;
use isthmus_replication::link::frame::{GoodbyeReason, Hello, InvalidFrame, LaneReport, NoAnswer, Request};
use isthmus_replication::link::landmarks;
use isthmus_replication::link::session::{Session, SessionEvent};
use isthmus_replication::names::RegionName;
use isthmus_replication::sync;
use isthmus_runtime::events::{Severity, Source};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::transit::Transit;
use super::{Heads, ToHead};
use crate::link_connection::{self, LinkConnection, LinkEnd};
use crate::shared::Shared;
use crate::tables::{AcceptedLink, State};

/// How long the heads may take to read their logs up to the end before the peer is asked to dial
/// another gateway.
const OPENING: Duration = Duration::from_secs(4);
/// A region has one leader and one link. Any other links are left from earlier leaders, and end
/// when they are found dead.
const LINKS_OF_A_REGION: usize = 8;
/// The most links of one region at a time: greeted ones, and others that wait for a greeting or are
/// being refused one.
pub const LINKS_AT_ONCE: usize = 2 * LINKS_OF_A_REGION;
/// How often the path estimate is shown.
const REFRESH: Duration = Duration::from_millis(500);

/// An accepted link.
pub(super) struct Inbound {
    shared: Shared,
    heads: Heads,
    transit: Transit,
    number: u64,
}

impl Inbound {
    /// The link with this `number` in this run of the process.
    pub(super) fn new(shared: Shared, heads: Heads, number: u64) -> Self {
        Self {
            shared,
            transit: Transit::new(heads.keys()),
            heads,
            number,
        }
    }

    /// Runs the session on `connection` until it ends or `stop`.
    pub(super) async fn run(self, connection: Connection, stop: CancellationToken) -> Result<(), Infallible> {
        let origin = connection.peer.region().clone();
        let address = connection.address;
        if !self.admit(&connection.peer, address) {
            self.shared.metrics.refused("too_many_links");
            if let Some(before) = self.may_log("too many links", &origin) {
                tracing::warn!(%origin, %address, before, "this region already has {LINKS_AT_ONCE} links here; another one was closed before its greeting was read");
            }
            return Ok(());
        }
        let session = Session::acceptor(
            self.shared.log_now(),
            link_connection::party(&self.shared),
            origin.clone(),
        );
        let mut connection = LinkConnection::new(connection, session, self.shared.clone());
        let end = self.converse(&mut connection, &origin, &stop).await;
        self.leave(&origin).await;
        self.shared.tables.lock().accepted.remove(&self.number);
        if end.is_refusal() {
            self.shared.metrics.refused(end.label());
            self.shared.process.events.record_from(
                &Source::region(&origin).because(end.label()),
                Severity::Warning,
                "link_refused",
                format!("the link from {address} of region {origin} ended: {end}"),
                json!({ "peer": origin.as_str(), "reason": end.label() }),
            );
        } else if let Some(before) = self.may_log("link ended", &origin) {
            tracing::info!(%origin, %address, before, reason = end.label(), "a link from another region ended: {end}");
        }
        if connection.session.is_ended() {
            connection.close().await;
        }
        Ok(())
    }

    /// Registers this link as accepted, unless its region already has the most links allowed.
    fn admit(&self, peer: &Peer, address: SocketAddr) -> bool {
        let origin = peer.region();
        let since = self.shared.now().wall;
        let mut tables = self.shared.tables.lock();
        if links_of(&tables, origin) >= LINKS_AT_ONCE {
            return false;
        }
        let link = AcceptedLink {
            peer: origin.clone(),
            gateway: None,
            version: None,
            certificate_ends: peer.not_after(),
            address,
            since,
            path: crate::view::PathEstimate::default(),
        };
        tables.accepted.insert(self.number, link);
        true
    }

    async fn converse(
        &self,
        connection: &mut LinkConnection,
        origin: &RegionName,
        stop: &CancellationToken,
    ) -> LinkEnd {
        let links = Arc::clone(&self.shared.links);
        let proven = connection.peer.clone();
        let mut certificate = links.until_refused(&proven);
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (teller, mut violations) = mpsc::channel(1);
        let mut refused = false;
        let mut answers = JoinSet::new();
        loop {
            tokio::select! {
                event = connection.next() => match event {
                    Ok(SessionEvent::Request(request)) if request.method == sync::METHOD => {
                        answers.spawn(answer_sync(self.shared.clone(), origin.clone(), request));
                    }
                    Ok(SessionEvent::Hello(hello)) => tokio::select! {
                        () = self.greet(connection, origin, &teller, &hello) => {}
                        () = stop.cancelled() => {}
                    },
                    Ok(event) => self.handle(connection, origin, event).await,
                    Err(end) => return end,
                },
                Some(Ok((id, outcome))) = answers.join_next() => connection.session.respond(id, outcome),
                Some(violation) = violations.recv() => connection.session.refuse(GoodbyeReason::Violation, &violation),
                _ = refresh.tick() => self.update_view(connection),
                refusal = &mut certificate, if !refused => {
                    refused = true;
                    self.shared.metrics.refused(refusal.reason().label());
                    connection.session.refuse(GoodbyeReason::Certificate, &refusal.to_string());
                }
                () = stop.cancelled(), if !connection.session.is_ended() => {
                    connection.session.refuse(GoodbyeReason::Draining, "this gateway is stopping");
                }
            }
        }
    }

    async fn handle(&self, connection: &mut LinkConnection, origin: &RegionName, event: SessionEvent) {
        match event {
            SessionEvent::Range(range) => {
                if let Some(head) = self.heads.get(&range.shard)
                    && let Some(room) = self.transit.room(&range).await
                {
                    self.shared
                        .metrics
                        .received(origin, usize::try_from(range.cost()).unwrap_or(usize::MAX));
                    let session = self.number;
                    let clock = connection.session.peer_clock();
                    hand_over(
                        head,
                        ToHead::Range {
                            session,
                            range,
                            clock,
                            room,
                        },
                    )
                    .await;
                }
            }
            SessionEvent::SetDiffers { peer } => link_connection::set_differs(&self.shared, &peer),
            SessionEvent::PeerEvent(event) => {
                link_connection::record_peer_event(&self.shared, origin, &event)
            }
            SessionEvent::Request(request) if request.method == landmarks::METHOD => {
                let outcome = self.landmarks(origin, &request.body).await;
                let outcome = outcome.map_err(|error| NoAnswer::because(&error));
                connection.session.respond(request.id, outcome);
            }
            SessionEvent::Request(request) => {
                link_connection::answer(&self.shared, &mut connection.session, &request)
            }
            SessionEvent::Paused(paused) => {
                if let Some(before) = self.may_log("link paused", origin) {
                    tracing::info!(%origin, paused, before, "the link is paused or resumed");
                }
            }
            SessionEvent::Hello(_)
            | SessionEvent::Welcome(_)
            | SessionEvent::Ack(_)
            | SessionEvent::Reset(_)
            | SessionEvent::Response { .. }
            | SessionEvent::Ended(_) => {}
        }
    }

    /// Accepts the offered lanes of shards that both regions hold.
    async fn greet(
        &self,
        connection: &mut LinkConnection,
        origin: &RegionName,
        violations: &mpsc::Sender<String>,
        hello: &Hello,
    ) {
        if links_of(&self.shared.tables.lock(), origin) > LINKS_OF_A_REGION {
            let text = format!("this gateway already has {LINKS_OF_A_REGION} links of region {origin}");
            return connection.session.refuse(GoodbyeReason::Draining, &text);
        }
        let Ok(lanes) = timeout(OPENING, self.open_all(connection, origin, violations, hello)).await else {
            let text = "this gateway is still reading its region's log; dial another one";
            return connection.session.refuse(GoodbyeReason::Draining, text);
        };
        if let Some(before) = self.may_log("link stands", origin) {
            tracing::info!(%origin, before, gateway = %hello.party.process, lanes = lanes.len(), "a link from another region is up");
        }
        if let Some(link) = self.shared.tables.lock().accepted.get_mut(&self.number) {
            link.gateway = Some(hello.party.process.clone());
            link.version = Some(connection.session.version());
        }
        let taken: Vec<Shard> = lanes.iter().map(|lane| lane.shard.clone()).collect();
        connection.session.welcome(self.shared.log_now(), lanes);
        if connection.send().is_ok() {
            for head in taken.iter().filter_map(|shard| self.heads.get(shard)) {
                hand_over(head, ToHead::Welcomed { session: self.number }).await;
            }
        }
    }

    async fn open_all(
        &self,
        connection: &LinkConnection,
        origin: &RegionName,
        violations: &mpsc::Sender<String>,
        hello: &Hello,
    ) -> Vec<LaneReport> {
        let both = self.shared.set().shards_between(self.shared.region(), origin);
        let mut lanes = Vec::new();
        for offer in &hello.lanes {
            let head = self
                .heads
                .get(&offer.shard)
                .filter(|_| both.contains(&offer.shard));
            if let Some(head) = head
                && let Some(report) = self.open(head, connection, origin, violations).await
            {
                lanes.push(report);
            }
        }
        lanes
    }

    async fn open(
        &self,
        head: &mpsc::Sender<ToHead>,
        connection: &LinkConnection,
        origin: &RegionName,
        violations: &mpsc::Sender<String>,
    ) -> Option<LaneReport> {
        let (answer, report) = oneshot::channel();
        let open = ToHead::Open {
            session: self.number,
            origin: origin.clone(),
            outbox: connection.outbox.clone(),
            violations: violations.clone(),
            answer,
        };
        hand_over(head, open).await;
        report.await.ok()
    }

    /// Answers a call for this region's landmarks of `origin`'s log, for the shard that `question`
    /// names.
    async fn landmarks(&self, origin: &RegionName, question: &[u8]) -> Result<Bytes, NoLandmarks> {
        let shard = landmarks::asked(question)?;
        let both = self.shared.set().shards_between(self.shared.region(), origin);
        let head = self.heads.get(&shard).filter(|_| both.contains(&shard));
        let head = head.ok_or_else(|| NoLandmarks::NotShared(shard.clone()))?;
        let (answer_tx, answer_rx) = oneshot::channel();
        let origin = origin.clone();
        hand_over(
            head,
            ToHead::Landmarks {
                origin,
                answer: answer_tx,
            },
        )
        .await;
        answer_rx.await.map_err(|_| NoLandmarks::Stopping)
    }

    async fn leave(&self, origin: &RegionName) {
        for (shard, head) in self.heads.iter() {
            if self
                .shared
                .set()
                .groups
                .get(&shard.group)
                .is_some_and(|group| group.regions.contains(origin))
            {
                hand_over(head, ToHead::Closed { session: self.number }).await;
            }
        }
    }

    fn may_log(&self, what: &'static str, origin: &RegionName) -> Option<u64> {
        self.shared.process.events.may_log(what, &Source::region(origin))
    }

    fn update_view(&self, connection: &LinkConnection) {
        if let Some(link) = self.shared.tables.lock().accepted.get_mut(&self.number) {
            link.path = connection.path();
        }
    }
}

/// The answer of this region's agents to a request of the steward of `origin`.
async fn answer_sync(shared: Shared, origin: RegionName, request: Request) -> (u64, Result<Bytes, NoAnswer>) {
    let outcome = ask_agents(&shared, &origin, request.body).await;
    (request.id, outcome.map_err(|error| NoAnswer::because(&error)))
}

async fn ask_agents(shared: &Shared, origin: &RegionName, question: Bytes) -> Result<Bytes, NoSource> {
    let request = sync::Request::decode(&question)?;
    let both = shared.set().shards_between(shared.region(), origin);
    if !both.contains(&request.shard) {
        return Err(NoSource::NotShared(request.shard));
    }
    let suffix = sync::source_suffix(&request);
    let peers = &shared.ports.peers;
    let answer = peers.request(Role::Agent, &suffix, question, sync::AGENT_ANSWER);
    Ok(answer.await?)
}

/// Why a steward gets no answer from this region's agents.
#[derive(Debug, thiserror::Error)]
enum NoSource {
    #[error(transparent)]
    Question(#[from] sync::InvalidRequest),
    #[error("the two regions do not share {0}")]
    NotShared(Shard),
    #[error("no agent of the region answers: {0}")]
    Agents(#[from] PeerError),
}

/// Why a peer gets no landmarks.
#[derive(Debug, thiserror::Error)]
enum NoLandmarks {
    #[error(transparent)]
    Question(#[from] InvalidFrame),
    #[error("the two regions do not share {0}")]
    NotShared(Shard),
    #[error("this gateway is stopping")]
    Stopping,
}

/// The number of accepted links of `origin`.
fn links_of(tables: &State, origin: &RegionName) -> usize {
    let accepted = tables.accepted.values();
    accepted.filter(|link| link.peer == *origin).count()
}

/// A head that has ended takes no input; the process is ending then.
async fn hand_over(head: &mpsc::Sender<ToHead>, input: ToHead) {
    let _ = head.send(input).await;
}
