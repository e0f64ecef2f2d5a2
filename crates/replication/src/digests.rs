//! The digests of a store after each of the last messages, for comparison with marks (design.md
//! section 5).
//!
//! A mark describes a position that its reader passed a while ago. Each agent records the summary
//! of its store after every message, so that it can check whether it was equal there.

use std::collections::VecDeque;

use crate::cell::Digest;
use crate::coordinates::{Anchor, MessageId, Sequence};
use crate::limits;
use crate::store::Store;

/// A summary of a store, which two agents compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The digest of its cells.
    pub digest: Digest,
    /// The number of cells, tombstones included.
    pub cells: u64,
}

impl Summary {
    /// The summary of `store`.
    #[must_use]
    pub fn of(store: &Store) -> Self {
        Self {
            digest: store.digest(),
            cells: store.cells(),
        }
    }
}

/// The result of comparing this store with another one at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// They were equal.
    Equal,
    /// They differed: one of them is wrong.
    Differs {
        /// This store's summary.
        ours: Summary,
        /// The other store's summary.
        theirs: Summary,
    },
    /// Another message was read at that sequence: the log is not what it was, and a new life is
    /// suspected.
    OtherMessage {
        /// The message that was read there.
        read: MessageId,
    },
    /// The position is below what is kept, or nothing is kept.
    TooOld,
    /// The position is above what was read. This is never so for a mark that the fold accepted.
    NotRead,
}

/// A store's summaries after each of the last [`limits::KEPT_DIGESTS`] messages, in sequence order.
#[derive(Debug, Clone, Default)]
pub struct Digests {
    kept: VecDeque<(Anchor, Summary)>,
}

impl Digests {
    /// Records the summary of the store after the message at `at` was applied. Everything kept at
    /// or above that sequence is dropped: the log was rewound.
    pub fn note(&mut self, at: Anchor, summary: Summary) {
        self.rewind(at.sequence.previous());
        if self.kept.len() == limits::KEPT_DIGESTS {
            self.kept.pop_front();
        }
        self.kept.push_back((at, summary));
    }

    /// Forgets everything above `through`.
    pub fn rewind(&mut self, through: Sequence) {
        while self.kept.back().is_some_and(|(at, _)| at.sequence > through) {
            self.kept.pop_back();
        }
    }

    /// Forgets everything: after a rewind or a new life, stores may differ at one position for a
    /// while.
    pub fn clear(&mut self) {
        self.kept.clear();
    }

    /// The newest summary and the message after which it was taken.
    #[must_use]
    pub fn newest(&self) -> Option<(Anchor, Summary)> {
        self.kept.back().copied()
    }

    /// Compares the summary at `described` with another store's summary there.
    #[must_use]
    pub fn compare(&self, described: Anchor, theirs: Summary) -> Comparison {
        match self
            .kept
            .binary_search_by_key(&described.sequence, |(at, _)| at.sequence)
        {
            Ok(place) => {
                let (at, ours) = self.kept[place];
                if at.message_id != described.message_id {
                    Comparison::OtherMessage { read: at.message_id }
                } else if ours == theirs {
                    Comparison::Equal
                } else {
                    Comparison::Differs { ours, theirs }
                }
            }
            Err(place) if place == self.kept.len() && place > 0 => Comparison::NotRead,
            Err(_) => Comparison::TooOld,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn anchor(sequence: u64, id: u64) -> Anchor {
        Anchor {
            sequence: Sequence(sequence),
            message_id: MessageId(id),
        }
    }

    fn summary(of: u64) -> Summary {
        Summary {
            digest: Digest(u128::from(of)),
            cells: of,
        }
    }

    #[test]
    fn a_position_is_equal_different_replaced_too_old_or_not_read() {
        let mut digests = Digests::default();
        assert_eq!(digests.compare(anchor(1, 1), summary(1)), Comparison::TooOld);
        let kept = limits::KEPT_DIGESTS as u64;
        for sequence in 1..=kept + 1 {
            digests.note(anchor(sequence, sequence), summary(sequence));
        }
        assert_eq!(digests.compare(anchor(1, 1), summary(1)), Comparison::TooOld);
        assert_eq!(digests.compare(anchor(2, 2), summary(2)), Comparison::Equal);
        let differs = Comparison::Differs {
            ours: summary(2),
            theirs: summary(3),
        };
        assert_eq!(digests.compare(anchor(2, 2), summary(3)), differs);
        let other = Comparison::OtherMessage { read: MessageId(2) };
        assert_eq!(digests.compare(anchor(2, 9), summary(2)), other);
        let beyond = digests.compare(anchor(kept + 2, 0), summary(0));
        assert_eq!(beyond, Comparison::NotRead);
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_was_noted_last_at_each_sequence(
            steps in proptest::collection::vec((1u64..12, any::<u64>()), 1..60)
        ) {
            let mut digests = Digests::default();
            let mut log: Vec<u64> = Vec::new();
            for (back, id) in steps {
                log.truncate(log.len().saturating_sub(usize::from(back > 9) * back as usize));
                log.push(id);
                let at = anchor(log.len() as u64, id);
                digests.note(at, summary(id));
                prop_assert_eq!(digests.newest(), Some((at, summary(id))));
            }
            for (place, id) in log.iter().enumerate() {
                let compared = digests.compare(anchor(place as u64 + 1, *id), summary(*id));
                prop_assert_eq!(compared, Comparison::Equal);
            }
        }
    }
}
