//! The in-memory store of one shard: the state of its cells after everything applied so far
//! (design.md sections 4 and 6).
//!
//! Problem: the agents of a region apply the same log, restart from checkpoints that were taken
//! while they continued to apply, and sweep expired values at different times. They must have the
//! same cells and prove it with one number.
//!
//! Sketch: an ordered map of cells, written only by the merge rule of [`crate::cell`]. The cell
//! with the empty field covers its key: when either arrives, cells of that key with a version not
//! above its own are removed, whatever its content. (Only a tombstone is meaningful there; covering
//! by version alone makes the result independent of order.) The digest is updated with each cell.
//!
//! Tombstones and expired values at or below the collected floor count as absent, and are removed a
//! while later ([`collection`](Store::collect)).
//!
//! Invariants: the cells, their number and the digest are a function of the set of applied changes
//! and the collected floor, independent of the changes' order and repetition. Expiry, sweeping and
//! removal change none of the three. The dirty cells and the cells of the running checkpoint are
//! together everything that differs from the newest checkpoint.
//!
//! Failure cases: a checkpoint may have a covered cell beside the one that covers it, since its
//! parts are taken one after another. [`Store::load`] follows the same rule as [`Store::apply`], so
//! that the covered cell is removed again.

use std::collections::{BTreeMap, BTreeSet};

use crate::agreement::Parts;
use crate::cell::{Cell, CellId, Content, Digest, Field, Merged, merge};
use crate::change::Change;
use crate::names::{BucketName, Key};
use crate::planted::{self, Planted};
use crate::time::Wall;
use crate::version::Version;

mod checkpoint;
mod codec;
mod collection;
mod listing;
mod restore;
mod sync;
#[cfg(test)]
mod tests;
mod wire;

pub use checkpoint::StoredCell;
pub use codec::InvalidStored;
pub(crate) use codec::{content_from_parts, content_to_parts};
pub use listing::{Listed, Page};

use collection::Collection;

/// A cell in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldCell {
    /// The write that won.
    pub cell: Cell,
    /// When this store applied it, by the agent's clock. Not part of any digest.
    pub applied_at: Wall,
}

/// The result of applying a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// The change is now the cell's write.
    Won {
        /// The replaced write, if the change had not seen it.
        conflict: Option<Conflict>,
    },
    /// A newer write stays.
    Superseded {
        /// This change, if the newer write had not seen it.
        conflict: Option<Conflict>,
    },
    /// The same write was applied before.
    Same,
    /// Two contents with one version: a writer identifier was reused.
    Clash,
    /// The change is at or below the collected floor, and its cell is absent: a newer delete may
    /// have been collected. It is not applied.
    Late(Box<Cell>),
}

/// A write that was overwritten unseen: a true conflict (design.md section 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The write that stays.
    pub winner: Version,
    /// The write that does not.
    pub loser: Cell,
}

impl Applied {
    /// Whether a newer change had already won.
    #[must_use]
    pub fn superseded(&self) -> bool {
        matches!(self, Self::Superseded { .. })
    }

    /// The write that was overwritten unseen, if one was.
    #[must_use]
    pub fn into_conflict(self) -> Option<Conflict> {
        match self {
            Self::Won { conflict } | Self::Superseded { conflict } => conflict,
            Self::Same | Self::Clash | Self::Late(_) => None,
        }
    }
}

/// The cells of one shard.
#[derive(Debug, Default)]
pub struct Store {
    cells: BTreeMap<CellId, HeldCell>,
    buckets: BTreeSet<BucketName>,
    /// The number of cells that are not collected.
    present: u64,
    /// Of the cells that are not collected.
    digest: Digest,
    /// Of the values that expire after `compared_after`.
    parts: Parts,
    compared_after: Wall,
    collection: Collection,
    bytes: u64,
    expiries: BTreeSet<(Wall, CellId)>,
    checkpoint: checkpoint::Checkpoint,
}

impl Store {
    /// The number of cells, tombstones included, without those that are collected.
    #[must_use]
    pub fn cells(&self) -> u64 {
        self.present
    }

    /// The digest of all cells in normal form, without those that are collected.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The digests of the store's parts, which regions compare. They cover only values that expire
    /// after [`Store::compared_after`], because regions collect tombstones at different times.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// See [`Store::parts`].
    #[must_use]
    pub fn compared_after(&self) -> Wall {
        self.compared_after
    }

