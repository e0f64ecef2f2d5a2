//! The metrics of an agent, under the names that Prometheus sees (each begins with `isthmus_`).

use isthmus_replication::coordinates::Shard;
use isthmus_replication::delay::Delay;
use isthmus_replication::names::RegionName;
use isthmus_replication::trace::TraceContext;
use isthmus_runtime::metrics::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub mod gauges;

type Times<L> = Family<L, Histogram, fn() -> Histogram>;
type TracedTimes<L> = Family<L, HistogramWithExemplars<OfTrace>, fn() -> HistogramWithExemplars<OfTrace>>;

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

/// Labels by origin and stage.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfStage {
    /// The region where it was written.
    pub origin: String,
    /// A stage of the delay ([`isthmus_replication::delay::Stage`]).
    pub stage: &'static str,
}

/// Labels of an exemplar.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfTrace {
    /// The trace of a change in the message that was measured.
    pub trace_id: String,
}

/// Labels of a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfConflict {
    /// A bucket that set.yaml names; `*` for every other one.
    pub bucket: String,
    /// The region of the write that won.
    pub winner: String,
    /// The region of the write that lost.
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
    /// From a write's request to its apply here.
    pub delay: TracedTimes<OfOrigin>,
    /// The stages of that delay.
    pub stage_time: Times<OfStage>,
    /// Messages that wait to be read back.
    pub in_flight: Family<OfShard, Gauge>,
    /// Marks that were appended.
    pub marks: Counter,
    /// Lives that began because a tail was lost.
    pub lives: Counter,
    /// Checkpoints by outcome.
    pub checkpoints: Family<OfOutcome, Counter>,
    /// Messages that were trimmed.
    pub trimmed: Counter,
    /// Copies of another agent's store that ended because it sent what was not asked for.
    pub sync_violations: Counter,
    /// Cells copied from other agents.
    pub synced_cells: Counter,
}

impl AgentMetrics {
    /// How many checkpoints have failed since the start.
    #[must_use]
    pub fn failed_checkpoints(&self) -> u64 {
        self.checkpoints
            .get_or_create(&OfOutcome { outcome: "failed" })
            .get()
    }

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
            delay: Family::new_with_constructor(traced_times),
            stage_time: Family::new_with_constructor(times),
            in_flight: Family::default(),
            marks: Counter::default(),
            lives: Counter::default(),
            checkpoints: Family::default(),
            trimmed: Counter::default(),
            sync_violations: Counter::default(),
            synced_cells: Counter::default(),
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
            "From a write's request to its apply here",
            timed(&seconds),
            self.delay.clone(),
        );
        to.register_with_unit(
            "stage",
            "The stages from a write's request to its apply here",
            timed(&seconds),
            self.stage_time.clone(),
        );
        to.register(
            "appends_in_flight",
            "Messages not read back yet",
            self.in_flight.clone(),
        );
        to.register("marks", "Marks appended", self.marks.clone());
        to.register("lives", "Lives begun after a lost tail", self.lives.clone());
        to.register("checkpoints", "Checkpoints by outcome", self.checkpoints.clone());
        to.register(
            "trimmed_messages",
            "Messages trimmed from the log",
            self.trimmed.clone(),
        );
        to.register(
            "sync_violations",
            "Syncs that ended because the source sent what was not asked for",
            self.sync_violations.clone(),
        );
        to.register(
            "synced_cells",
            "Cells received from the source of a sync",
            self.synced_cells.clone(),
        );
    }

    /// Records that a message of `origin` was applied after `delay`. `trace` is the trace of one of
    /// its changes.
    pub fn took(&self, origin: &RegionName, delay: &Delay, trace: Option<TraceContext>) {
        let exemplar = trace.map(|trace| OfTrace {
            trace_id: format!("{:032x}", trace.trace_id),
        });
        self.delay.get_or_create(&OfOrigin::from(origin)).observe(
            delay.total().as_secs_f64(),
            exemplar,
            None,
        );
        for (stage, took) in delay.stages() {
            let labels = OfStage {
                origin: origin.to_string(),
                stage: stage.label(),
            };
            self.stage_time.get_or_create(&labels).observe(took.as_secs_f64());
        }
    }

    /// Counts how a write ended.
    pub fn wrote(&self, outcome: &'static str) {
        self.writes.get_or_create(&OfOutcome { outcome }).inc();
    }
}

fn times() -> Histogram {
    Histogram::new(buckets())
}

fn traced_times() -> HistogramWithExemplars<OfTrace> {
    HistogramWithExemplars::new(buckets())
}

/// 0.5 ms to 65 s.
fn buckets() -> impl Iterator<Item = f64> {
    exponential_buckets(0.000_5, 2.0, 18)
}

impl From<&Shard> for OfShard {
    fn from(shard: &Shard) -> Self {
        Self {
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
