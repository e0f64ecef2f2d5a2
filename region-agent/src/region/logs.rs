//! The bounds of the region's logs, and the time by their clock, read every second.

use std::convert::Infallible;
use std::time::Duration;

use isthmus_log::{Bounds, LogError};
use isthmus_replication::coordinates::Shard;
use isthmus_runtime::health::Probe;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Region;
use crate::shard::ShardHandle;

const INTERVAL: Duration = Duration::from_secs(1);
/// Local writes are refused at this percentage of `log.max_bytes` if nothing may be trimmed.
const FULL_PERCENT: u64 = 80;
/// Longer runways are cut to this one: a year, in seconds.
const LONGEST_RUNWAY: f64 = 365.0 * 24.0 * 3600.0;

/// Watches the logs until `stop`: their sizes, whether they are full, and their clock.
///
/// # Errors
/// None: a log that does not answer is retried.
pub async fn watch_logs(region: Region, stop: CancellationToken) -> Result<(), Infallible> {
    let context = region.context();
    let clock = context.process.health.condition("clock", &[Probe::Write]);
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    if let Some(first) = region.core.shards().next() {
        let settled = context.server_clock.settle(&*context.ports.log, first.shard());
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            settled = settled => if let Err(error) = settled {
                tracing::debug!(%error, "the log's clock could not be read");
            }
        }
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let shards = region.core.shards().map(|shard| observe(&region, shard));
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = futures::future::join_all(shards) => {}
        }
        if let Some(first) = region.core.shards().next() {
            sample(&region, first.shard()).await;
        }
        if region.clock_is_ahead() {
            clock.unmet("this process's clock is ahead of the log's by more than max_ahead: correct it");
        } else {
            clock.met();
        }
    }
}

async fn sample(region: &Region, shard: &Shard) {
    let context = region.context();
    let sampled = context.server_clock.sample(&*context.ports.log, shard).await;
    if let Err(error) = sampled {
        tracing::debug!(%error, "the log's clock could not be read");
    }
}

async fn observe(region: &Region, shard: &ShardHandle) {
    let context = region.context();
    let bounds: Result<Bounds, LogError> = context.ports.log.bounds(shard.shard()).await;
    let Ok(bounds) = bounds else { return };
    let max_bytes = context.process.settings.process.log.max_bytes.0;
    let above = bounds.bytes >= max_bytes / 100 * FULL_PERCENT;
    let was_above = shard.log_bytes() >= max_bytes / 100 * FULL_PERCENT;
    shard.note_log(bounds.bytes, bounds.first, above && was_above);
    runways(region, shard, &bounds);
}

/// Estimates how long it takes until trimming passes what each peer has, at the rate of the kept
/// log.
fn runways(region: &Region, shard: &ShardHandle, bounds: &Bounds) {
    let kept = bounds.last_at.since(bounds.first_at).as_secs_f64();
    let messages = bounds.last.0.saturating_sub(bounds.first.0) as f64;
    if kept <= 0.0 || messages <= 0.0 || bounds.bytes == 0 {
        return;
    }
    let room = region.context().retention().saturating_sub(bounds.bytes) as f64;
    let seconds_of_room = room / (bounds.bytes as f64 / kept);
    let runway = |view: crate::peers::View| {
        let cursor = view
            .last_cursor
            .map_or(bounds.first.0, |cursor| cursor.position.sequence.0);
        let behind_first = cursor.saturating_sub(bounds.first.0) as f64 / messages * kept;
        Duration::from_secs_f64((seconds_of_room + behind_first).min(LONGEST_RUNWAY))
    };
    let views = region.core.peers().newest(shard.shard());
    let runways = views.into_iter().map(|(peer, view)| (peer, runway(view)));
    shard.note_runways(region.context().now().mono, runways.collect());
}
