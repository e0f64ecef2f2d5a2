//! The status of a head and of what arrives there.

use std::collections::BTreeMap;

use isthmus_replication::link::lane::Hold;
use isthmus_replication::link::session::ClockEstimate;
use isthmus_replication::names::RegionName;
use isthmus_replication::receiving::lag::{Freshness, Proof};
use isthmus_replication::time::Mono;

use super::{HeadTask, SHOW};
use crate::lag::MISSING;

/// What is known of each origin apart from its lanes, which come and go.
#[derive(Debug, Default)]
pub(super) struct Origins(BTreeMap<RegionName, OfOrigin>);

#[derive(Debug, Default)]
struct OfOrigin {
    proof: Proof,
    /// The least uncertain estimate and when it was made.
    clock: Option<(ClockEstimate, Mono)>,
}

impl OfOrigin {
    fn at(&self, now: Mono) -> Option<ClockEstimate> {
        let (clock, at) = self.clock?;
        Some(clock.aged(now.since(at)))
    }
}

/// The state of all lanes of one origin, combined.
#[derive(Debug, Default)]
struct Lanes {
    standing: bool,
    working: bool,
    hold: Option<Hold>,
}

impl Origins {
    /// The best estimate of an origin's clock at `now`, given the `estimate` of its session.
    pub(super) fn clock(
        &mut self,
        origin: &RegionName,
        now: Mono,
        estimate: Option<ClockEstimate>,
    ) -> Option<ClockEstimate> {
        let known = self.0.entry(origin.clone()).or_default();
        let Some(estimate) = estimate else {
            return known.at(now);
        };
        let best = known
            .clock
            .map_or(estimate, |(older, at)| estimate.or_older(older, now.since(at)));
        if best == estimate {
            known.clock = Some((estimate, now));
        }
        Some(best)
    }
}

impl HeadTask {
    /// Updates the status if it is older than `SHOW`.
    pub(super) fn update_view(&mut self) {
        let mono = self.shared.process.clock.mono();
        if mono.since(self.shown) < SHOW {
            return;
        }
        self.shown = mono;
        self.learn_applied();
        let (state, position) = (self.state.clone(), self.fold.position());
        self.shared.view.head(&self.shard, |head| {
            head.state = state;
            head.position = position;
        });
        let mut peers = self.shared.peers();
        peers.retain(|_, shards| shards.contains(&self.shard));
        for origin in peers.keys() {
            self.update_origin(origin);
        }
    }

    fn update_origin(&mut self, origin: &RegionName) {
        let now = self.shared.log_now();
        let lanes = self.lanes_of(origin);
        let estimate = {
            let tables = self.shared.tables.lock();
            let furthest = tables.applied.furthest_behind(now.mono, origin, &self.shard);
            furthest.map(|estimate| (estimate.appended, estimate.delay))
        };
        let known = self.origins.0.entry(origin.clone()).or_default();
        if let Some((appended, delay)) = estimate {
            known.proof.note(appended, delay);
        }
        let impeded = !lanes.standing || lanes.working || lanes.hold.is_some();
        let lag = known.proof.lag(now.wall, known.at(now.mono), impeded);
        let held = self.fold.origin(origin);
        let (cursor, needs_sync) = (
            held.map(|held| held.cursor),
            held.is_some_and(|held| held.needs_sync()),
        );
        let (state, reason, proof_age) = match needs_sync {
            true => (Freshness::Stalled, Some(MISSING.to_owned()), None),
            false => (lag.freshness, reason(&lanes), lag.proof_age),
        };
        self.shared.view.receiving(origin, &self.shard, |shown| {
            shown.state = state.into();
            shown.reason = reason;
            shown.cursor = cursor;
            shown.delay = lag.delay;
            shown.proof_age = proof_age;
            shown.uncertainty = lag.uncertainty;
            shown.as_of = now.mono;
            shown.needs_sync = needs_sync;
        });
    }

    fn lanes_of(&self, origin: &RegionName) -> Lanes {
        let mut all = Lanes::default();
        for lane in self.lanes.values().filter(|lane| lane.origin == *origin) {
            all.standing = true;
            all.working |= lane.receiving.has_work();
            all.hold = all.hold.or(lane.receiving.hold());
        }
        all
    }
}

/// The link may end at another gateway of this region, which this one can't see.
fn reason(lanes: &Lanes) -> Option<String> {
    match lanes.hold {
        Some(hold) => Some(hold.to_string()),
        None if !lanes.standing => Some("this gateway has no link from there".to_owned()),
        None => None,
    }
}
