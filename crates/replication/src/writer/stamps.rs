//! The stamps of the messages that a writer forms.

use crate::fold::{Accepted, Fold, Verdict};
use crate::header::ClockLimits;
use crate::hlc::{Clock, Hlc};
use crate::planted::{self, Planted};
use crate::time::Wall;

/// The writer's clock.
///
/// Invariants: a stamp exceeds every stamp issued before, and every one that the fold has accepted.
/// After a stamp was void because it was ahead, no write gets a stamp until nothing is in flight;
/// then the clock goes back to the greatest binding stamp.
#[derive(Debug)]
pub(super) struct Stamps {
    clock: Clock,
    limits: ClockLimits,
    /// The greatest stamp that counts or may count.
    binding: Hlc,
    is_ahead: bool,
}

impl Stamps {
    /// Every stamp exceeds those that `fold` has accepted.
    pub(super) fn new(fold: &Fold) -> Self {
        let mut stamps = Self {
            clock: Clock::default(),
            limits: limits(fold),
            binding: Hlc::ZERO,
            is_ahead: false,
        };
        stamps.observe_all(fold);
        stamps
    }

    /// Every stamp exceeds those that `fold` has accepted.
    pub(super) fn observe_all(&mut self, fold: &Fold) {
        self.limits = limits(fold);
        self.observe_stamp(fold.highest_stamp());
        for (_, origin) in fold.origins() {
            self.observe_stamp(origin.highest_stamp);
        }
    }

    /// The next stamp.
    pub(super) fn stamp(&mut self, wall: Wall) -> Hlc {
        self.clock.stamp(wall)
    }

    /// A message was read; `fold` is at it.
    pub(super) fn observe(&mut self, fold: &Fold, verdict: &Verdict) {
        self.observe_stamp(fold.highest_stamp());
        match verdict {
            Verdict::Accepted(Accepted::Range { origin, .. }) => {
                self.observe_stamp(fold.origin(origin).map_or(Hlc::ZERO, |held| held.highest_stamp));
            }
            Verdict::Accepted(Accepted::Membership { .. }) => self.limits = limits(fold),
            _ => {}
        }
    }

    fn observe_stamp(&mut self, stamp: Hlc) {
        if planted::is(Planted::StampsIgnoreApplied) {
            return;
        }
        self.bind(stamp);
        self.clock.observe(stamp);
    }

    /// The clock never goes back below `stamp`.
    pub(super) fn bind(&mut self, stamp: Hlc) {
        self.binding = self.binding.max(stamp);
    }

    /// A stamp was void because it was ahead.
    pub(super) fn handle_ahead(&mut self) {
        self.is_ahead = true;
    }

    /// Nothing is in flight: a clock that ran ahead goes back.
    pub(super) fn handle_no_flights(&mut self) {
        if std::mem::take(&mut self.is_ahead) {
            self.clock = Clock::default();
            self.clock.observe(self.binding);
        }
    }

    pub(super) fn is_ahead(&self) -> bool {
        self.is_ahead
    }

    /// Whether the next stamp would be so far above `lowest` that the fold might void the message
    /// stamped with `lowest`.
    pub(super) fn would_spread(&self, wall: Wall, lowest: Hlc) -> bool {
        let next = self.clock.last().max(Hlc::at(wall));
        next.back(self.limits.max_behind / 2) >= lowest
    }
}

fn limits(fold: &Fold) -> ClockLimits {
    fold.membership().map_or_else(Default::default, |held| held.clock)
}
