//! Messages between agents and gateways: applied positions, cursors and doubts of peers.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use isthmus_log::PeerMessage;
use isthmus_replication::coordinates::AppliedThrough;
use isthmus_replication::peer::{
    APPLIED_HEARTBEAT, APPLIED_INTERVAL, AppliedPositions, InvalidPeerMessage, OriginApplied, PeerCursors,
    PeerDoubt,
};
use isthmus_runtime::events::Source;
use tokio::time::sleep;

use super::Region;
use crate::shard::{Command, ShardHandle};

/// Publishes the applied positions of every shard. After a failure the next positions are
/// published.
pub async fn tell_positions(region: Region) {
    let shards: FuturesUnordered<_> = region
        .core
        .shards()
        .map(|shard| tell_shard(&region, shard))
        .collect();
    shards.for_each(|()| async {}).await;
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
            tracing::debug!(%error, "positions could not be published");
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
        applied: AppliedThrough(state.whole_through()),
        appended: state.appended,
        delay: served.newest.get(origin).map(|newest| newest.delay),
    });
    AppliedPositions {
        shard: shard.shard().clone(),
        agent: context.process.settings.process.name.clone(),
        run: context.run,
        own: served.fold.position().map(AppliedThrough),
        checkpointed: served.checkpointed,
        needs_sync: served.phase.needs_sync().is_some(),
        origins: origins.collect(),
        runways: shard.runways(context.now().mono).into_iter().collect(),
    }
}

/// Receives the cursors of peers from gateways.
pub async fn hear_cursors(region: Region) {
    let note = |message: &PeerMessage| {
        let messages = PeerCursors::decode(&message.payload)?;
        region.core.peers().note(region.context().now().mono, messages);
        Ok(())
    };
    hear(&region, "cursors.>", note).await;
}

/// Receives the cursors of peers that this region's logs do not have.
pub async fn hear_peer_doubt(region: Region) {
    let pass_on = |message: &PeerMessage| {
        let doubt = PeerDoubt::decode(&message.payload)?;
        if let Ok(shard) = region.core.handle(&doubt.shard) {
            shard.command(Command::Doubt(Box::new(doubt)));
        }
        Ok(())
    };
    hear(&region, "doubts.>", pass_on).await;
}

/// Passes the messages under `pattern` to `take`.
async fn hear(region: &Region, pattern: &str, take: impl Fn(&PeerMessage) -> Result<(), InvalidPeerMessage>) {
    let mut messages = region.context().ports.peers.hear(pattern).await;
    while let Some(message) = messages.next().await {
        if let Err(error) = take(&message) {
            let events = &region.context().process.events;
            if let Some(before) = events.may_log("bad message", &Source::default()) {
                tracing::warn!(suffix = %message.suffix, %error, before, "a message of a gateway can't be read");
            }
        }
    }
}
