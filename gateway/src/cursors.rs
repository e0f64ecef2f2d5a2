//! How much of this region's log each peer has, as published to the region's agents (design.md
//! sections 6 and 7).

use std::collections::BTreeMap;

use isthmus_replication::coordinates::{AppliedThrough, Cursor, Shard};
use isthmus_replication::names::{ProcessName, RegionName};
use isthmus_replication::peer::{PeerCursor, PeerCursors};
use tokio::sync::watch;

/// The acknowledgements of every peer. Links write them, and one task publishes them.
#[derive(Debug)]
pub struct PeerCursorTable {
    acknowledged: watch::Sender<Acknowledged>,
}

/// Acknowledgements by shard and peer.
pub type Acknowledged = BTreeMap<Shard, BTreeMap<RegionName, Acknowledgement>>;

/// The acknowledgement of one peer on one shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Whether the link is up and answers.
    pub connected: bool,
    /// The peer has this region's log through this cursor.
    pub cursor: Option<Cursor>,
    /// The peer's agents have applied the log through this position.
    pub applied: Option<AppliedThrough>,
    /// The peer's lane to this region can't bring what is missing here.
    pub stuck: bool,
}

impl PeerCursorTable {
    /// Creates a table of `peers` and the shards that each shares, with nothing acknowledged.
    #[must_use]
    pub fn new(peers: &BTreeMap<RegionName, Vec<Shard>>) -> Self {
        let mut acknowledged = Acknowledged::new();
        for (peer, shards) in peers {
            for shard in shards {
                let peers = acknowledged.entry(shard.clone()).or_default();
                peers.insert(peer.clone(), Acknowledgement::default());
            }
        }
        Self {
            acknowledged: watch::Sender::new(acknowledged),
        }
    }

    /// Records what `peer` is known to have of `shard`. `cursor` is none while that is not known.
    pub fn acknowledge(
        &self,
        peer: &RegionName,
        shard: &Shard,
        cursor: Option<Cursor>,
        applied: Option<AppliedThrough>,
    ) {
        self.acknowledged.send_if_modified(|all| {
            let Some(held) = all.get_mut(shard).and_then(|peers| peers.get_mut(peer)) else {
                return false;
            };
            let sent = Acknowledgement {
                connected: held.connected,
                cursor,
                applied: applied.or(held.applied),
                stuck: held.stuck,
            };
            let changed = *held != sent;
            *held = sent;
            changed
        });
    }

    /// Records whether the link to `peer` is up.
    pub fn connected(&self, peer: &RegionName, connected: bool) {
        self.acknowledged.send_if_modified(|all| {
            let mut changed = false;
            for peers in all.values_mut() {
                if let Some(held) = peers.get_mut(peer).filter(|held| held.connected != connected) {
                    held.connected = connected;
                    changed = true;
                }
            }
            changed
        });
    }

    /// Records which of the lanes of `peer` to this region can't bring what is missing here.
    pub fn stuck(&self, peer: &RegionName, stuck: impl Fn(&Shard) -> bool) {
        self.acknowledged.send_if_modified(|all| {
            let mut changed = false;
            for (shard, peers) in all {
                if let Some(held) = peers.get_mut(peer) {
                    let stuck = stuck(shard);
                    changed |= std::mem::replace(&mut held.stuck, stuck) != stuck;
                }
            }
            changed
        });
    }

    /// Whether the link to `peer` is up.
    #[must_use]
    pub fn is_connected(&self, peer: &RegionName) -> bool {
        let all = self.acknowledged.borrow();
        all.values()
            .any(|peers| peers.get(peer).is_some_and(|held| held.connected))
    }

    /// A receiver that wakes at each change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Acknowledged> {
        self.acknowledged.subscribe()
    }

    /// All acknowledgements.
    #[must_use]
    pub fn acknowledged(&self) -> Acknowledged {
        self.acknowledged.borrow().clone()
    }
}

/// The message of `gateway` to the agents about `shard`.
#[must_use]
pub fn message(
    gateway: &ProcessName,
    shard: &Shard,
    peers: &BTreeMap<RegionName, Acknowledgement>,
) -> PeerCursors {
    let peers = peers.iter().map(|(peer, held)| PeerCursor {
        peer: peer.clone(),
        connected: held.connected,
        cursor: held.cursor,
        applied: held.applied,
        stuck: held.stuck,
    });
    PeerCursors {
        shard: shard.clone(),
        gateway: gateway.clone(),
        peers: peers.collect(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use isthmus_replication::coordinates::{Life, MessageId, Position, Sequence};
    use isthmus_replication::names::GroupName;

    use super::*;

    fn region(name: &str) -> RegionName {
        RegionName::parse(name).unwrap()
    }

    fn shard(partition: u16) -> Shard {
        Shard {
            group: GroupName::parse("default").unwrap(),
            partition,
        }
    }

    #[test]
    fn a_change_wakes_and_a_repetition_does_not() {
        let peers = [
            (region("us"), vec![shard(0), shard(1)]),
            (region("ap"), vec![shard(0)]),
        ];
        let table = PeerCursorTable::new(&peers.into());
        let mut woken = table.subscribe();
        let cursor = Cursor {
            position: Position {
                life: Life { number: 1, nonce: 2 },
                sequence: Sequence(9),
            },
            message_id: MessageId(3),
        };
        table.connected(&region("us"), true);
        table.acknowledge(&region("us"), &shard(1), Some(cursor), None);
        assert!(woken.has_changed().unwrap());
        woken.mark_unchanged();
        table.connected(&region("us"), true);
        table.acknowledge(&region("us"), &shard(1), Some(cursor), None);
        table.acknowledge(&region("ap"), &shard(1), Some(cursor), None);
        assert!(!woken.has_changed().unwrap(), "nothing new was said");

        let all = table.acknowledged();
        let gateway = ProcessName::parse("gateway-1").unwrap();
        let of = |partition: u16, peer: &str| {
            let sent = message(&gateway, &shard(partition), &all[&shard(partition)]);
            let found = sent.peers.iter().find(|held| held.peer == region(peer));
            found.map(|held| {
                (
                    held.connected,
                    held.cursor.map(|cursor| cursor.position.sequence.0),
                )
            })
        };
        assert_eq!(of(0, "us"), Some((true, None)));
        assert_eq!(of(1, "us"), Some((true, Some(9))));
        assert_eq!(of(0, "ap"), Some((false, None)));
        assert_eq!(of(1, "ap"), None, "this peer does not hold the shard");
    }
}