    /// An upper estimate of the memory that the cells take, in bytes: names, values and a fixed
    /// share of the maps.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The cell of that name, with any content. None if it is collected.
    #[must_use]
    pub fn held(&self, id: &CellId) -> Option<&HeldCell> {
        let held = self.cells.get(id);
        held.filter(|held| !self.collection.is_absent(&held.cell))
    }

    /// The number of cells in memory, with those that are collected.
    #[must_use]
    pub fn cells_in_memory(&self) -> u64 {
        self.cells.len() as u64
    }

    /// The cell of a plain value. GET answers from it, with [`Cell::live_value`] at the reader's
    /// wall time.
    #[must_use]
    pub fn get(&self, bucket: &BucketName, key: &Key) -> Option<&HeldCell> {
        self.held(&root(bucket, key))
    }

    /// Merges a change that may have been read before: another region's, one that is given back, or
    /// one that is read again. `applied_at` is the agent's wall time.
    pub fn apply(&mut self, change: Change, applied_at: Wall) -> Applied {
        if let Some(newer) = self.newer_than(&change.id, &change.version) {
            let unseen = newer.overwrites_unseen(&change.version);
            return superseded(newer.version.clone(), change, unseen);
        }
        if self.collection.is_late(change.version.hlc) && self.held(&change.id).is_none() {
            return Applied::Late(Box::new(change.into_cell().1));
        }
        self.win(change, applied_at)
    }

    /// Merges a local write at its place in its own region's log, over the cells as they were
    /// before it. No process has read it yet, so the write that supersedes it can't have known it,
    /// unless the same process wrote both.
    pub fn apply_first(&mut self, change: Change, applied_at: Wall) -> Applied {
        if planted::is(Planted::SeenByRegion) {
            return self.apply(change, applied_at);
        }
        if let Some(newer) = self.newer_than(&change.id, &change.version) {
            let unseen = newer.version.writer != change.version.writer;
            return superseded(newer.version.clone(), change, unseen);
        }
        self.win(change, applied_at)
    }

    fn win(&mut self, change: Change, applied_at: Wall) -> Applied {
        let (id, cell) = change.into_cell();
        self.insert(id, cell, applied_at, true)
    }

    /// Whether this exact write is in the store, or was seen by the write in its place.
    #[must_use]
    pub fn knows(&self, change: &Change) -> bool {
        let held = [
            self.held(&change.id).map(|held| &held.cell),
            self.cover(&change.id),
        ];
        held.into_iter()
            .flatten()
            .any(|cell| match cell.version.cmp(&change.version) {
                std::cmp::Ordering::Equal => true,
                std::cmp::Ordering::Greater => !cell.overwrites_unseen(&change.version),
                std::cmp::Ordering::Less => false,
            })
    }

    /// Loads a cell of the checkpoint that this store starts from. It is not dirty unless it is
    /// covered.
    pub fn load(&mut self, id: CellId, held: HeldCell) {
        if self
            .cover(&id)
            .is_some_and(|cover| cover.version >= held.cell.version)
        {
            self.checkpoint.touch(id);
        } else {
            self.insert(id, held.cell, held.applied_at, false);
        }
    }

    /// Drops the bytes of at most `budget` values that have expired at `wall`, and returns how many
    /// it dropped. Fewer than `budget` means that none is left.
    pub fn sweep(&mut self, wall: Wall, budget: usize) -> usize {
        let mut swept = 0;
        while swept < budget && self.expiries.first().is_some_and(|(at, _)| *at <= wall) {
            let Some((_, id)) = self.expiries.pop_first() else {
                break;
            };
            let is_compared = self
                .cells
                .get(&id)
                .is_some_and(|held| self.is_compared(&held.cell));
            if let Some(held) = self.cells.get_mut(&id) {
                if is_compared {
                    self.parts.remove(&id, held.cell.digest(&id));
                }
                self.bytes -= weight(&id, &held.cell);
                held.cell.sweep();
                self.bytes += weight(&id, &held.cell);
                self.checkpoint.touch(id);
            }
            swept += 1;
        }
        swept
    }

    /// When the next value expires; none if no value expires.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Wall> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// The cell with the empty field of a field's key; none for the empty field itself.
    fn cover(&self, id: &CellId) -> Option<&Cell> {
        if id.field.is_none() {
            return None;
        }
        self.get(&id.bucket, &id.key).map(|held| &held.cell)
    }

    /// The newer write that supersedes a write with this version.
    fn newer_than(&self, id: &CellId, version: &Version) -> Option<&Cell> {
        let held = self.held(id).map(|held| &held.cell);
        let cover = self.cover(id).filter(|cover| cover.version >= *version);
        cover.or_else(|| held.filter(|held| held.version > *version))
    }

