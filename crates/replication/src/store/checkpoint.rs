//! Incremental checkpoints: writes the cells that changed since the last one, in bounded parts.
//!
//! A checkpoint consists of [`Store::begin_checkpoint`], [`Store::next_part`] until it returns an
//! empty part, then [`Store::checkpoint_committed`] or [`Store::checkpoint_failed`]. Changes may be
//! applied between any two of these; a part has each cell as it is when the part is taken.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::{HeldCell, Store, weight};
use crate::cell::CellId;

/// A cell as a checkpoint stores it; none removes the cell.
pub type StoredCell = (CellId, Option<HeldCell>);

#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    /// Cells that differ from the last checkpoint.
    dirty: BTreeSet<CellId>,
    /// No checkpoint has any cell of this store, whatever is dirty.
    absent: bool,
    draining: Draining,
    through: Option<CellId>,
}

/// The cells of the running checkpoint.
#[derive(Debug)]
enum Draining {
    Cells(BTreeSet<CellId>),
    /// Every cell that the store has when its turn comes.
    All,
}

impl Default for Draining {
    fn default() -> Self {
        Self::Cells(BTreeSet::new())
    }
}

impl Checkpoint {
    pub(super) fn touch(&mut self, id: CellId) {
        // A checkpoint that takes every cell may have passed this one already.
        if !self.absent || matches!(self.draining, Draining::All) {
            self.dirty.insert(id);
        }
    }
}

impl Store {
    /// How many cells differ from the last checkpoint.
    #[must_use]
    pub fn dirty(&self) -> usize {
        let draining = match &self.checkpoint.draining {
            Draining::Cells(cells) => cells.len(),
            Draining::All => self.cells.len(),
        };
        match self.checkpoint.absent {
            true => self.cells.len(),
            false => self.checkpoint.dirty.len() + draining,
        }
    }

    /// Whether the next checkpoint must remove every cell of the earlier ones.
    #[must_use]
    pub fn replaces_checkpoint(&self) -> bool {
        self.checkpoint.absent
    }

    /// Begins a checkpoint of all dirty cells. A checkpoint that was begun and not finished counts
    /// as failed.
    pub fn begin_checkpoint(&mut self) {
        self.checkpoint_failed();
        let dirty = std::mem::take(&mut self.checkpoint.dirty);
        self.checkpoint.draining = match self.checkpoint.absent {
            true => Draining::All,
            false => Draining::Cells(dirty),
        };
    }

    /// The next part of the checkpoint, ordered by name: cells of about `bytes` in total, at least
    /// one. Empty at the end.
    pub fn next_part(&mut self, bytes: u64) -> Vec<StoredCell> {
        let after = after(self.checkpoint.through.as_ref());
        let mut part: Vec<StoredCell> = Vec::new();
        let mut taken = 0;
        let mut take = |id: &CellId, held: Option<&HeldCell>| {
            if taken >= bytes && !part.is_empty() {
                return false;
            }
            taken += held.map_or(super::CELL_OVERHEAD, |held| weight(id, &held.cell));
            part.push((id.clone(), held.cloned()));
            true
        };
        match &self.checkpoint.draining {
            Draining::Cells(cells) => {
                let mut cells = cells.range((after, Bound::Unbounded));
                while cells.next().is_some_and(|id| take(id, self.cells.get(id))) {}
            }
            Draining::All => {
                let mut cells = self.cells.range((after, Bound::Unbounded));
                while cells.next().is_some_and(|(id, held)| take(id, Some(held))) {}
            }
        }
        if let Some((last, _)) = part.last() {
            self.checkpoint.through = Some(last.clone());
        }
        part
    }

    /// No checkpoint on disk has anything of this store: every cell is dirty.
    pub fn checkpoint_lost(&mut self) {
        self.checkpoint = Checkpoint {
            absent: true,
            ..Checkpoint::default()
        };
    }

    /// The parts are on disk.
    pub fn checkpoint_committed(&mut self) {
        if let Draining::All = std::mem::take(&mut self.checkpoint.draining) {
            self.checkpoint.absent = false;
        }
        self.checkpoint.through = None;
    }

    /// The parts are not on disk: their cells are dirty again.
    pub fn checkpoint_failed(&mut self) {
        if let Draining::Cells(mut cells) = std::mem::take(&mut self.checkpoint.draining) {
            self.checkpoint.dirty.append(&mut cells);
        }
        self.checkpoint.through = None;
    }

    /// The cells after `after` in the order of their names; all cells without it.
    pub fn cells_after(&self, from: Option<&CellId>) -> impl Iterator<Item = (&CellId, &HeldCell)> {
        self.cells.range((after(from), Bound::Unbounded))
    }
}

fn after(id: Option<&CellId>) -> Bound<&CellId> {
    id.map_or(Bound::Unbounded, Bound::Excluded)
}
