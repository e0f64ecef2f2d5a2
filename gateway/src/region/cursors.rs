//! Publishes to the agents what peers have of this region's log: every 250 ms, and at once when it
//! changes.

use std::time::Duration;

use isthmus_replication::peer::{PEER_CURSORS_INTERVAL, PeerCursors};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::cursors::{self, Acknowledged};
use crate::shared::Shared;

/// Changes this close to each other are published together.
const GATHER: Duration = Duration::from_millis(5);

/// Publishes the cursors of peers while this gateway leads, until dropped.
pub(super) async fn tell(shared: Shared) {
    let mut changes = shared.cursors.subscribe();
    let mut leading = shared.leading.clone();
    let mut published = Acknowledged::new();
    let mut all_published_at = Instant::now();
    loop {
        if leading.wait_for(|leading| *leading).await.is_err() {
            return;
        }
        changes.mark_unchanged();
        let began = Instant::now();
        if all_published_at + PEER_CURSORS_INTERVAL <= began {
            published.clear();
        }
        if published.is_empty() {
            all_published_at = began;
        }
        published = publish(&shared, published).await;
        // It publishes next, whether something changed or the time is up.
        let _ = timeout_at(all_published_at + PEER_CURSORS_INTERVAL, changes.changed()).await;
        sleep_until(began + GATHER).await;
    }
}

/// Publishes what differs from `published`. Returns what is published after that; nothing if it
/// failed.
async fn publish(shared: &Shared, published: Acknowledged) -> Acknowledged {
    let all = shared.cursors.acknowledged();
    for (shard, peers) in &all {
        if published.get(shard) == Some(peers) {
            continue;
        }
        let message = cursors::message(&shared.settings().name, shard, peers);
        let suffix = PeerCursors::suffix(shard);
        if let Err(error) = shared.ports.peers.publish(&suffix, message.encode()).await {
            tracing::debug!(%error, suffix, "peers' cursors could not be published");
            return Acknowledged::new();
        }
    }
    all
}
