//! How far other regions have this region's log, as its gateways report it (design.md sections 6
//! and 7).
//!
//! A region counts as reachable while a gateway's newest report has its link up and is not older
//! than [`PEER_SILENCE`]. Two gateways may report on one region for a moment. Either report is
//! enough, since a cursor that a peer acknowledged stays true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use isthmus_replication::coordinates::{AppliedThrough, Cursor, Position, Shard};
use isthmus_replication::header::Lineage;
use isthmus_replication::names::{ProcessName, RegionName};
use isthmus_replication::peer::{PEER_SILENCE, PeerCursors};
use isthmus_replication::time::Mono;
use tokio::sync::watch;

/// By shard, then by region and by the gateway that reported.
type Views = BTreeMap<Shard, BTreeMap<(RegionName, ProcessName), View>>;

/// The reports of gateways on every shard.
#[derive(Debug)]
pub struct Peers {
    views: Mutex<Views>,
    changes: watch::Sender<u64>,
}

/// One gateway's report on one region and shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Whether the link is up.
    pub connected: bool,
    /// The region has this region's log through this cursor, which the gateway has verified: it
    /// confirms writes.
    pub cursor: Option<Cursor>,
    /// The last such cursor that any gateway reported. It may no longer be the log's.
    pub last_cursor: Option<Cursor>,
    /// The region's agents have applied the log through this position.
    pub applied: Option<AppliedThrough>,
    /// The region's lane can't bring what is missing here.
    pub stuck: bool,
    /// When the report arrived.
    pub heard: Mono,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            views: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl Peers {
    /// Records a gateway's report. What the gateway reported before and leaves out now is
    /// forgotten: a cursor that it no longer knows to be this log's confirms nothing.
    pub fn note(&self, now: Mono, message: PeerCursors) {
        let PeerCursors {
            shard,
            gateway,
            peers,
        } = message;
        let mut views = self.views();
        let held = views.entry(shard).or_default();
        let mut changes: Vec<(RegionName, Mono, Cursor)> = held
            .iter()
            .filter_map(|((region, _), view)| Some((region.clone(), view.heard, view.last_cursor?)))
            .collect();
        changes.sort_by_key(|(_, heard, _)| *heard);
        let last: BTreeMap<RegionName, Cursor> = changes
            .into_iter()
            .map(|(region, _, cursor)| (region, cursor))
            .collect();
        held.retain(|(_, teller), view| *teller != gateway && now.since(view.heard) <= PEER_SILENCE);
        for peer in peers {
            let view = View {
                connected: peer.connected,
                cursor: peer.cursor,
                last_cursor: peer.cursor.or_else(|| last.get(&peer.peer).copied()),
                applied: peer.applied,
                stuck: peer.stuck,
                heard: now,
            };
            held.insert((peer.peer, gateway.clone()), view);
        }
        drop(views);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Counts the reports. After a change, [`Peers::holds`] may be true of more writes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether `region` can be reached for `shard` as far as is known.
    #[must_use]
    pub fn reachable(&self, now: Mono, shard: &Shard, region: &RegionName) -> bool {
        self.of(shard, region)
            .iter()
            .any(|view| view.connected && now.since(view.heard) <= PEER_SILENCE)
    }

    /// Whether `region` has acknowledged what this region's log has at `write`. `lineage` is of
    /// this region's log: a cursor of a later life covers the write only if that life kept it.
    #[must_use]
    pub fn holds(&self, shard: &Shard, region: &RegionName, write: Position, lineage: &Lineage) -> bool {
        self.of(shard, region).iter().any(|view| {
            view.cursor
                .is_some_and(|cursor| covers(cursor.position, write, lineage))
        })
    }

    /// The newest report on each region of `shard`.
    #[must_use]
    pub fn newest(&self, shard: &Shard) -> BTreeMap<RegionName, View> {
        let mut newest: BTreeMap<RegionName, View> = BTreeMap::new();
        for ((region, _), view) in self.views().get(shard).into_iter().flatten() {
            let held = newest.entry(region.clone()).or_insert(*view);
            if view.heard > held.heard {
                *held = *view;
            }
        }
        newest
    }

    /// The regions whose lanes can't bring what is missing here of `shard`.
    #[must_use]
    pub fn stuck(&self, now: Mono, shard: &Shard) -> BTreeSet<RegionName> {
        let newest = self.newest(shard).into_iter();
        newest
            .filter(|(_, view)| view.stuck && view.connected && now.since(view.heard) <= PEER_SILENCE)
            .map(|(region, _)| region)
            .collect()
    }

    fn of(&self, shard: &Shard, region: &RegionName) -> Vec<View> {
        let views = self.views();
        let changes = views.get(shard).into_iter().flatten();
        changes
            .filter(|((of, _), _)| of == region)
            .map(|(_, view)| *view)
            .collect()
    }

    fn views(&self) -> MutexGuard<'_, Views> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a region that has this log through `cursor` has what the log had at `write`.
fn covers(cursor: Position, write: Position, lineage: &Lineage) -> bool {
    if cursor.life == write.life {
        return cursor.sequence >= write.sequence;
    }
    let later = lineage.links().iter().position(|link| link.life == cursor.life)
        > lineage.links().iter().position(|link| link.life == write.life);
    later && lineage.shared_through(write) == Some(write.sequence) && cursor.sequence >= write.sequence
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use isthmus_replication::coordinates::{Life, MessageId, Sequence};
    use isthmus_replication::header::LifeLink;
    use isthmus_replication::names::GroupName;
    use isthmus_replication::peer::PeerCursor;

    use super::*;

    fn shard() -> Shard {
        Shard {
            group: GroupName::parse("default").unwrap(),
            partition: 0,
        }
    }

    fn region() -> RegionName {
        RegionName::parse("us-east").unwrap()
    }

    fn life(number: u64) -> Life {
        Life { number, nonce: 7 }
    }

    fn position(number: u64, sequence: u64) -> Position {
        Position {
            life: life(number),
            sequence: Sequence(sequence),
        }
    }

    fn word(connected: bool, at: Position) -> PeerCursors {
        let cursor = Cursor {
            position: at,
            message_id: MessageId(1),
        };
        PeerCursors {
            shard: shard(),
            gateway: ProcessName::parse("gateway-1").unwrap(),
            peers: vec![PeerCursor {
                peer: region(),
                connected,
                cursor: Some(cursor),
                applied: None,
                stuck: false,
            }],
        }
    }

    fn lineage() -> Lineage {
        let mut lineage = Lineage::default();
        assert!(lineage.begin(LifeLink {
            life: life(1),
            parent: None,
            fork: Sequence::NONE
        }));
        assert!(lineage.begin(LifeLink {
            life: life(2),
            parent: Some(life(1)),
            fork: Sequence(10)
        }));
        lineage
    }

    #[test]
    fn silence_and_a_cut_link_make_a_region_unreachable() {
        let peers = Peers::default();
        let start = Mono::from_nanos(0);
        assert!(!peers.reachable(start, &shard(), &region()));
        peers.note(start, word(true, position(1, 5)));
        assert!(peers.reachable(start.after(PEER_SILENCE), &shard(), &region()));
        let late = start.after(PEER_SILENCE + Duration::from_millis(1));
        assert!(!peers.reachable(late, &shard(), &region()));
        peers.note(late, word(false, position(1, 6)));
        assert!(!peers.reachable(late, &shard(), &region()));
    }

    #[test]
    fn a_leader_without_a_cursor_keeps_the_last_and_confirms_none() {
        let peers = Peers::default();
        let start = Mono::from_nanos(0);
        peers.note(start, word(true, position(1, 5)));
        let mut next = word(false, position(1, 5));
        next.gateway = ProcessName::parse("gateway-2").unwrap();
        next.peers[0].cursor = None;
        peers.note(start.after(PEER_SILENCE * 2), next.clone());
        peers.note(start.after(PEER_SILENCE * 3), next);
        let newest = peers.newest(&shard())[&region()];
        assert_eq!(newest.last_cursor.unwrap().position, position(1, 5));
        assert!(!peers.holds(&shard(), &region(), position(1, 5), &lineage()));
        assert!(!newest.connected);
    }

    #[test]
    fn a_cursor_covers_what_its_life_kept() {
        let peers = Peers::default();
        let holds = |at, write| {
            peers.note(Mono::from_nanos(0), word(true, at));
            peers.holds(&shard(), &region(), write, &lineage())
        };
        assert!(holds(position(1, 7), position(1, 7)));
        assert!(!holds(position(1, 6), position(1, 7)));
        assert!(holds(position(2, 12), position(1, 9)));
        assert!(!holds(position(2, 12), position(1, 11)), "lost with the tail");
        assert!(!holds(position(1, 50), position(2, 11)), "of the life before");
    }
}
