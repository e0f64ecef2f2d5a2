//! The traces of what is applied: of changes whose trace is recorded and, in retrospect, of
//! messages that took longer than the set's `lag_objective`. Both are described by the stage times
//! that travel with the message.

use std::time::Duration;

use isthmus_log::StoredMessage;
use isthmus_replication::cell::CellId;
use isthmus_replication::delay::Delay;
use isthmus_replication::names::RegionName;
use isthmus_replication::time::{Mono, Wall};
use isthmus_replication::trace::TraceContext;
use isthmus_replication::version::Version;
use isthmus_runtime::telemetry::{Side, Span};

use super::Phase;
use super::task::ShardTask;
use crate::traced::Traced;

/// After an outage every message is slow. At most one slow message of a shard is traced within this
/// time.
const SLOW_EVERY: Duration = Duration::from_millis(100);
/// The most changes of one message whose traces are kept.
const OF_A_MESSAGE: usize = 64;

/// A change as traces see it.
#[derive(Debug, Clone)]
pub(super) struct Followed {
    pub(super) version: Version,
    pub(super) trace: Option<TraceContext>,
    pub(super) id: CellId,
}

/// What a message carried that may be traced.
#[derive(Debug, Default)]
pub(super) struct Carried {
    /// Its first change.
    pub(super) first: Option<Followed>,
    /// Those whose trace is recorded.
    pub(super) sampled: Vec<Followed>,
}

impl Carried {
    /// The trace that represents the message in a measurement.
    pub(super) fn exemplar(&self) -> Option<TraceContext> {
        self.sampled.first().and_then(|followed| followed.trace)
    }
}

/// A message of `origin`, applied at `at` by the log's clock after `delay`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Came<'a> {
    pub(super) origin: &'a RegionName,
    pub(super) message: &'a StoredMessage,
    pub(super) delay: Delay,
    pub(super) at: Wall,
}

/// When the next slow message may be traced.
#[derive(Debug, Default)]
pub(super) struct Slow(Mono);

impl ShardTask {
    /// Traces a message that was applied from `began` to now, by this process's clock.
    pub(super) fn trace_apply(&mut self, came: Came<'_>, carried: &Carried, began: Wall) {
        let tracer = self.context.process.tracer.clone();
        for followed in carried.sampled.iter().take(OF_A_MESSAGE) {
            let Some(trace) = followed.trace else { continue };
            let mut span = tracer.child_at(&trace, "apply", Side::Consumer, began);
            self.describe(&mut span, came, followed);
            self.keep(trace.trace_id, false, came, followed);
        }
        if carried.sampled.is_empty()
            && let Some(first) = carried.first.as_ref().filter(|_| self.is_slow(&came.delay))
        {
            self.trace_slow(came, first);
        }
    }

    /// Whether a message that took `delay` is to be traced although its trace is not recorded.
    fn is_slow(&mut self, delay: &Delay) -> bool {
        let process = &self.context.process;
        let now = process.clock.mono();
        let slow = delay.total() > process.settings.process.set.lag_objective
            && *self.phase() == Phase::Serving
            && now >= self.slow.0;
        if slow {
            self.slow.0 = now.after(SLOW_EVERY);
        }
        slow
    }

    /// All agents of all regions that find a change slow add to one trace: the client's, or one
    /// named by the change's version.
    fn trace_slow(&self, came: Came<'_>, first: &Followed) {
        let trace_id = first
            .trace
            .map_or_else(|| first.version.trace_id(), |trace| trace.trace_id);
        self.keep(trace_id, true, came, first);
        let tracer = &self.context.process.tracer;
        let mut left = came.delay.total();
        let began = came.at.before(left);
        let mut span = tracer.belated(trace_id, "slow change", Side::Consumer, began);
        let Some(context) = span.context() else { return };
        self.describe(&mut span, came, first);
        for (stage, took) in came.delay.stages() {
            let part = tracer.child_at(&context, stage.label(), Side::Internal, came.at.before(left));
            left = left.saturating_sub(took);
            part.end_at(came.at.before(left));
        }
        span.end_at(came.at);
    }

    /// The messaging names and attributes are those of OpenTelemetry's semantic conventions.
    fn describe(&self, span: &mut Span, came: Came<'_>, followed: &Followed) {
        if !span.is_recorded() {
            return;
        }
        span.set("messaging.system", "nats");
        span.set("messaging.operation.type", "process");
        let stream = self.context.ports.names.stream(&self.log.shard);
        span.set("messaging.destination.name", stream);
        span.set("messaging.message.id", came.message.message_id().to_string());
        span.set("isthmus.shard", self.log.shard.to_string());
        span.set("isthmus.origin", came.origin.to_string());
        span.set("isthmus.sequence", came.message.sequence.0 as i64);
        span.set("isthmus.version", followed.version.to_string());
        span.set("isthmus.key", self.shown_key(followed));
        let millis = |took: Duration| took.as_secs_f64() * 1e3;
        span.set("isthmus.delay_ms", millis(came.delay.total()));
        for (stage, took) in came.delay.stages() {
            span.set(stage.attribute(), millis(took));
        }
    }

    fn shown_key(&self, followed: &Followed) -> String {
        let (bucket, key) = (followed.id.bucket.as_str(), followed.id.key.as_str());
        self.context.process.tracer.key(bucket, key)
    }

    fn keep(&self, trace_id: u128, slow: bool, came: Came<'_>, followed: &Followed) {
        self.context.traced.keep(Traced {
            trace_id,
            slow,
            origin: came.origin.clone(),
            shard: self.log.shard.clone(),
            sequence: came.message.sequence,
            version: followed.version.clone(),
            key: self.shown_key(followed),
            delay: came.delay,
            applied_at: came.at,
        });
    }
}
