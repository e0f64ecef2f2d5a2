//! The samples of stores that are compared with other regions. The steward publishes them to the
//! region's gateways (docs/decisions/0017).

use std::collections::BTreeMap;

use isthmus_replication::agreement::{Included, Observed, SAMPLE_INTERVAL, Sample};
use isthmus_replication::coordinates::Shard;
use tokio::time::{MissedTickBehavior, interval};

use super::Region;
use crate::shard::ShardHandle;

/// Samples every shard, and publishes the samples while this agent is the steward. After a failure
/// the next sample is published.
pub async fn tell_digests(region: Region) {
    let mut observed: BTreeMap<Shard, Observed> = BTreeMap::new();
    let mut ticks = interval(SAMPLE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for shard in region.core.shards() {
            let seen = observed.entry(shard.shard().clone()).or_default();
            if let Some(sample) = observe(&region, shard, seen) {
                tell(&region, &sample).await;
            }
        }
    }
}

fn observe(region: &Region, shard: &ShardHandle, seen: &mut Observed) -> Option<Sample> {
    let context = region.context();
    let now = context.now().mono;
    let served = shard.served();
    let is_whole = served.refusal().is_none() && served.missing.is_empty();
    match Included::of(&served.fold).filter(|_| is_whole) {
        Some(included) => seen.observe(now, included, &served.store),
        None => seen.interrupt(),
    }
    drop(served);
    let name = &context.process.settings.process.name;
    seen.sample(now, shard.shard(), name, context.run)
        .filter(|_| region.roster().stewards)
}

async fn tell(region: &Region, sample: &Sample) {
    let peers = &region.context().ports.peers;
    if let Err(error) = peers
        .publish(&Sample::suffix(&sample.shard), sample.encode())
        .await
    {
        tracing::debug!(%error, "digests could not be published");
    }
}
