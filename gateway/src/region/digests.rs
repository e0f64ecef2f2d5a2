//! Receives the samples of the region's stores that the steward publishes.

use isthmus_replication::agreement::Sample;
use isthmus_runtime::events::Source;

use crate::shared::Shared;

/// Keeps the samples, until dropped.
pub(super) async fn listen(shared: Shared) {
    let shards = shared.shards();
    let mut messages = shared.ports.peers.hear("digests.*.*").await;
    while let Some(message) = messages.next().await {
        match Sample::decode(&message.payload) {
            Ok(sample) if shards.contains(&sample.shard) => shared.tables.lock().compared.keep(sample),
            Ok(_) => {}
            Err(error) => {
                let events = &shared.process.events;
                if let Some(before) = events.may_log("bad samples", &Source::default()) {
                    tracing::warn!(%error, before, suffix = message.suffix, "a sample of digests can't be read");
                }
            }
        }
    }
}
