//! Credit: how many bytes of ranges may be under way on a lane (design.md section 8).
//!
//! The receiver grants a window; a range counts from when it is sent until the receiver's cursor is at or past its end. One range that
//! is larger than the whole window travels alone, or it never would. The receiver frees a range when it is read back,
//! which is before the sender hears of it, so that what the sender counts is never less than what the receiver holds.

use std::collections::VecDeque;

use crate::coordinates::{Anchor, Sequence};

/// The sender's account of one lane.
#[derive(Debug, Clone, Default)]
pub struct Credit {
    window: u64,
    used: u64,
    sent: VecDeque<(Anchor, u64)>,
}

impl Credit {
    /// Nothing under way, `window` bytes granted.
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
        fits(self.window, self.used, cost)
    }

    /// A range through `through` was sent. Ranges are sent in order.
    pub fn spend(&mut self, through: Anchor, cost: u64) {
        debug_assert!(self.allows(cost), "a range was sent without credit");
        self.used += cost;
        self.sent.push_back((through, cost));
    }

    /// The receiver's cursor is at `cursor`; the end of the last range that it covers.
    pub fn release(&mut self, cursor: Sequence) -> Option<Anchor> {
        let mut covered = None;
        while let Some((through, cost)) = self.sent.pop_front_if(|(through, _)| through.sequence <= cursor) {
            self.used -= cost;
            covered = Some(through);
        }
        covered
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

/// The rule, the same at both ends: within the window, or alone; nothing when the window is closed.
#[must_use]
pub fn fits(window: u64, used: u64, cost: u64) -> bool {
    window > 0 && (used == 0 || used.saturating_add(cost) <= window)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_range_larger_than_the_window_travels_alone_and_none_through_a_closed_one() {
        let end = |sequence| Anchor {
            sequence: Sequence(sequence),
            ..Anchor::default()
        };
        let mut credit = Credit::new(10);
        assert!(credit.allows(100));
        credit.spend(end(1), 100);
        assert!(!credit.allows(1));
        assert_eq!(credit.release(Sequence(1)), Some(end(1)));
        credit.grant(0);
        assert!(!credit.allows(1));
    }

    proptest! {
        #[test]
        fn what_is_under_way_never_exceeds_the_window_or_one_range(
            window in 1u32..1000, steps in prop::collection::vec((0u64..400, any::<bool>()), 0..200)
        ) {
            let mut credit = Credit::new(window);
            let (mut next, mut acked) = (0, 0);
            for (cost, release) in steps {
                if release && acked < next {
                    acked += 1;
                    credit.release(Sequence(acked));
                } else if credit.allows(cost) {
                    next += 1;
                    credit.spend(Anchor { sequence: Sequence(next), ..Anchor::default() }, cost);
                }
                prop_assert!(credit.used() <= u64::from(window) || credit.under_way() == 1);
                prop_assert_eq!(credit.under_way() as u64, next - acked);
                prop_assert!(!credit.is_idle() || credit.used() == 0);
            }
        }
    }
}
