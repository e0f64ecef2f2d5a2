//! Forwarding: while this gateway leads, it keeps one link to each peer region, with one lane per
//! shard (design.md section 8).
//!
//! A link that goes down is dialled again. Its lanes stay, since lag must grow while it is down.
//! When this gateway no longer leads, both end: the next leader's lanes begin at the receivers'
//! cursors.

pub mod compare;
mod landmarks_calls;
mod lane;
mod link;
pub mod sync_calls;

use std::sync::Arc;

use isthmus_door::names::Names;
use isthmus_runtime::supervise::TaskKind;

use crate::shared::Shared;

/// Starts a task for each peer region.
///
/// # Errors
/// When a link has no randomness for its waits, or a task can't be started.
pub fn start(shared: &Shared, names: &Arc<dyn Names>) -> anyhow::Result<()> {
    for (peer, shards) in shared.peers() {
        let task = link::PeerLink::new(shared.clone(), peer.clone(), shards, Arc::clone(names))?;
        let supervisor = &shared.process.supervisor;
        supervisor.spawn(TaskKind::Work, format!("link to {peer}"), |stop| task.run(stop))?;
    }
    Ok(())
}
