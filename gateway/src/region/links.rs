//! Pausing and resuming links: a command to one gateway of a region is told to all, so that it holds whoever leads. Each
//! writes it into its member lease, where one that starts later finds it: it holds for as long as a gateway runs.

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
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: String,
}

/// Pauses or resumes the link to `peer` on every gateway of this region that hears it, this one included.
///
/// # Errors
/// [`UnknownPeer`].
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
        tracing::warn!(%peer, word, "the other gateways of the region could not be notified: its NATS is away");
    }
    Ok(peer)
}

/// Obeys what other gateways of the region tell, until dropped.
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
                    tracing::warn!(suffix = command.suffix, before, "a link command that is none");
                }
            }
        }
    }
}

fn suffix(peer: &RegionName) -> String {
    format!("link.{peer}")
}

/// Holds, or holds no longer, the link to `peer`.
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
