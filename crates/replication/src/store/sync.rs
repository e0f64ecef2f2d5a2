//! What a sync reads from its source and does to its target (docs/decisions/0024-sync.md).
//!
//! Problem: of two stores, one has a cell that the other lacks. Either the other never had it, or
//! it has collected the tombstone of a newer delete.
//!
//! Sketch: the pairwise rule. A store whose floor has reached the other's collected floor knows
//! every delete that the other has collected. So it may copy to the other what lies below that
//! floor, and a store that has not reached it drops there what the other lacks.
//!
//! Invariant: the effects of a record are a function of the store before it, the fold's floor at
//! its place, and the record.

use super::{Applied, Conflict, HeldCell, Store};
use crate::cell::{Cell, CellId, Content, Digest};
use crate::header::SourceFloors;
use crate::hlc::Hlc;
use crate::planted::{self, Planted};
use crate::time::Wall;
use crate::version::Version;

impl Store {
    /// Merges a cell of a sync's source. [`Applied::Late`] if a newer delete may have been
    /// collected here that the source has not included yet.
    pub fn copy(&mut self, id: CellId, cell: Cell, source: SourceFloors, applied_at: Wall) -> Applied {
        if planted::is(Planted::RepairPicksOlder) && self.held(&id).is_some() {
            self.take(&id);
        }
        if let Some(newer) = self.newer_than(&id, &cell.version) {
            let unseen = newer.overwrites_unseen(&cell.version);
            let winner = newer.version.clone();
            let conflict = unseen.then_some(Conflict { winner, loser: cell });
            return Applied::Superseded { conflict };
        }
        let collected = self.collection.guard();
        let knows_deletes = source.floor >= collected;
        if cell.version.hlc <= collected && !knows_deletes && self.held(&id).is_none() {
            return Applied::Late(Box::new(cell));
        }
        self.insert(id, cell, applied_at, true)
    }

    /// Drops a cell that a sync's source lacks, if it is still of this version and the source may
    /// have collected its delete. `floor` is the fold's at the record's place. Returns whether it
    /// is dropped.
    pub fn drop_lacked(&mut self, id: &CellId, version: &Version, source: SourceFloors, floor: Hlc) -> bool {
        let is_held = self.held(id).is_some_and(|held| held.cell.version == *version);
        if !is_held || version.hlc > source.collected || floor >= source.collected {
            return false;
        }
        if let Some(held) = self.take(id) {
            self.parts.note_win(id, held.cell.digest(id));
            self.checkpoint.touch(id.clone());
        }
        true
    }

    /// The cells in memory after `after` and up to `through`, in the order of their names.
    pub fn cells_between<'a>(
        &'a self,
        after: Option<&'a CellId>,
        through: Option<&'a CellId>,
    ) -> impl Iterator<Item = (&'a CellId, &'a HeldCell)> {
        let cells = self.cells_after(after);
        cells.take_while(move |(id, _)| through.is_none_or(|through| *id <= through))
    }

    /// Whether a cell counts at this collected floor. [`Store::reclaimed`] must not be above it.
    #[must_use]
    pub fn counts(&self, held: &HeldCell, floor: Hlc) -> bool {
        let is_left_out =
            planted::is(Planted::SyncWithoutTombstones) && held.cell.content == Content::Tombstone;
        !held.cell.is_absent_at(floor) && !is_left_out
    }

    /// The digest and the number of the cells between that count at this collected floor.
    #[must_use]
    pub fn span_digest(&self, after: Option<&CellId>, through: Option<&CellId>, floor: Hlc) -> (Digest, u64) {
        let mut digest = Digest::default();
        let mut cells = 0;
        for (id, held) in self.cells_between(after, through) {
            if !self.counts(held, floor) {
                continue;
            }
            digest.add(held.cell.digest(id));
            cells += 1;
        }
        (digest, cells)
    }

    /// Whether a cell of a sync's source would change anything here.
    #[must_use]
    pub fn lacks(&self, id: &CellId, cell: &Cell) -> bool {
        let same = |held: &HeldCell| {
            held.cell.version == cell.version && held.cell.content_hash() == cell.content_hash()
        };
        self.newer_than(id, &cell.version).is_none() && !self.held(id).is_some_and(same)
    }
}
