//! The state that the tasks of a gateway share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use isthmus_door::Aside;
use isthmus_link::Links;
use isthmus_log::{Ports, ServerClock};
use isthmus_replication::coordinates::{Sequence, Shard, WriterId};
use isthmus_replication::fold::Fold;
use isthmus_replication::names::RegionName;
use isthmus_replication::time::{Now, Wall};
use isthmus_runtime::Process;
use isthmus_runtime::settings::{GatewaySettings, ProcessSettings, SetSettings};
use tokio::sync::watch;

use crate::cursors::PeerCursorTable;
use crate::metrics::GatewayMetrics;
use crate::outbound::sync_calls::SyncRoutes;
use crate::tables::{self, Known, Tables};
use crate::view::StatusView;

/// The state that the tasks of a gateway share. Clones share everything.
#[derive(Clone)]
pub struct Shared {
    /// Settings, clocks, tasks, health, events.
    pub process: Process<GatewaySettings>,
    /// The region's log, leases and messages.
    pub ports: Ports,
    /// Opens links to peers, and checks whether their certificates are still accepted.
    pub links: Arc<dyn Links>,
    /// The identifier of this run of the process.
    pub run: WriterId,
    /// What status, metrics and doctor show.
    pub view: StatusView,
    /// The tables that this gateway bases decisions on.
    pub tables: Tables,
    /// Takes the ranges that can't be decoded.
    pub aside: Aside,
    /// The counters.
    pub metrics: GatewayMetrics,
    /// The time by the clock that stamps this region's log.
    pub server_clock: ServerClock,
    /// What peers have of this region's log.
    pub cursors: Arc<PeerCursorTable>,
    /// Whether this gateway leads.
    pub leading: watch::Receiver<bool>,
    /// Counts the reports of agents on their applied positions.
    pub applied: watch::Sender<u64>,
    /// The peers whose links an operator paused.
    pub paused: watch::Sender<BTreeSet<RegionName>>,
    /// The fold at the head of each shard's log, published when the head is reached and when a life
    /// begins.
    pub folds: Arc<BTreeMap<Shard, watch::Sender<Option<Arc<Fold>>>>>,
    /// The links that take the steward's requests to other regions.
    pub sync_routes: Arc<SyncRoutes>,
    /// The newest own record at the head of each shard's log, and when it was stored.
    pub stored: Arc<BTreeMap<Shard, watch::Sender<Option<Stored>>>>,
}

/// An own record of the log: where it is, and when it was stored.
pub type Stored = (Sequence, Wall);

impl Shared {
    /// The settings of this process.
    #[must_use]
    pub fn settings(&self) -> &ProcessSettings {
        &self.process.settings.process
    }

    /// Computes something from everything that is known at this moment.
    pub fn with_known<T>(&self, compute: impl FnOnce(Known<'_>) -> T) -> T {
        tables::with_known(&self.view, &self.tables, compute)
    }

    /// The settings that all regions share.
    #[must_use]
    pub fn set(&self) -> &SetSettings {
        &self.settings().set
    }

    /// The region of this gateway.
    #[must_use]
    pub fn region(&self) -> &RegionName {
        &self.settings().region
    }

    /// Both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        self.process.clock.now()
    }

    /// Monotonic time, and the time of this region's log. Lanes and links use this time, so that
    /// this process's own clock may be wrong.
    #[must_use]
    pub fn log_now(&self) -> Now {
        self.server_clock.now()
    }

    /// The shards that this region holds.
    #[must_use]
    pub fn shards(&self) -> Vec<Shard> {
        self.set().shards_for(self.region())
    }

    /// The fold at the head of the log of `shard`, which this region holds.
    #[must_use]
    pub fn head_of(&self, shard: &Shard) -> watch::Receiver<Option<Arc<Fold>>> {
        self.folds
            .get(shard)
            .map_or_else(|| watch::channel(None).1, watch::Sender::subscribe)
    }

    /// The newest own record at the head of the log of `shard`, which this region holds.
    #[must_use]
    pub fn stored_of(&self, shard: &Shard) -> watch::Receiver<Option<Stored>> {
        self.stored
            .get(shard)
            .map_or_else(|| watch::channel(None).1, watch::Sender::subscribe)
    }

    /// Every other region, with the shards that both hold.
    #[must_use]
    pub fn peers(&self) -> BTreeMap<RegionName, Vec<Shard>> {
        shared_shards(self.set(), self.region())
    }
}

/// Every region other than `region`, with the shards that both hold.
#[must_use]
pub fn shared_shards(set: &SetSettings, region: &RegionName) -> BTreeMap<RegionName, Vec<Shard>> {
    let others = set.regions.keys().filter(|other| *other != region);
    others
        .map(|other| (other.clone(), set.shards_between(region, other)))
        .collect()
}
