//! The stamps of records that were given back: the only stamps in a log that can be older than the
//! admission floor at their position.

use std::collections::VecDeque;

use crate::coordinates::Sequence;
use crate::hlc::Hlc;

/// The number of records that are kept.
const KEPT: usize = 64;

/// The last restored records, oldest first, each with its lowest stamp.
#[derive(Debug, Default)]
pub(super) struct RestoredStamps {
    records: VecDeque<(Sequence, Hlc)>,
    /// Records at or below this sequence were read by an earlier run and are not known.
    unknown_through: Sequence,
}

impl RestoredStamps {
    /// A log whose restored records through `sequence` are not known.
    pub(super) fn unknown_through(sequence: Sequence) -> Self {
        Self {
            records: VecDeque::new(),
            unknown_through: sequence,
        }
    }

    /// The log is read again from `sequence`, so that every later record becomes known.
    pub(super) fn read_again_from(&mut self, sequence: Sequence) {
        self.unknown_through = self.unknown_through.min(sequence);
    }

    /// Adds the record at `sequence`. Beyond [`KEPT`] records, the two oldest become one.
    pub(super) fn add(&mut self, sequence: Sequence, lowest: Hlc) {
        self.records.retain(|(kept, _)| *kept < sequence);
        if self.records.len() == KEPT
            && let Some((_, oldest)) = self.records.pop_front()
            && let Some((_, lowest)) = self.records.front_mut()
        {
            *lowest = oldest.min(*lowest);
        }
        self.records.push_back((sequence, lowest));
    }

    /// The stamp at or below which nothing can have been lost after `fork`, given the admission
    /// floor there.
    pub(super) fn floor_after(&self, fork: Sequence, admission_floor: Hlc) -> Hlc {
        if fork < self.unknown_through {
            return Hlc::ZERO;
        }
        let after = self.records.iter().filter(|(sequence, _)| *sequence > fork);
        after.fold(admission_floor, |floor, (_, lowest)| floor.min(lowest.before()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_after_the_fork_lower_the_floor() {
        let mut restored = RestoredStamps::default();
        let floor = Hlc::from_bits(1 << 40);
        restored.add(Sequence(5), Hlc::from_bits(100));
        let last = 10 + KEPT as u64 - 1;
        for sequence in 10..=last {
            restored.add(Sequence(sequence), Hlc::from_bits(1000 + sequence));
        }
        let after = |fork| restored.floor_after(Sequence(fork), floor);
        assert_eq!(after(last), floor);
        assert_eq!(after(last - 1), Hlc::from_bits(1000 + last).before());
        // The record at 5 was merged into the one at 10, the oldest that is kept.
        assert_eq!(after(9), Hlc::from_bits(100).before());
        assert_eq!(after(10), Hlc::from_bits(1011).before());
    }

    #[test]
    fn what_an_earlier_run_read_may_have_had_any_stamp() {
        let mut restored = RestoredStamps::unknown_through(Sequence(9));
        let floor = Hlc::from_bits(1000);
        assert_eq!(restored.floor_after(Sequence(8), floor), Hlc::ZERO);
        assert_eq!(restored.floor_after(Sequence(9), floor), floor);
        restored.read_again_from(Sequence(4));
        assert_eq!(restored.floor_after(Sequence(8), floor), floor);
        assert_eq!(restored.floor_after(Sequence(3), floor), Hlc::ZERO);
    }

    #[test]
    fn a_record_that_is_read_again_is_kept_once() {
        let mut restored = RestoredStamps::default();
        restored.add(Sequence(5), Hlc::from_bits(10));
        restored.add(Sequence(9), Hlc::from_bits(20));
        restored.add(Sequence(5), Hlc::from_bits(30));
        let floor = Hlc::from_bits(1000);
        assert_eq!(
            restored.floor_after(Sequence(0), floor),
            Hlc::from_bits(30).before()
        );
        assert_eq!(restored.floor_after(Sequence(5), floor), floor);
    }
}
