//! What agents and gateways tell each other: positions applied, cursors of peers.

use std::convert::Infallible;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use isthmus_replication::coordinates::AppliedThrough;
use isthmus_replication::peer::{
    APPLIED_HEARTBEAT, APPLIED_INTERVAL, AppliedPositions, OriginApplied, PeerCursors,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Region;
use crate::shard::ShardHandle;

const RETRY: Duration = Duration::from_millis(200);

/// Tells how far every shard is, until `stop`.
///
/// # Errors
/// None: what can't be told is told again.
pub async fn tell_positions(region: Region, stop: CancellationToken) -> Result<(), Infallible> {
    let shards: FuturesUnordered<_> = region
        .core
        .shards()
        .map(|shard| tell_shard(&region, shard))
        .collect();
    tokio::select! {
        () = stop.cancelled() => {}
        () = shards.for_each(|()| async {}) => {}
    }
    Ok(())
}

async fn tell_shard(region: &Region, shard: &ShardHandle) {
    let suffix = AppliedPositions::suffix(shard.shard());
    let mut moved = shard.moved();
    loop {
        moved.borrow_and_update();
        let positions = positions(region, shard);
        if let Err(error) = region
            .context()
            .ports
            .peers
            .publish(&suffix, positions.encode())
            .await
        {
            tracing::debug!(%error, "positions could not be told");
        }
        sleep(APPLIED_INTERVAL).await;
        tokio::time::timeout(APPLIED_HEARTBEAT, moved.changed())
            .await
            .map(drop)
            .ok();
    }
}

fn positions(region: &Region, shard: &ShardHandle) -> AppliedPositions {
    let served = shard.served();
    let context = region.context();
    let origins = served.fold.origins().map(|(origin, state)| OriginApplied {
        origin: origin.clone(),
        applied: AppliedThrough(state.cursor.position),
        appended: state.appended,
        applied_at: served
            .newest
            .get(origin)
            .map(|newest| newest.applied_at)
            .unwrap_or_default(),
    });
    AppliedPositions {
        shard: shard.shard().clone(),
        agent: context.process.settings.process.name.clone(),
        run: context.run,
        own: served.fold.position().map(AppliedThrough),
        checkpointed: served.checkpointed,
        needs_sync: matches!(served.phase, crate::shard::Phase::NeedsSync(_)),
        origins: origins.collect(),
    }
}

/// Hears what gateways tell of peers, until `stop`.
///
/// # Errors
/// None.
pub async fn hear_cursors(region: Region, stop: CancellationToken) -> Result<(), Infallible> {
    let context = region.context();
    let mut cursors = loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            cursors = context.ports.peers.subscribe("cursors.>") => match cursors {
                Ok(cursors) => break cursors,
                Err(error) => tracing::debug!(%error, "cursors can't be heard yet"),
            },
        }
        sleep(RETRY).await;
    };
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            message = cursors.next() => message,
        };
        let Some(message) = message else { return Ok(()) };
        match PeerCursors::decode(&message.payload) {
            Ok(told) => region.core.peers().note(context.now().mono, told),
            Err(error) => tracing::warn!(suffix = %message.suffix, %error, "cursors that can't be read"),
        }
    }
}
