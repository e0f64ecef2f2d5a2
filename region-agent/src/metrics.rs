//! What an agent counts and measures, under the names that Prometheus sees (each begins with `isthmus_`).

use isthmus_replication::coordinates::Shard;
use isthmus_replication::names::RegionName;
use isthmus_runtime::metrics::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;

/// A number of seconds that goes up and down.
pub type Seconds = Gauge<f64, AtomicU64>;
type Times<L> = Family<L, Histogram, fn() -> Histogram>;

/// Labels by reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// A word of a closed list.
    pub reason: &'static str,
}

/// Labels by outcome.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfOutcome {
    /// `acknowledged` or an error's code.
    pub outcome: &'static str,
}

/// Labels by origin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfOrigin {
    /// The region where it was written.
    pub origin: String,
}

/// Labels of a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfConflict {
    /// A bucket that set.yaml names; `*` for every other one.
    pub bucket: String,
    /// The region of the write that stays.
    pub winner: String,
    /// The region of the write that does not.
    pub loser: String,
}

/// Labels by shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfShard {
    /// The group.
    pub group: String,
    /// The partition.
    pub partition: u32,
}

/// Labels by shard and another region.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfLane {
    /// The other region.
    pub region: String,
    /// The group.
    pub group: String,
    /// The partition.
    pub partition: u32,
}

/// The metrics of an agent. Clones share them.
#[derive(Debug, Clone)]
pub struct AgentMetrics {
    /// Writes by outcome.
    pub writes: Family<OfOutcome, Counter>,
    /// From a write's arrival to its outcome.
    pub write_time: Histogram,
    /// From an append's publication to its acknowledgement by the log.
    pub publish_time: Histogram,
    /// Messages that the fold did not accept.
    pub voids: Family<Reason, Counter>,
    /// Accepted messages whose bodies could not be used: their changes are missing.
    pub unusable_bodies: Family<Reason, Counter>,
    /// Changes applied.
    pub applied: Family<OfOrigin, Counter>,
    /// Writes that were overwritten unseen, wherever they were written.
    pub conflicts: Family<OfConflict, Counter>,
    /// From append at the origin to apply here.
    pub delay: Times<OfOrigin>,
    /// How old the newest proof of an origin's state is.
    pub proof_age: Family<OfLane, Seconds>,
    /// Messages that wait to be read back.
    pub in_flight: Family<OfShard, Gauge>,
    /// Bytes of the log's stream.
    pub log_bytes: Family<OfShard, Gauge>,
    /// The last sequence of this region's log that is applied.
    pub sequence: Family<OfShard, Gauge>,
    /// Cells of the store, tombstones included.
    pub cells: Family<OfShard, Gauge>,
    /// Memory of the store.
    pub store_bytes: Family<OfShard, Gauge>,
    /// Seconds until a peer that is cut off needs a sync, at the present rate.
    pub log_runway: Family<OfLane, Seconds>,
    /// Marks that were appended.
    pub marks: Counter,
    /// Lives that began because a tail was lost.
    pub lives: Counter,
    /// Checkpoints by outcome.
    pub checkpoints: Family<OfOutcome, Counter>,
    /// Seconds since the last checkpoint of a shard.
    pub checkpoint_age: Family<OfShard, Seconds>,
    /// Messages that were trimmed.
    pub trimmed: Counter,
}

impl AgentMetrics {
    /// Registers every metric.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let new = Self {
            writes: Family::default(),
            write_time: times(),
            publish_time: times(),
            voids: Family::default(),
            unusable_bodies: Family::default(),
            applied: Family::default(),
            conflicts: Family::default(),
            delay: Family::new_with_constructor(times),
            proof_age: Family::default(),
            in_flight: Family::default(),
            log_bytes: Family::default(),
            sequence: Family::default(),
            cells: Family::default(),
            store_bytes: Family::default(),
            log_runway: Family::default(),
            marks: Counter::default(),
            lives: Counter::default(),
            checkpoints: Family::default(),
            checkpoint_age: Family::default(),
            trimmed: Counter::default(),
        };
        metrics.register(|registry| new.register(registry));
        new
    }

    fn register(&self, to: &mut Registry) {
        let seconds = Unit::Seconds;
        let timed = |unit: &Unit| unit.clone();
        to.register("writes", "Writes by outcome", self.writes.clone());
        to.register_with_unit(
            "write",
            "From a write's arrival to its outcome",
            timed(&seconds),
            self.write_time.clone(),
        );
        to.register_with_unit(
            "publish",
            "From an append to its acknowledgement by the log",
            timed(&seconds),
            self.publish_time.clone(),
        );
        to.register(
            "voids",
            "Messages of the log that do not count",
            self.voids.clone(),
        );
        to.register(
            "unusable_bodies",
            "Accepted messages whose changes are missing here",
            self.unusable_bodies.clone(),
        );
        to.register("applied_changes", "Changes applied", self.applied.clone());
        to.register(
            "conflicts",
            "Writes that were overwritten unseen",
            self.conflicts.clone(),
        );
        to.register_with_unit(
            "delay",
            "From append at the origin to apply here",
            timed(&seconds),
            self.delay.clone(),
        );
        to.register_with_unit(
            "proof_age",
            "Age of the newest proof of an origin's state",
            timed(&seconds),
            self.proof_age.clone(),
        );
        to.register(
            "appends_in_flight",
            "Messages that wait to be read back",
            self.in_flight.clone(),
        );
        to.register_with_unit("log", "Size of the log", Unit::Bytes, self.log_bytes.clone());
        to.register("log_sequence", "The last sequence applied", self.sequence.clone());
        to.register("store_cells", "Cells, tombstones included", self.cells.clone());
        to.register_with_unit(
            "store",
            "Memory of the cells",
            Unit::Bytes,
            self.store_bytes.clone(),
        );
        to.register_with_unit(
            "log_runway",
            "Until a peer needs a sync",
            timed(&seconds),
            self.log_runway.clone(),
        );
        to.register("marks", "Marks appended", self.marks.clone());
        to.register("lives", "Lives begun after a lost tail", self.lives.clone());
        to.register("checkpoints", "Checkpoints by outcome", self.checkpoints.clone());
        to.register_with_unit(
            "checkpoint_age",
            "Since the last checkpoint",
            timed(&seconds),
            self.checkpoint_age.clone(),
        );
        to.register(
            "trimmed_messages",
            "Messages trimmed from the log",
            self.trimmed.clone(),
        );
    }

    /// Counts how a write ended.
    pub fn wrote(&self, outcome: &'static str) {
        self.writes.get_or_create(&OfOutcome { outcome }).inc();
    }
}

fn times() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 18))
}

impl From<&Shard> for OfShard {
    fn from(shard: &Shard) -> Self {
        Self {
            group: shard.group.as_str().to_owned(),
            partition: u32::from(shard.partition),
        }
    }
}

impl OfLane {
    /// The labels of `region` and `shard`.
    #[must_use]
    pub fn new(region: &RegionName, shard: &Shard) -> Self {
        Self {
            region: region.as_str().to_owned(),
            group: shard.group.as_str().to_owned(),
            partition: u32::from(shard.partition),
        }
    }
}

impl From<&RegionName> for OfOrigin {
    fn from(region: &RegionName) -> Self {
        Self {
            origin: region.as_str().to_owned(),
        }
    }
}
