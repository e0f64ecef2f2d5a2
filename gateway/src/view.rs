//! What this gateway is doing, as status, metrics and doctor show it. Tasks write their part; no
//! decision is based on it (see [`crate::tables`]).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use isthmus_log::{ClockOffset, Member, MissingStreams};
use isthmus_replication::coordinates::{AppliedThrough, Cursor, Life, Position, Sequence, Shard};
use isthmus_replication::delay::Delay;
use isthmus_replication::names::{ProcessName, RegionName};
use isthmus_replication::receiving::lag::Freshness;
use isthmus_replication::sending::{LagRecord, OriginLag};
use isthmus_replication::time::{Mono, Wall};
use isthmus_report::gateway::HeadState;
use isthmus_report::{LaneState, LinkState, MaybeKnown};

/// The state of this gateway that status, metrics and doctor show. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct StatusView(Arc<Mutex<View>>);

/// The state that is shown.
#[derive(Debug, Default)]
pub struct View {
    /// Who leads the region's gateways.
    pub leadership: Leadership,
    /// The outbound links, by peer.
    pub links: BTreeMap<RegionName, LinkView>,
    /// The log of each shard at its head.
    pub heads: BTreeMap<Shard, Head>,
    /// What arrives from other regions.
    pub receiving: BTreeMap<(RegionName, Shard), Receiving>,
    /// The live processes of the region, each with its clock less the log's in microseconds as it
    /// reported.
    pub members: Vec<(Member, Option<i64>)>,
    /// The clock that stamps the region's log less this process's.
    pub clock: Option<ClockOffset>,
    /// The streams of the region that are missing.
    pub missing_streams: MissingStreams,
}

/// Who leads the region's gateways, as this one knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader; none while nobody is known to lead.
    pub leader: Option<ProcessName>,
    /// Whether it is this gateway.
    pub leading: bool,
    /// The life of the lease's log and the revision of the lease that made it leader (design.md
    /// section 7).
    pub epoch: Option<(Life, u64)>,
}

/// An outbound link.
#[derive(Debug, Clone, Default)]
pub struct LinkView {
    /// What it is doing.
    pub phase: Phase,
    /// The address last dialled; none before the first attempt.
    pub address: Option<SocketAddr>,
    /// Since when it is up. Cleared when it is dialled again.
    pub since: Option<Wall>,
    /// The name of the gateway at the other end.
    pub gateway: Option<ProcessName>,
    /// The version of the protocol that both ends speak.
    pub version: Option<u32>,
    /// When the certificate of the last gateway at the other end expires, in seconds since the Unix
    /// epoch.
    pub certificate_ends: Option<u64>,
    /// The estimate of its path and clock.
    pub path: PathEstimate,
    /// Why it last went down or could not be opened.
    pub last_error: Option<String>,
    /// Whether an operator paused it.
    pub paused: bool,
    /// Its lanes.
    pub lanes: BTreeMap<Shard, LaneView>,
}

/// What an outbound link is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Another gateway leads.
    #[default]
    Standby,
    /// The peer is being dialled.
    Dialing,
    /// It is open, and the sessions greet each other.
    Greeting,
    /// It is up.
    Connected,
}

/// Round trip and clock offset, by pings.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PathEstimate {
    /// The round trip.
    pub rtt: Option<Duration>,
    /// The peer's clock less this one's, in microseconds.
    pub clock_offset_micros: Option<i64>,
    /// How far the offset may be off, in microseconds.
    pub uncertainty_micros: Option<u64>,
}

/// One shard on an outbound link.
#[derive(Debug, Clone, Default)]
pub struct LaneView {
    /// What the sending machine does.
    pub state: MaybeKnown<LaneState>,
    /// Why it is in that state, if that is worth showing.
    pub reason: Option<String>,
    /// Through where the peer has this region's log.
    pub cursor: Option<Cursor>,
    /// Through where its agents have applied it.
    pub applied: Option<AppliedThrough>,
    /// Through where the lane has read this region's log.
    pub read: Option<Sequence>,
    /// Bytes sent and not acknowledged.
    pub in_flight_bytes: u64,
    /// Bytes that may be in flight.
    pub window_bytes: u64,
    /// What the lane knows of the peer's lag at this moment.
    pub lag: LaneLag,
    /// Changes of this region are missing there until a sync brings them.
    pub needs_sync: bool,
}

/// The head of one shard's log.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// What this gateway does with it.
    pub state: HeadState,
    /// The position through which it is folded; none before the log's first life.
    pub position: Option<Position>,
}

/// One origin's shard as it arrives.
#[derive(Debug, Clone, Default)]
pub struct Receiving {
    /// How current it is.
    pub state: MaybeKnown<Freshness>,
    /// Why it is stalled.
    pub reason: Option<String>,
    /// Through where this region's log has it; none before its first range.
    pub cursor: Option<Cursor>,
    /// How long the newest message took that was applied here.
    pub delay: Option<Delay>,
    /// The age of the newest proof of what the origin has; none while changes are missing.
    pub proof_age: Option<Duration>,
    /// That age may be off by this; none while the origin's clock is not known.
    pub uncertainty: Option<Duration>,
    /// When the age was taken.
    pub as_of: Mono,
    /// Changes are missing until a sync brings them.
    pub needs_sync: bool,
}

impl StatusView {
    /// The state that is shown, for reading and writing. Never held across an await.
    pub fn lock(&self) -> MutexGuard<'_, View> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the outbound link to `peer`.
    pub fn link(&self, peer: &RegionName, change: impl FnOnce(&mut LinkView)) {
        change(self.lock().links.entry(peer.clone()).or_default());
    }

    /// Changes one lane of the outbound link to `peer`.
    pub fn lane(&self, peer: &RegionName, shard: &Shard, change: impl FnOnce(&mut LaneView)) {
        let mut view = self.lock();
        let link = view.links.entry(peer.clone()).or_default();
        change(link.lanes.entry(shard.clone()).or_default());
    }

    /// Changes what is shown of one shard's head.
    pub fn head(&self, shard: &Shard, change: impl FnOnce(&mut Head)) {
        change(self.lock().heads.entry(shard.clone()).or_default());
    }

    /// Changes what is shown of one origin's shard.
    pub fn receiving(&self, origin: &RegionName, shard: &Shard, change: impl FnOnce(&mut Receiving)) {
        let mut view = self.lock();
        change(view.receiving.entry((origin.clone(), shard.clone())).or_default());
    }
}

impl LinkView {
    /// The link is dialled: clears what was known of the previous connection.
    pub fn dial(&mut self) {
        self.phase = Phase::Dialing;
        self.since = None;
        self.gateway = None;
        self.path = PathEstimate::default();
    }

    /// Its state. A link that is up and paused counts as paused.
    #[must_use]
    pub fn state(&self) -> LinkState {
        match self.phase {
            Phase::Standby => LinkState::Standby,
            Phase::Dialing => LinkState::Dialing,
            Phase::Greeting => LinkState::Greeting,
            Phase::Connected if self.paused => LinkState::Paused,
            Phase::Connected => LinkState::Connected,
        }
    }
}

/// The lag that a lane knows of its peer. Clones share it, so that the lane updates it without
/// locking the view.
#[derive(Debug, Clone, Default)]
pub struct LaneLag(Arc<Mutex<LagRecord>>);

impl LaneLag {
    /// The lag at `now` by the region's log clock.
    #[must_use]
    pub fn at(&self, now: Wall) -> OriginLag {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).at(now)
    }

    /// Replaces what is known.
    pub fn know(&self, record: LagRecord) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = record;
    }
}
