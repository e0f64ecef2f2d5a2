//! Telling agents what peers have of this region's log: each 250 ms, and at once when it changes.

use std::time::Duration;

use isthmus_replication::peer::{PEER_CURSORS_INTERVAL, PeerCursors};
use tokio::time::{Instant, sleep_until, timeout};

use crate::shared::Shared;

/// Changes that follow each other closely are told together.
const GATHER: Duration = Duration::from_millis(5);

/// Tells the cursors of peers while this gateway leads, until dropped.
pub(super) async fn tell(shared: Shared) {
    let mut changes = shared.cursors.subscribe();
    let mut leading = shared.leading.clone();
    loop {
        if leading.wait_for(|leading| *leading).await.is_err() {
            return;
        }
        changes.mark_unchanged();
        let told = Instant::now();
        publish(&shared).await;
        let _ = timeout(PEER_CURSORS_INTERVAL, changes.changed()).await;
        sleep_until(told + GATHER).await;
    }
}

async fn publish(shared: &Shared) {
    for message in shared.cursors.messages(&shared.settings().name) {
        let suffix = PeerCursors::suffix(&message.shard);
        if let Err(error) = shared.ports.peers.publish(&suffix, message.encode()).await {
            tracing::debug!(%error, suffix, "peers' cursors were not told");
            return;
        }
    }
}
