//! The traces of the changes that pass through. Each sampled change gets a span in its own trace,
//! and each range one that links to them (design.md section 11). Bodies are decoded for this only
//! if traces are exported.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use isthmus_replication::body;
use isthmus_replication::coordinates::Sequence;
use isthmus_replication::header::Codec;
use isthmus_replication::names::RegionName;
use isthmus_replication::time::Wall;
use isthmus_replication::trace::TraceContext;
use isthmus_runtime::telemetry::{Side, Span, Tracer};

/// At most this many sampled changes of one range get spans.
const OF_A_RANGE: usize = 64;
/// At most this many ranges wait with their traces.
const WAITING: usize = 1024;

/// What a gateway does to a range, as spans name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// Read from this region's log and sent to a peer.
    Forward,
    /// Received from an origin and read back from this region's log.
    Receive,
}

/// The traces of changes on one lane.
#[derive(Debug)]
pub struct LaneTraces {
    tracer: Tracer,
    on: bool,
    hop: Hop,
    origin: RegionName,
    to: RegionName,
    waiting: VecDeque<Traced>,
}

#[derive(Debug)]
struct Traced {
    at: Sequence,
    began: Wall,
    contexts: Vec<TraceContext>,
}

impl Hop {
    fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Receive => "receive",
        }
    }

    fn batch_name(self) -> &'static str {
        match self {
            Self::Forward => "forward range",
            Self::Receive => "receive range",
        }
    }

    /// The name in OpenTelemetry's semantic conventions for messaging.
    fn operation(self) -> &'static str {
        match self {
            Self::Forward => "send",
            Self::Receive => "receive",
        }
    }

    fn side(self) -> Side {
        match self {
            Self::Forward => Side::Producer,
            Self::Receive => Side::Consumer,
        }
    }
}

impl LaneTraces {
    /// The traces of `origin`'s changes on their way to `to`. Nothing is traced unless `on`.
    #[must_use]
    pub fn new(tracer: Tracer, on: bool, hop: Hop, origin: RegionName, to: RegionName) -> Self {
        Self {
            tracer,
            on,
            hop,
            origin,
            to,
            waiting: VecDeque::new(),
        }
    }

    /// The body that ends at `at` was first seen at `now`. `body` is as stored.
    pub fn seen(&mut self, now: Wall, at: Sequence, codec: Codec, body: &Bytes) {
        if !self.on || body.is_empty() {
            return;
        }
        let contexts: Vec<TraceContext> = sampled(&self.origin, codec, body).take(OF_A_RANGE).collect();
        if contexts.is_empty() {
            return;
        }
        if self.waiting.len() == WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Traced {
            at,
            began: now,
            contexts,
        });
    }

    /// Whether changes are traced.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Everything through `through` passed at `now`.
    pub fn passed(&mut self, now: Wall, through: Sequence) {
        self.pass(now, through, |_| false);
    }

    /// Everything through `through` was sent at `now` as `body`. The changes that `body` leaves out
    /// end here, and their spans are marked.
    pub fn sent(&mut self, now: Wall, through: Sequence, codec: Codec, body: &Bytes) {
        if self.waiting.front().is_none_or(|traced| traced.at > through) {
            return;
        }
        let carried = sampled(&self.origin, codec, body).map(|context| context.to_bytes());
        let carried: BTreeSet<_> = carried.collect();
        self.pass(now, through, |context| !carried.contains(&context.to_bytes()));
    }

    fn pass(&mut self, now: Wall, through: Sequence, is_left_out: impl Fn(&TraceContext) -> bool) {
        let mut passed: BTreeMap<Sequence, Traced> = BTreeMap::new();
        while let Some(traced) = self.waiting.pop_front_if(|traced| traced.at <= through) {
            passed.insert(traced.at, traced);
        }
        if passed.is_empty() {
            return;
        }
        let contexts = passed.values().flat_map(|traced| &traced.contexts);
        let mut batch = self
            .tracer
            .batch(contexts, self.hop.batch_name(), self.hop.side());
        self.describe(&mut batch);
        let followed = passed.values().map(|traced| traced.contexts.len()).sum::<usize>();
        batch.set(
            "messaging.batch.message_count",
            i64::try_from(followed).unwrap_or(i64::MAX),
        );
        batch.set("isthmus.through", i64::try_from(through.0).unwrap_or(i64::MAX));
        for traced in passed.values() {
            for context in &traced.contexts {
                let mut span = self
                    .tracer
                    .child_at(context, self.hop.name(), self.hop.side(), traced.began);
                self.describe(&mut span);
                if is_left_out(context) {
                    span.set("isthmus.conflated", true);
                }
                span.end_at(now);
            }
        }
        batch.end_at(now);
    }

    /// Drops the waiting ranges: they will not pass here.
    pub fn forget(&mut self) {
        self.waiting.clear();
    }

    fn describe(&self, span: &mut Span) {
        span.set("messaging.system", "isthmus");
        span.set("messaging.operation.type", self.hop.operation());
        span.set("messaging.destination.name", self.to.to_string());
        span.set("isthmus.origin", self.origin.to_string());
        span.set("isthmus.to", self.to.to_string());
    }
}

fn sampled(origin: &RegionName, codec: Codec, body: &Bytes) -> impl Iterator<Item = TraceContext> {
    let changes = body::open(codec, origin, body.clone()).unwrap_or_default();
    let contexts = changes.into_iter().filter_map(|change| change.trace);
    contexts.filter(TraceContext::sampled)
}
