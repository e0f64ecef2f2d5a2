//! The lag that the receiver sees (design.md section 11): the age of the newest proof that nothing
//! is missing.

use std::time::Duration;

use crate::delay::Delay;
use crate::limits;
use crate::link::session::ClockEstimate;
use crate::time::Wall;

/// How current another region's changes are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The newest mark or message is at most three mark intervals old.
    Live,
    /// It is older, and work is known to wait or to be held, or the link is down.
    Stalled,
    /// It is older or there is none, and the reason is not known.
    Unknown,
}

impl Freshness {
    /// All values.
    pub const ALL: [Self; 3] = [Self::Live, Self::Stalled, Self::Unknown];

    /// The freshness for a proof's age. `impeded` means that work is known to wait or to be held,
    /// or that the link is down.
    #[must_use]
    pub fn of(proof_age: Option<Duration>, impeded: bool) -> Self {
        match proof_age {
            Some(age) if age <= 3 * limits::MARK_INTERVAL => Self::Live,
            _ if impeded => Self::Stalled,
            _ => Self::Unknown,
        }
    }

    /// A label for metrics and status.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stalled => "stalled",
            Self::Unknown => "unknown",
        }
    }
}

/// The receiver's view of one origin's lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverLag {
    /// The delay of the newest applied record whose delay is known.
    pub delay: Option<Delay>,
    /// Now minus the time when the origin appended the newest applied record.
    pub proof_age: Option<Duration>,
    /// The greatest error of the age; none while the origin's clock is not known and taken to be
    /// equal to this one.
    pub uncertainty: Option<Duration>,
    /// The freshness for the proof's age.
    pub freshness: Freshness,
}

/// The newest record of one origin that was applied here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Proof {
    appended: Option<Wall>,
    delay: Option<Delay>,
}

impl Proof {
    /// A record that the origin appended at `appended`, by its own clock, was applied here, with
    /// `delay` if that is known. A record that is not newer changes nothing.
    pub fn note(&mut self, appended: Wall, delay: Option<Delay>) {
        if self.appended.is_none_or(|newest| appended > newest) {
            self.appended = Some(appended);
            self.delay = delay.or(self.delay);
        }
    }

    /// The view at `now`. `origin_clock` is the origin's clock as seen from here. `impeded` means
    /// that work is known to wait or to be held, or that the link is down.
    #[must_use]
    pub fn lag(&self, now: Wall, origin_clock: Option<ClockEstimate>, impeded: bool) -> ReceiverLag {
        let offset = origin_clock.map_or(0, |clock| clock.offset_micros);
        let here = |there: Wall| there.less(offset);
        let proof_age = self.appended.map(|appended| now.since(here(appended)));
        ReceiverLag {
            delay: self.delay,
            proof_age,
            uncertainty: origin_clock.map(|clock| clock.uncertainty),
            freshness: Freshness::of(proof_age, impeded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delay::Stage;

    const OFFSET: ClockEstimate = ClockEstimate {
        offset_micros: 500_000,
        uncertainty: Duration::from_millis(20),
        round_trip: Duration::from_millis(40),
        newest_round_trip: Duration::from_millis(40),
    };

    fn took(millis: u64) -> Option<Delay> {
        let wire = (Stage::Wire, Duration::from_millis(millis));
        Some(Delay::of_stages([wire], None))
    }

    #[test]
    fn the_origins_clock_is_taken_out_of_the_age() {
        let mut proof = Proof::default();
        proof.note(Wall::from_millis(10_500), took(40));
        let lag = proof.lag(Wall::from_millis(11_000), Some(OFFSET), false);
        assert_eq!(lag.delay, took(40));
        assert_eq!(lag.proof_age, Some(Duration::from_secs(1)));
        assert_eq!(lag.uncertainty, Some(Duration::from_millis(20)));
        assert_eq!(lag.freshness, Freshness::Live);
    }

    #[test]
    fn a_proof_older_than_three_marks_is_never_live() {
        let mut proof = Proof::default();
        assert_eq!(
            proof.lag(Wall::from_millis(1), None, false).freshness,
            Freshness::Unknown
        );
        proof.note(Wall::from_millis(10_000), None);
        let at = |millis, impeded| proof.lag(Wall::from_millis(millis), None, impeded).freshness;
        assert_eq!(at(13_000, true), Freshness::Live);
        assert_eq!(at(13_001, true), Freshness::Stalled);
        assert_eq!(at(13_001, false), Freshness::Unknown);
    }

    #[test]
    fn an_older_record_is_no_newer_proof() {
        let mut proof = Proof::default();
        proof.note(Wall::from_millis(10_000), took(40));
        proof.note(Wall::from_millis(9_000), took(3_000));
        proof.note(Wall::from_millis(10_200), None);
        let lag = proof.lag(Wall::from_millis(12_000), None, false);
        assert_eq!(lag.proof_age, Some(Duration::from_millis(1_800)));
        assert_eq!(lag.delay, took(40));
    }
}
