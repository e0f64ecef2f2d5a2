//! Receives the applied positions of agents.

use isthmus_replication::peer::AppliedPositions;
use isthmus_runtime::events::Source;

use crate::shared::Shared;

/// Records the positions that agents publish, until dropped.
pub(super) async fn listen(shared: Shared) {
    let mut messages = shared.ports.peers.hear("applied.*.*").await;
    while let Some(message) = messages.next().await {
        match AppliedPositions::decode(&message.payload) {
            Ok(positions) => {
                shared
                    .tables
                    .lock()
                    .applied
                    .note(shared.process.clock.mono(), positions);
                shared.applied.send_modify(|heard| *heard = heard.wrapping_add(1));
            }
            Err(error) => {
                if let Some(before) = shared.process.events.may_log("bad positions", &Source::default()) {
                    tracing::warn!(%error, before, suffix = message.suffix, "an agent's applied positions can't be read");
                }
            }
        }
    }
}
