//! Handles a peer's cursor that does not match this region's log: asks the peer for its landmarks
//! of the log, and passes them to the agents, which begin the log's next life.

use std::collections::BTreeMap;
use std::time::Duration;

use isthmus_replication::coordinates::{Cursor, Shard};
use isthmus_replication::link::landmarks::{self, LandmarksAnswer};
use isthmus_replication::link::session::Session;
use isthmus_replication::names::RegionName;
use isthmus_replication::peer::PeerDoubt;
use isthmus_replication::time::Now;
use isthmus_runtime::events::Source;
use tokio::time::timeout;

use crate::shared::Shared;

/// How long publishing to the agents may take, so that it does not block the link.
const TELL: Duration = Duration::from_millis(250);

/// The pending calls for landmarks on one session.
#[derive(Debug, Default)]
pub(super) struct LandmarksCalls {
    asked: BTreeMap<u64, (Shard, Cursor)>,
}

impl LandmarksCalls {
    /// Asks the peer, which has the log of `shard` through `cursor`, for its landmarks. A call that
    /// can't be made is made when the lane reports its suspicion again.
    pub(super) fn ask(&mut self, session: &mut Session, now: Now, shard: Shard, cursor: Cursor) {
        if let Ok(id) = session.request(now, landmarks::METHOD, landmarks::question(&shard)) {
            self.asked.insert(id, (shard, cursor));
        }
    }

    /// What call `id` asked for; none if it asked for something else.
    pub(super) fn take(&mut self, id: u64) -> Option<(Shard, Cursor)> {
        self.asked.remove(&id)
    }
}

/// Publishes the answer of `peer` to the agents. A failed attempt is repeated while the lane still
/// suspects a lost tail.
pub(super) async fn pass_on(
    shared: &Shared,
    peer: &RegionName,
    (shard, cursor): (Shard, Cursor),
    answer: &[u8],
) {
    let LandmarksAnswer { landmarks, lineage } = match LandmarksAnswer::decode(answer) {
        Ok(answer) => answer,
        Err(error) => {
            if let Some(before) = shared
                .process
                .events
                .may_log("bad landmarks", &Source::region(peer))
            {
                tracing::warn!(%peer, %error, before, "the peer's landmarks can't be read");
            }
            return;
        }
    };
    let source = Source::region(peer).of_shard(&shard);
    if let Some(before) = shared.process.events.may_log("doubt", &source) {
        tracing::info!(%peer, %shard, cursor = %cursor.position.sequence, landmarks = landmarks.len(), before, "reporting to the agents a tail that the peer has and the log does not");
    }
    let suffix = PeerDoubt::suffix(&shard);
    let doubt = PeerDoubt {
        shard,
        gateway: shared.settings().name.clone(),
        peer: peer.clone(),
        cursor,
        landmarks,
        lineage,
    };
    match timeout(TELL, shared.ports.peers.publish(&suffix, doubt.encode())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, suffix, "a peer's doubt could not be published"),
        Err(_) => tracing::debug!(suffix, "a peer's doubt could not be published in time"),
    }
}
