//! Credit: how many bytes of ranges may be under way on a lane (design.md section 8).
//!
//! The receiver grants a window. A range counts from when it is sent until the receiver's cursor is
//! at or past its end. A range that is larger than the whole window travels alone, because it could
//! never be sent otherwise. The receiver frees a range when it is read back, which is before the
//! sender learns of it, so the sender never counts less than the receiver holds. For the same
//! reason, a lane that its sender starts again keeps its account; only the receiver's Reset opens a
//! new one.
//!
//! Within the window the sender keeps its own limit (`Pace`), so that ranges do not queue for long
//! on the way.

use std::collections::VecDeque;
use std::time::Duration;

use crate::coordinates::Position;
use crate::header::Lineage;
use crate::time::Mono;

mod pace;

use pace::Pace;

/// The sender's account of one lane.
#[derive(Debug, Clone, Default)]
pub struct Credit {
    window: u64,
    used: u64,
    sent: VecDeque<(Position, u64, Mono)>,
    pace: Pace,
}

impl Credit {
    /// An account with `window` bytes granted and nothing under way.
    #[must_use]
    pub fn new(window: u32) -> Self {
        Self {
            window: u64::from(window),
            ..Self::default()
        }
    }

    /// The receiver grants another window.
    pub fn grant(&mut self, window: u32) {
        self.window = u64::from(window);
    }

    /// Whether a range of `cost` bytes may be sent.
    #[must_use]
    pub fn allows(&self, cost: u64) -> bool {
        fits(self.window.min(self.pace.limit()), self.used, cost)
    }

    /// False if the path is known to be too slow for `bytes` every `within`.
    #[must_use]
    pub fn carries(&self, now: Mono, bytes: u64, within: Duration) -> bool {
        self.pace.carries(now, bytes, within)
    }

    /// A range through `end` was sent at `now`. Ranges are sent in order, and so are their lives.
    pub fn spend(&mut self, now: Mono, end: Position, cost: u64) {
        debug_assert!(self.allows(cost), "a range was sent without credit");
        self.used += cost;
        self.sent.push_back((end, cost, now));
    }

    /// The receiver's cursor is at `cursor`: ranges of the log of `lineage` that it covers no
    /// longer count.
    pub fn release(&mut self, now: Mono, lineage: &Lineage, cursor: Position) {
        while let Some((_, cost, sent)) = self.sent.pop_front_if(|(end, ..)| lineage.covers(cursor, *end)) {
            self.pace.arrived(now, sent, cost, self.used);
            self.used -= cost;
        }
    }

    /// Bytes under way.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Bytes granted.
    #[must_use]
    pub fn window(&self) -> u64 {
        self.window
    }

    /// Ranges under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.sent.len()
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sent.is_empty()
    }
}

/// The rule at both ends: a range fits within the window, or alone; nothing fits while the window
/// is closed.
#[must_use]
pub fn fits(window: u64, used: u64, cost: u64) -> bool {
    window > 0 && (used == 0 || used.saturating_add(cost) <= window)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::coordinates::{Life, Sequence};
    use crate::header::LifeLink;

    fn end(life: u64, sequence: u64) -> Position {
        Position {
            life: Life {
                number: life,
                nonce: 0,
            },
            sequence: Sequence(sequence),
        }
    }

    /// Two lives; the second one began after `fork`.
    fn lives(fork: u64) -> Lineage {
        let mut lineage = Lineage::default();
        for (number, fork) in [(1, 0), (2, fork)] {
            assert!(lineage.begin(LifeLink {
                life: end(number, 0).life,
                parent: lineage.current(),
                fork: Sequence(fork),
            }));
        }
        lineage
    }

    #[test]
    fn an_oversized_range_travels_alone_but_not_in_a_closed_window() {
        let mut credit = Credit::new(10);
        assert!(credit.allows(100));
        credit.spend(Mono::default(), end(1, 1), 100);
        assert!(!credit.allows(1));
        credit.release(Mono::default(), &lives(90), end(1, 1));
        credit.grant(0);
        assert!(!credit.allows(1));
    }

    #[test]
    fn ranges_of_a_new_life_count_until_the_cursor_passes_them() {
        let mut credit = Credit::new(10);
        credit.spend(Mono::default(), end(1, 98), 4);
        credit.spend(Mono::default(), end(2, 95), 4);
        credit.release(Mono::default(), &lives(90), end(1, 97));
        credit.release(Mono::default(), &lives(90), end(1, 98));
        assert_eq!(credit.used(), 4);
        credit.release(Mono::default(), &lives(90), end(2, 95));
        assert!(credit.is_idle());
    }

    #[test]
    fn a_cursor_of_the_life_before_covers_what_both_lives_share() {
        let mut credit = Credit::new(10);
        credit.spend(Mono::default(), end(2, 95), 4);
        credit.release(Mono::default(), &lives(95), end(1, 94));
        assert_eq!(credit.used(), 4);
        credit.release(Mono::default(), &lives(95), end(1, 98));
        assert!(credit.is_idle());
    }

    #[test]
    fn ranges_of_a_life_before_the_cursors_no_longer_use_credit() {
        let mut credit = Credit::new(10);
        credit.spend(Mono::default(), end(1, 98), 4);
        credit.release(Mono::default(), &lives(90), end(2, 91));
        assert!(credit.is_idle());
    }

    proptest! {
        #[test]
        fn what_is_under_way_never_exceeds_the_window_or_one_range(
            window in 1u32..1000, steps in prop::collection::vec((1u64..400, any::<bool>()), 0..200)
        ) {
            let mut credit = Credit::new(window);
            let (mut next, mut acked) = (0, 0);
            for (cost, release) in steps {
                if release && acked < next {
                    acked += 1;
                    credit.release(Mono::default(), &lives(0), end(1, acked));
                } else if credit.allows(cost) {
                    next += 1;
                    credit.spend(Mono::default(), end(1, next), cost);
                }
                prop_assert!(credit.used() <= u64::from(window) || credit.under_way() == 1);
                prop_assert_eq!(credit.under_way() as u64, next - acked);
                prop_assert!(!credit.is_idle() || credit.used() == 0);
            }
        }
    }
}
