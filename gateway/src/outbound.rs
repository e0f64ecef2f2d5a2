//! Forwarding: while this gateway leads, one link to each peer region and on it a lane a shard (design.md section 8).
//!
//! A link falls and is made again; its lanes stay, since lag must grow while it is down. When this gateway leads no more
//! both end: the next leader's lanes begin at the receivers' cursors.

pub mod compare;
mod landmarks_calls;
mod lane;
mod link;

use std::sync::Arc;

use isthmus_door::names::Names;
use isthmus_runtime::supervise::TaskKind;

use crate::shared::Shared;

/// Starts a task for each peer region.
///
/// # Errors
/// A task could not be started.
pub fn start(shared: &Shared, names: &Arc<dyn Names>) -> anyhow::Result<()> {
    for (peer, shards) in shared.peers() {
        let task = link::PeerLink::new(shared.clone(), peer.clone(), shards, Arc::clone(names))?;
        let supervisor = &shared.process.supervisor;
        supervisor.spawn(TaskKind::Work, format!("link to {peer}"), |stop| task.run(stop))?;
    }
    Ok(())
}
