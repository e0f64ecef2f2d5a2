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
    dirty: BTreeSet<CellId>,
    draining: BTreeSet<CellId>,
    through: Option<CellId>,
}

impl Checkpoint {
    pub(super) fn touch(&mut self, id: CellId) {
        self.dirty.insert(id);
    }
}

impl Store {
    /// How many cells differ from the last checkpoint.
    #[must_use]
    pub fn dirty(&self) -> usize {
        self.checkpoint.dirty.len() + self.checkpoint.draining.len()
    }

    /// Begins a checkpoint of all dirty cells. A checkpoint that was begun and not finished counts
    /// as failed.
    pub fn begin_checkpoint(&mut self) {
        self.checkpoint_failed();
        self.checkpoint.draining = std::mem::take(&mut self.checkpoint.dirty);
    }

    /// The next part of the checkpoint, ordered by name: cells of about `bytes` in total, at least
    /// one. Empty at the end.
    pub fn next_part(&mut self, bytes: u64) -> Vec<StoredCell> {
        let after = self
            .checkpoint
            .through
            .as_ref()
            .map_or(Bound::Unbounded, Bound::Excluded);
        let mut part = Vec::new();
        let mut taken = 0;
        for id in self.checkpoint.draining.range((after, Bound::Unbounded)) {
            if taken >= bytes && !part.is_empty() {
                break;
            }
            let held = self.cells.get(id).cloned();
            taken += held
                .as_ref()
                .map_or(super::CELL_OVERHEAD, |held| weight(id, &held.cell));
            part.push((id.clone(), held));
        }
        if let Some((last, _)) = part.last() {
            self.checkpoint.through = Some(last.clone());
        }
        part
    }

    /// No checkpoint is on disk any more: every cell is dirty.
    pub fn checkpoint_lost(&mut self) {
        self.checkpoint_failed();
        self.checkpoint.dirty.extend(self.cells.keys().cloned());
    }

    /// The parts are on disk.
    pub fn checkpoint_committed(&mut self) {
        self.checkpoint.draining.clear();
        self.checkpoint.through = None;
    }

    /// The parts are not on disk: their cells are dirty again.
    pub fn checkpoint_failed(&mut self) {
        let mut draining = std::mem::take(&mut self.checkpoint.draining);
        self.checkpoint.dirty.append(&mut draining);
        self.checkpoint.through = None;
    }
}
