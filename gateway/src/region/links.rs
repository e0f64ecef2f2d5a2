//! Pausing and resuming links. A gateway passes a command to all gateways of its region, so that it
//! applies whichever of them leads. Each writes it into its member lease, where a gateway that
//! starts later finds it: the command lasts as long as any gateway runs.

use std::collections::BTreeSet;

use bytes::Bytes;
use isthmus_log::PeerError;
use isthmus_replication::names::RegionName;
use isthmus_runtime::events::{Severity, Source};
use serde_json::json;

use crate::shared::Shared;

/// A region that this one has no link to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not another region of the set; use one of: {known}")]
pub struct UnknownPeer {
    /// The name in the request.
    pub name: String,
    /// The names of the other regions.
    pub known: String,
}

/// Pauses or resumes the link to `peer` on every gateway of this region that receives the command,
/// including this one.
///
/// # Errors
/// [`UnknownPeer`] if `peer` is not another region of the set.
pub async fn tell(shared: &Shared, peer: &str, paused: bool) -> Result<RegionName, UnknownPeer> {
    let peers = shared.peers();
    let found = RegionName::parse(peer)
        .ok()
        .filter(|peer| peers.contains_key(peer));
    let peer = found.ok_or_else(|| UnknownPeer {
        name: peer.chars().take(64).collect(),
        known: peers
            .keys()
            .map(RegionName::as_str)
            .collect::<Vec<_>>()
            .join(", "),
    })?;
    set(shared, &peer, paused);
    let word = if paused { "pause" } else { "resume" };
    let command = Bytes::from_static(word.as_bytes());
    if let Err(PeerError::Away) = shared.ports.peers.publish(&suffix(&peer), command).await {
        tracing::warn!(%peer, word, "the other gateways of the region could not be notified: its NATS is unreachable");
    }
    Ok(peer)
}

/// Applies the commands of the region's other gateways, until dropped.
pub(super) async fn listen(shared: Shared) {
    let mut commands = shared.ports.peers.hear("link.*").await;
    let peers: BTreeSet<RegionName> = shared.peers().into_keys().collect();
    while let Some(command) = commands.next().await {
        let peer = peers.iter().find(|peer| command.suffix == suffix(peer));
        match (peer, command.payload.as_ref()) {
            (Some(peer), b"pause") => set(&shared, peer, true),
            (Some(peer), b"resume") => set(&shared, peer, false),
            _ => {
                if let Some(before) = shared
                    .process
                    .events
                    .may_log("bad link command", &Source::default())
                {
                    tracing::warn!(suffix = command.suffix, before, "unknown link command");
                }
            }
        }
    }
}

fn suffix(peer: &RegionName) -> String {
    format!("link.{peer}")
}

/// Pauses or resumes the link to `peer` on this gateway.
pub(super) fn set(shared: &Shared, peer: &RegionName, paused: bool) {
    let changed = shared.paused.send_if_modified(|all| {
        if paused {
            all.insert(peer.clone())
        } else {
            all.remove(peer)
        }
    });
    if changed {
        shared.view.link(peer, |link| link.paused = paused);
        let word = if paused { "paused" } else { "resumed" };
        shared.process.events.record(
            Severity::Notice,
            "link_command",
            format!("the link to {peer} is {word}"),
            json!({ "peer": peer.as_str(), "paused": paused }),
        );
    }
}
