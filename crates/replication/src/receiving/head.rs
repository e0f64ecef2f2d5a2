//! The origin's state, as the reader at the head of the own log has it.

use crate::coordinates::{Cursor, Life, Sequence};
use crate::fold::{Fold, Origin};
use crate::link::lane::Hold;
use crate::names::RegionName;

/// The head of the own log, from its fold.
///
/// Invariant: all fields come from one fold, so the cursor is never above what was read back.
/// Nothing is appended if the log has no life or is not read any further.
#[derive(Debug)]
pub(super) struct Head {
    at: Sequence,
    life: Option<Life>,
    cursor: Option<Cursor>,
    needs_sync: bool,
    is_stopped: bool,
}

/// The difference between a fold and the previous one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// Nothing.
    Nowhere,
    /// The log is in another life.
    NewLife,
    /// The cursor is lower.
    Back,
    /// The cursor is higher.
    Forward,
}

impl Head {
    pub(super) fn new(origin: &RegionName, fold: &Fold) -> Self {
        let held = fold.origin(origin);
        Self {
            at: fold.at().sequence,
            life: fold.lineage().current(),
            cursor: held.map(|held| held.cursor),
            needs_sync: held.is_some_and(Origin::needs_sync),
            is_stopped: false,
        }
    }

    /// Updates the state of `origin` from `fold`.
    pub(super) fn read(&mut self, origin: &RegionName, fold: &Fold) -> Moved {
        let new = Self {
            is_stopped: self.is_stopped,
            ..Self::new(origin, fold)
        };
        let before = std::mem::replace(self, new);
        let order =
            |cursor: Option<Cursor>| cursor.map(|cursor| (cursor.position.life, cursor.position.sequence));
        if self.life != before.life {
            Moved::NewLife
        } else if self.cursor == before.cursor {
            Moved::Nowhere
        } else if order(self.cursor) < order(before.cursor) {
            Moved::Back
        } else {
            Moved::Forward
        }
    }

    /// The log has a record that can't be read.
    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// Whether `fold` is behind what was read of the same life.
    pub(super) fn is_ahead_of(&self, fold: &Fold) -> bool {
        fold.lineage().current() == self.life && fold.at().sequence < self.at
    }

    /// Whether an append would be read back.
    pub(super) fn takes_appends(&self) -> bool {
        !self.is_stopped && self.life.is_some()
    }

    pub(super) fn hold(&self) -> Option<Hold> {
        if self.is_stopped {
            return Some(Hold::UpgradeNeeded);
        }
        self.life.is_none().then_some(Hold::Starting)
    }

    pub(super) fn life(&self) -> Option<Life> {
        self.life
    }

    pub(super) fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    pub(super) fn needs_sync(&self) -> bool {
        self.needs_sync
    }
}
