//! Collecting tombstones (design.md section 10, docs/decisions/0023-floors.md).
//!
//! Problem: tombstones must go, or memory grows with every key that was ever deleted; and a key
//! whose tombstone is gone must not come back by an older put that was on its way. The agents of a
//! region must agree on what they hold at each position, also after one of them started from a
//! checkpoint or read its log again.
//!
//! Sketch: no log of any region accepts anything at or below the floor any more, so a tombstone
//! there has done its work. [`Store::collect`] moves the collected floor: from then on, tombstones
//! and expired values at or below it count as absent, in the digest, the number of cells and the
//! merge. It depends on the fold's position alone. [`Store::reclaim`] removes them from memory
//! later, when no position before is read again. A change at or below the floor whose cell is
//! absent is [`Applied::Late`](super::Applied::Late).
//!
//! Invariant: what counts as absent is a function of the applied changes and the collected floor.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{HeldCell, Store, weight};
use crate::cell::{Cell, CellId, Content};
use crate::hlc::Hlc;
use crate::time::Wall;

#[derive(Debug, Default)]
pub(super) struct Collection {
    /// Tombstones, and values that expire, by the floor from which they count as absent.
    ending: BTreeMap<Hlc, Vec<CellId>>,
    floor: Hlc,
    reclaimed: Hlc,
}

impl Collection {
    pub(super) fn add(&mut self, id: &CellId, cell: &Cell) {
        if let Some(from) = cell.absent_from() {
            self.ending.entry(from).or_default().push(id.clone());
        }
    }

    pub(super) fn remove(&mut self, id: &CellId, cell: &Cell) {
        let Some(from) = cell.absent_from() else { return };
        if let Some(cells) = self.ending.get_mut(&from) {
            cells.retain(|held| held != id);
            if cells.is_empty() {
                self.ending.remove(&from);
            }
        }
    }

    /// Whether the cell counts as absent.
    pub(super) fn is_absent(&self, cell: &Cell) -> bool {
        cell.is_absent_at(self.floor)
    }

    /// Whether a change with this stamp may follow a delete that is no longer known, if its cell is
    /// absent.
    pub(super) fn is_late(&self, stamp: Hlc) -> bool {
        stamp <= self.guard()
    }

    /// Deletes through here may no longer be known.
    pub(super) fn guard(&self) -> Hlc {
        self.floor.max(self.reclaimed)
    }
}

impl Store {
    /// The collected floor.
    #[must_use]
    pub fn collected(&self) -> Hlc {
        self.collection.floor
    }

    /// The greatest floor through which cells were removed from memory.
    #[must_use]
    pub fn reclaimed(&self) -> Hlc {
        self.collection.reclaimed
    }

    /// Moves the collected floor, also back if the log is read again. Back below what was removed,
    /// the guard stays.
    pub fn collect(&mut self, floor: Hlc) {
        let before = std::mem::replace(&mut self.collection.floor, floor);
        let between = (
            Bound::Excluded(before.min(floor)),
            Bound::Included(before.max(floor)),
        );
        if floor == before {
            return;
        }
        for id in self.collection.ending.range(between).flat_map(|(_, cells)| cells) {
            let Some(held) = self.cells.get(id) else { continue };
            let digest = held.cell.digest(id);
            if floor > before {
                self.digest.remove(digest);
                self.present -= 1;
            } else {
                self.digest.add(digest);
                self.present += 1;
            }
        }
    }

    /// Removes at most `budget` collected cells at or below `through`, and returns how many it
    /// removed. Nothing before the position with that floor may be read again by this store, by the
    /// running checkpoint, or by who copies this store.
    pub fn reclaim(&mut self, through: Hlc, budget: usize) -> usize {
        let through = through.min(self.collection.floor);
        let mut removed = 0;
        while removed < budget
            && let Some(first) = self.collection.ending.first_entry()
            && *first.key() <= through
        {
            let (from, cells) = first.remove_entry();
            self.collection.reclaimed = self.collection.reclaimed.max(from);
            removed += cells.len();
            for id in cells {
                if let Some(HeldCell { cell, .. }) = self.cells.remove(&id) {
                    self.bytes -= weight(&id, &cell);
                    if let Some(at) = cell.expires_at {
                        self.expiries.remove(&(at, id.clone()));
                    }
                    self.checkpoint.touch(id);
                }
            }
        }
        removed
    }

    /// Before anything is loaded: what the store that is loaded had collected and removed.
    pub fn resume_collection(&mut self, floor: Hlc, reclaimed: Hlc) {
        self.collection.floor = floor;
        self.collection.reclaimed = reclaimed;
    }

    /// Values that expire at or before `wall` are no longer compared with other regions. It never
    /// goes back.
    pub fn compare_after(&mut self, wall: Wall) {
        let before = self.compared_after;
        if wall <= before {
            return;
        }
        self.compared_after = wall;
        let ended = self.expiries.iter().take_while(|(at, _)| *at <= wall);
        for (at, id) in ended {
            if let Some(held) = self.cells.get(id).filter(|_| *at > before) {
                self.parts.remove(id, held.cell.digest(id));
            }
        }
    }

    /// Whether regions compare this cell.
    pub(super) fn is_compared(&self, cell: &Cell) -> bool {
        let is_value = matches!(cell.content, Content::Value { .. });
        is_value && cell.expires_at.is_none_or(|at| at > self.compared_after)
    }
}
