//! The identifiers of recent local messages: what makes a repeated publish void.
//!
//! Problem: a repeat must be void for ever, but memory is bounded. Sketch: an identifier is kept under its lowest stamp.
//! Everything stamped at or below the admission floor is void by its stamp alone, so an identifier may be forgotten
//! once the floor has passed it. Identifiers of void messages stamped ahead are kept too: their repeat must not become
//! acceptable when time has caught up. Invariant: a message whose identifier is not kept and was seen is below the
//! floor. When [`limits::RECENT_IDS`] is reached the least stamps go and the floor rises to them.

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
    /// Notes a message stamped above `floor`; false if it is not above it or was seen.
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
