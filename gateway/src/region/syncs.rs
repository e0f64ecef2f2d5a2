//! The requests of this region's steward to other regions' stores: the leader passes them to the
//! link.

use crate::outbound::sync_calls::{self, SyncCall};
use crate::shared::Shared;
use isthmus_replication::names::RegionName;
use isthmus_replication::sync;

/// Passes requests on while this gateway leads, until dropped.
pub(super) async fn listen(shared: Shared) {
    let mut requests = shared.ports.peers.hear("sync.*").await;
    while let Some(message) = requests.next().await {
        let Some(reply) = message.reply.filter(|_| *shared.leading.borrow()) else {
            continue;
        };
        let asked = |peer: &&RegionName| message.suffix == sync::gateway_suffix(peer);
        let Some((peer, calls)) = shared.sync_routes.find(asked) else {
            continue;
        };
        let call = SyncCall {
            request: message.payload,
            reply,
        };
        let refused = match shared.cursors.is_connected(&peer) {
            true => calls.try_send(call).err().map(|error| error.into_inner()),
            false => Some(call),
        };
        if let Some(call) = refused {
            sync_calls::refuse(&shared, &peer, &call.reply, "its link is down").await;
        }
    }
}
