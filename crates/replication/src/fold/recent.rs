//! The identifiers of recent local messages, which make a repeated publish void.
//!
//! Problem: a repeat must be void forever, but memory is bounded. Sketch: an identifier is kept
//! under its message's lowest stamp. Everything stamped at or below the admission floor is void by
//! its stamp alone, so an identifier can be forgotten once the floor has passed its stamp.
//! Identifiers of void messages that were stamped too far ahead are kept too: their repeats must
//! not become acceptable when time has caught up. Invariant: a message whose identifier was seen
//! and is no longer kept is at or below the floor. When [`limits::RECENT_IDS`] is reached, the
//! lowest stamps are dropped and the floor rises to them. Restored records are exempt from the
//! floor, so their repeats are void only while the identifier is kept.

use std::collections::BTreeSet;

use super::{Hlc, MessageId};
use crate::limits;
use crate::planted::{self, Planted};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Recent {
    ids: BTreeSet<(Hlc, MessageId)>,
    forgotten: Hlc,
}

impl Recent {
    /// Adds a message stamped above `floor`. Returns false if it is not above `floor` or was seen
    /// before.
    pub(super) fn insert(&mut self, lowest: Hlc, id: MessageId, floor: Hlc) -> bool {
        if lowest <= floor.max(self.forgotten) || self.holds(lowest, id) && !planted::is(Planted::MessageId) {
            return false;
        }
        self.note(lowest, id);
        true
    }

    pub(super) fn holds(&self, lowest: Hlc, id: MessageId) -> bool {
        self.ids.contains(&(lowest, id))
    }

    pub(super) fn note(&mut self, lowest: Hlc, id: MessageId) {
        self.ids.insert((lowest, id));
        while self.ids.len() > limits::RECENT_IDS {
            if let Some((stamp, _)) = self.ids.pop_first() {
                self.forgotten = self.forgotten.max(stamp);
            }
        }
    }

    pub(super) fn forget_through(&mut self, floor: Hlc) {
        while self.ids.first().is_some_and(|(stamp, _)| *stamp <= floor) {
            self.ids.pop_first();
        }
    }

    /// Nothing at or below `floor` is accepted any more.
    pub(super) fn raise_floor(&mut self, floor: Hlc) {
        self.forgotten = self.forgotten.max(floor);
    }

    pub(super) fn forgotten(&self) -> Hlc {
        self.forgotten
    }

    pub(super) fn restore(ids: BTreeSet<(Hlc, MessageId)>, forgotten: Hlc) -> Self {
        Self { ids, forgotten }
    }

    pub(super) fn ids(&self) -> &BTreeSet<(Hlc, MessageId)> {
        &self.ids
    }
}
