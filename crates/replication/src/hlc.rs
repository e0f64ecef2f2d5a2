//! Hybrid logical clock: 48 bits of wall milliseconds, 16 bits of counter (design.md section 4).
//!
//! A stamp is greater than every stamp that its clock has given or observed, and at least the wall
//! time, so it follows causality and stays close to real time. When the counter overflows within a
//! millisecond, it carries into the milliseconds. When the wall clock steps back, the counter
//! continues from the last stamp.

use std::fmt;
use std::time::Duration;

use crate::time::Wall;

/// One stamp. Ordered by milliseconds, then counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc(u64);

impl Hlc {
    /// The least stamp: nothing was stamped.
    pub const ZERO: Self = Self(0);

    /// A stamp from its 64 bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The least stamp of a wall time.
    #[must_use]
    pub const fn at(wall: Wall) -> Self {
        Self(wall.millis() << 16)
    }

    /// The 64 bits: milliseconds in the upper 48, the counter in the lower 16.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Wall milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 >> 16
    }

    /// The counter within the millisecond.
    #[must_use]
    pub const fn counter(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// The greatest stamp below this one; at least [`Hlc::ZERO`].
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The stamp `duration` (whole milliseconds) earlier, with the same counter; at least
    /// [`Hlc::ZERO`].
    #[must_use]
    pub fn back(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        match self.millis().checked_sub(millis) {
            Some(left) => Self(left << 16 | u64::from(self.counter())),
            None => Self::ZERO,
        }
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.millis(), self.counter())
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Gives stamps that exceed everything given or observed before.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    last: Hlc,
}

impl Clock {
    /// The next stamp at wall time `wall`.
    pub fn stamp(&mut self, wall: Wall) -> Hlc {
        self.last = Hlc::at(wall).max(Hlc(self.last.0.saturating_add(1)));
        self.last
    }

    /// Records a stamp that was read, so that later stamps exceed it.
    pub fn observe(&mut self, stamp: Hlc) {
        self.last = self.last.max(stamp);
    }

    /// The greatest stamp given or observed.
    #[must_use]
    pub fn last(&self) -> Hlc {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Stamp(u64),
        Observe(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let wall = 0u64..1 << 44;
        proptest::collection::vec(
            prop_oneof![
                wall.clone().prop_map(Step::Stamp),
                wall.prop_map(|ms| Step::Observe(ms << 16 | 0xfffe))
            ],
            1..200,
        )
    }

    proptest! {
        #[test]
        fn stamps_exceed_all_before_them_and_the_wall_time(steps in steps()) {
            let mut clock = Clock::default();
            let mut greatest = Hlc::ZERO;
            for step in steps {
                match step {
                    Step::Stamp(millis) => {
                        let stamp = clock.stamp(Wall::from_millis(millis));
                        prop_assert!(stamp > greatest);
                        prop_assert!(stamp.millis() >= millis);
                        greatest = stamp;
                    }
                    Step::Observe(bits) => {
                        clock.observe(Hlc::from_bits(bits));
                        greatest = greatest.max(Hlc::from_bits(bits));
                    }
                }
            }
        }
    }

    #[test]
    fn a_counter_that_overflows_carries_into_the_milliseconds() {
        let mut clock = Clock::default();
        clock.observe(Hlc::from_bits(7 << 16 | 0xffff));
        let stamp = clock.stamp(Wall::from_millis(7));
        assert_eq!((stamp.millis(), stamp.counter()), (8, 0));
    }

    #[test]
    fn a_wall_clock_that_steps_back_does_not_move_stamps_back() {
        let mut clock = Clock::default();
        let before = clock.stamp(Wall::from_millis(7_200_000));
        assert!(clock.stamp(Wall::from_millis(3_600_000)) > before);
    }
}
