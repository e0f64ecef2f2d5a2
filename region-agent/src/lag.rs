//! How current the data of this agent is: the one source for its status, its gauges and
//! `/readyz/read?max_lag=`.

use std::time::Duration;

use isthmus_replication::coordinates::Shard;
use isthmus_replication::delay::Delay;
use isthmus_replication::follow::Phase;
use isthmus_replication::names::RegionName;
use isthmus_replication::receiving::lag::Freshness;

use crate::region::Region;
use crate::shard::{Served, ShardHandle};

/// How current this agent's data of another region is, in one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The region.
    pub origin: RegionName,
    /// The shard.
    pub shard: Shard,
    /// Whether it is current.
    pub state: Freshness,
    /// Everything of the region that is older than this is here. None if nothing of it is here, or
    /// changes are missing.
    pub proof_age: Option<Duration>,
    /// How long the newest record took to get here.
    pub delay: Option<Delay>,
}

impl Lag {
    /// How much the age of the proof may be off, as far as is known.
    #[must_use]
    pub fn uncertainty(&self) -> Duration {
        let known = self.delay.as_ref().and_then(|delay| delay.uncertainty);
        known.unwrap_or_default()
    }
}

/// The lag of every other region, for each shard that both hold.
#[must_use]
pub fn of_all(region: &Region) -> Vec<Lag> {
    region
        .core
        .shards()
        .flat_map(|shard| of_shard(region, shard, &shard.served()))
        .collect()
}

/// The lag of every other region that holds `shard`, of which this agent has `served`.
#[must_use]
pub fn of_shard(region: &Region, shard: &ShardHandle, served: &Served) -> Vec<Lag> {
    let context = region.core.context();
    let process = &context.process.settings.process;
    let now = context.log_time();
    let group = process.set.groups.get(&shard.shard().group);
    let others = group
        .into_iter()
        .flat_map(|group| &group.regions)
        .filter(|other| **other != process.region);
    let serves = served.phase == Phase::Serving;
    others
        .map(|origin| {
            let newest = served.newest.get(origin);
            let missing = served.fold.origin(origin).is_some_and(|held| held.needs_sync());
            let proof_age = newest
                .filter(|_| !missing)
                .map(|newest| now.since(newest.appended));
            Lag {
                origin: origin.clone(),
                shard: shard.shard().clone(),
                state: match missing || !serves {
                    true => Freshness::Stalled,
                    false => Freshness::of(proof_age, false),
                },
                proof_age,
                delay: newest.map(|newest| newest.delay),
            }
        })
        .collect()
}