    fn insert(&mut self, id: CellId, incoming: Cell, applied_at: Wall, dirty: bool) -> Applied {
        let version = incoming.version.clone();
        let before = self.take(&id);
        let before = before.filter(|held| !self.collection.is_absent(&held.cell));
        let (mut held, was_applied_at) = match before {
            Some(held) => (Some(held.cell), held.applied_at),
            None => (None, applied_at),
        };
        let unseen = held
            .as_ref()
            .is_some_and(|held| incoming.overwrites_unseen(&held.version));
        let merged = merge(&mut held, incoming);
        let newest_at = if matches!(merged, Merged::Won { .. }) {
            applied_at
        } else {
            was_applied_at
        };
        if let Some(cell) = held {
            let digest = self.put(id.clone(), cell, newest_at);
            if matches!(merged, Merged::Won { .. } | Merged::Clash) {
                self.parts.note_win(&id, digest);
            }
        }
        if dirty {
            self.checkpoint.touch(id.clone());
        }
        if id.field.is_none() && matches!(merged, Merged::Won { .. }) {
            self.remove_covered(&id, &version);
        }
        match merged {
            Merged::Won { replaced } => Applied::Won {
                conflict: replaced.filter(|_| unseen).map(|loser| Conflict {
                    winner: version,
                    loser,
                }),
            },
            Merged::Superseded => Applied::Superseded { conflict: None },
            Merged::Same => Applied::Same,
            Merged::Clash => Applied::Clash,
        }
    }

    fn remove_covered(&mut self, root: &CellId, version: &Version) {
        let covered: Vec<CellId> = self
            .cells
            .range(root..)
            .skip(1)
            .take_while(|(id, _)| id.bucket == root.bucket && id.key == root.key)
            .filter(|(_, held)| held.cell.version <= *version)
            .map(|(id, _)| id.clone())
            .collect();
        for id in covered {
            self.take(&id);
            self.checkpoint.touch(id);
        }
    }

    /// Removes a cell from the map and from all counts and digests.
    fn take(&mut self, id: &CellId) -> Option<HeldCell> {
        let held = self.cells.remove(id)?;
        let digest = held.cell.digest(id);
        if !self.collection.is_absent(&held.cell) {
            self.digest.remove(digest);
            self.present -= 1;
        }
        if self.is_compared(&held.cell) {
            self.parts.remove(id, digest);
        }
        self.collection.remove(id, &held.cell);
        self.bytes -= weight(id, &held.cell);
        if let Some(at) = held.cell.expires_at {
            self.expiries.remove(&(at, id.clone()));
        }
        Some(held)
    }

    /// Adds a cell to the map and to all counts and digests. Returns its digest.
    fn put(&mut self, mut id: CellId, cell: Cell, applied_at: Wall) -> Digest {
        match self.buckets.get(&id.bucket) {
            Some(bucket) => id.bucket = bucket.clone(),
            None => {
                self.buckets.insert(id.bucket.clone());
            }
        }
        let digest = cell.digest(&id);
        if !self.collection.is_absent(&cell) {
            self.digest.add(digest);
            self.present += 1;
        }
        if self.is_compared(&cell) {
            self.parts.add(&id, digest);
        }
        self.collection.add(&id, &cell);
        self.bytes += weight(&id, &cell);
        if let (Some(at), Content::Value { .. }) = (cell.expires_at, &cell.content) {
            self.expiries.insert((at, id.clone()));
        }
        self.cells.insert(id, HeldCell { cell, applied_at });
        digest
    }
}

fn superseded(winner: Version, change: Change, unseen: bool) -> Applied {
    let conflict = unseen.then(|| Conflict {
        winner,
        loser: change.into_cell().1,
    });
    Applied::Superseded { conflict }
}

fn root(bucket: &BucketName, key: &Key) -> CellId {
    CellId {
        bucket: bucket.clone(),
        key: key.clone(),
        field: Field::NONE,
    }
}

/// The memory of a cell besides its own bytes: its node in the map, its entry among the expiries,
/// allocation headers.
const CELL_OVERHEAD: u64 = 256;
const SEEN_ENTRY: u64 = 32;

fn weight(id: &CellId, cell: &Cell) -> u64 {
    let content = match &cell.content {
        Content::Value { bytes, content_type } => bytes.len() + content_type.as_str().len(),
        Content::Tombstone | Content::Swept(_) => 0,
    };
    let names = id.key.as_str().len() + id.field.bytes().len();
    CELL_OVERHEAD + SEEN_ENTRY * cell.seen.iter().len() as u64 + (names + content) as u64
}
