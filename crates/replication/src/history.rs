//! The earlier fold states that a reader keeps, to find where a new life forks (design.md section
//! 5, "Lives").
//!
//! A log that lost its tail assigns the same sequences again. The fork is the newest kept position
//! whose message is still in the log: the lost tail began there, as far as this reader can know.
//! The fold continues from its state there; what was applied above it stays applied.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::coordinates::{Anchor, Sequence};
use crate::fold::{Fold, InvalidState, LogName};
use crate::limits;

/// A fold's state at one position, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The position.
    pub at: Anchor,
    /// [`Fold::encode`] at that position.
    pub state: Bytes,
}

impl Kept {
    /// The state of `fold`.
    #[must_use]
    pub fn of(fold: &Fold) -> Self {
        Self {
            at: fold.at(),
            state: fold.encode(),
        }
    }

    /// The fold with this state.
    ///
    /// # Errors
    /// [`InvalidState`] if the bytes came from outside and are not a fold state.
    pub fn fold(&self, log: LogName) -> Result<Fold, InvalidState> {
        Fold::decode(log, &self.state)
    }
}

/// The last [`limits::KEPT_MARKS`] fold states that were kept, in sequence order.
#[derive(Debug, Clone, Default)]
pub struct History {
    kept: VecDeque<Kept>,
}

impl History {
    /// Keeps the state of `fold`, which is at a mark, a barrier, a life or a position to start
    /// from. Everything kept at or above that position is dropped: the log was rewound.
    pub fn note(&mut self, fold: &Fold) {
        self.keep(Kept::of(fold));
    }

    /// Keeps an encoded state. Everything kept at or above its position is dropped.
    pub fn keep(&mut self, kept: Kept) {
        self.rewind(kept.at.sequence.previous());
        if self.kept.len() == limits::KEPT_MARKS {
            self.kept.pop_front();
        }
        self.kept.push_back(kept);
    }

    /// Forgets everything above `through`: it is of an ended life.
    pub fn rewind(&mut self, through: Sequence) {
        while self.kept.back().is_some_and(|kept| kept.at.sequence > through) {
            self.kept.pop_back();
        }
    }

    /// The kept positions, newest first, to look up in the log for [`History::newest_matching`].
    pub fn anchors(&self) -> impl Iterator<Item = Anchor> {
        self.kept.iter().rev().map(|kept| kept.at)
    }

    /// The newest state at or below `sequence`.
    #[must_use]
    pub fn at_most(&self, sequence: Sequence) -> Option<&Kept> {
        self.kept.iter().rev().find(|kept| kept.at.sequence <= sequence)
    }

    /// The fork: the newest state whose message is among those `found` in the log. None if no such
    /// state is kept.
    #[must_use]
    pub fn newest_matching(&self, found: &[Anchor]) -> Option<&Kept> {
        self.kept.iter().rev().find(|kept| found.contains(&kept.at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::coordinates::MessageId;

    fn kept(sequence: u64, id: u64) -> Kept {
        Kept {
            at: Anchor {
                sequence: Sequence(sequence),
                message_id: MessageId(id),
            },
            state: Bytes::new(),
        }
    }

    #[test]
    fn the_oldest_goes_when_the_history_is_full() {
        let mut history = History::default();
        let newest = limits::KEPT_MARKS as u64 + 1;
        for sequence in 1..=newest {
            history.keep(kept(sequence, sequence));
        }
        assert_eq!(history.at_most(Sequence(1)), None);
        assert_eq!(history.at_most(Sequence(2)), Some(&kept(2, 2)));
        assert_eq!(history.at_most(Sequence(newest + 7)), Some(&kept(newest, newest)));
    }

    proptest! {
        #[test]
        fn the_fork_is_the_newest_position_that_both_logs_share(
            ours in proptest::collection::vec(any::<u64>(), 1..40),
            shared in any::<prop::sample::Index>(),
            theirs in proptest::collection::vec(any::<u64>(), 0..40),
            every in 1u64..5,
        ) {
            let mut history = History::default();
            for (place, id) in ours.iter().enumerate() {
                let sequence = place as u64 + 1;
                if sequence.is_multiple_of(every) {
                    history.keep(kept(sequence, *id));
                }
            }
            let log: Vec<u64> = ours[..shared.index(ours.len())].iter().chain(&theirs).copied().collect();
            let found: Vec<Anchor> = history.anchors().filter_map(|at| {
                let id = log.get(at.sequence.0 as usize - 1)?;
                Some(Anchor { message_id: MessageId(*id), ..at })
            }).collect();
            let expected = (1..=ours.len().min(log.len()))
                .rev()
                .find(|n| (*n as u64).is_multiple_of(every) && ours[n - 1] == log[n - 1]);
            let fork = history.newest_matching(&found).map(|kept| kept.at.sequence.0 as usize);
            prop_assert_eq!(fork, expected);
            if let Some(fork) = fork {
                history.rewind(Sequence(fork as u64));
                prop_assert_eq!(history.anchors().next().map(|at| at.sequence.0 as usize), Some(fork));
            }
        }
    }
}
