//! Stamps that are ahead of this region's clock.

use std::time::Duration;

use crate::hlc::Hlc;
use crate::limits;
use crate::link::lane::Hold;
use crate::time::{Mono, Now};

/// Waits until this region's clock reaches the stamps of the held ranges.
///
/// Invariant: `check_at` is set exactly while a held range was found ahead. The lane is held only
/// for a range that is ahead by more than `max_offset`.
#[derive(Debug)]
pub(super) struct ClockWait {
    max_offset: Duration,
    is_held: bool,
    check_at: Option<Mono>,
}

impl ClockWait {
    pub(super) fn new(max_offset: Duration) -> Self {
        Self {
            max_offset,
            is_held: false,
            check_at: None,
        }
    }

    /// `stamp` is the first stamp that is ahead of `now.wall`.
    pub(super) fn check(&mut self, now: Now, stamp: Option<Hlc>) {
        let by = |stamp: Hlc| Duration::from_millis(stamp.millis().saturating_sub(now.wall.millis()));
        let ahead = stamp.map(by);
        self.is_held = ahead.is_some_and(|ahead| ahead > self.max_offset);
        self.check_at = ahead.map(|ahead| now.mono.after(ahead.min(limits::CLOCK_RECHECK)));
    }

    /// No range is held.
    pub(super) fn clear(&mut self) {
        (self.is_held, self.check_at) = (false, None);
    }

    pub(super) fn hold(&self) -> Option<Hold> {
        self.is_held.then_some(Hold::Clock)
    }

    /// When to check the stamps again.
    pub(super) fn check_at(&self) -> Option<Mono> {
        self.check_at
    }
}
