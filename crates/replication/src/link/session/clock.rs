//! The other end's clock, from pings: round trips, and the offset with its uncertainty.
//!
//! As in NTP: a ping leaves at t0 and its answer arrives at t3 by our clock; the other end received
//! it at t1 and answered at t2 by its own. The round trip is (t3 - t0) - (t2 - t1). The offset is
//! ((t1 - t0) + (t2 - t3)) / 2 and is wrong by at most half the round trip, however unequal the two
//! ways are. So the sample with the least round trip is the most reliable. Durations on our side
//! are monotonic; a step of our wall clock discards all earlier measurements.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::frame::{Ping, Pong};
use crate::limits;
use crate::time::{Now, Wall};

/// An estimate of the other end's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockEstimate {
    /// The other end's wall clock minus ours, in microseconds.
    pub offset_micros: i64,
    /// The offset is wrong by at most this.
    pub uncertainty: Duration,
    /// The least round trip of the last [`limits::CLOCK_SAMPLES`].
    pub round_trip: Duration,
    /// The newest round trip.
    pub newest_round_trip: Duration,
}

/// Clocks drift apart by less than one part in this many.
const DRIFT: u32 = 10_000;

impl ClockEstimate {
    /// Returns this estimate, or `older` after `age` if that is less uncertain: a session that
    /// began on a stalled path measures poorly. If the two contradict each other, a clock was set,
    /// and the newer one is returned.
    #[must_use]
    pub fn or_older(self, older: Self, age: Duration) -> Self {
        let older = older.aged(age);
        let apart = Duration::from_micros(self.offset_micros.abs_diff(older.offset_micros));
        if older.uncertainty >= self.uncertainty || apart > older.uncertainty + self.uncertainty {
            return self;
        }
        Self {
            offset_micros: older.offset_micros,
            uncertainty: older.uncertainty,
            ..self
        }
    }

    /// The estimate after `age`: less certain by the possible drift of the clocks.
    #[must_use]
    pub fn aged(self, age: Duration) -> Self {
        Self {
            uncertainty: self.uncertainty + age / DRIFT,
            ..self
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    offset_micros: i64,
    round_trip: Duration,
}

/// A wall clock that moves this much against the monotonic one has stepped.
const STEP: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
pub(super) struct PeerClock {
    numbered: u64,
    sent: VecDeque<(u64, Now)>,
    samples: VecDeque<Sample>,
    reference: Option<Now>,
}

impl PeerClock {
    /// The next ping.
    pub(super) fn ping(&mut self, now: Now) -> Ping {
        self.forget_before_a_step(now);
        self.numbered += 1;
        if self.sent.len() == limits::CLOCK_SAMPLES {
            self.sent.pop_front();
        }
        self.sent.push_back((self.numbered, now));
        Ping {
            number: self.numbered,
            sent: now.wall,
        }
    }

    /// Takes an answer; an answer to no ping under way is ignored.
    pub(super) fn handle_pong(&mut self, now: Now, pong: &Pong) {
        self.forget_before_a_step(now);
        let Some(at) = self.sent.iter().position(|(number, _)| *number == pong.number) else {
            return;
        };
        let (_, ping) = self.sent[at];
        self.sent.drain(..=at);
        let elapsed = now.mono.since(ping.mono);
        let there = pong.sent.since(pong.received);
        let arrival = ping.wall.after(elapsed);
        let twice = difference(pong.received, ping.wall).saturating_add(difference(pong.sent, arrival));
        if self.samples.len() == limits::CLOCK_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            offset_micros: twice / 2,
            round_trip: elapsed.saturating_sub(there),
        });
    }

    /// The estimate from the samples; none before the first answer.
    pub(super) fn estimate(&self) -> Option<ClockEstimate> {
        let newest = self.samples.back()?;
        let best = self.samples.iter().min_by_key(|sample| sample.round_trip)?;
        Some(ClockEstimate {
            offset_micros: best.offset_micros,
            uncertainty: best.round_trip / 2,
            round_trip: best.round_trip,
            newest_round_trip: newest.round_trip,
        })
    }

    fn forget_before_a_step(&mut self, now: Now) {
        let stepped = self.reference.is_some_and(|reference| {
            let expected = reference.wall.after(now.mono.since(reference.mono));
            difference(now.wall, expected).unsigned_abs() > STEP.as_micros() as u64
        });
        if stepped {
            self.sent.clear();
            self.samples.clear();
        }
        self.reference = Some(now);
    }
}

/// `a - b` in microseconds, saturating.
fn difference(a: Wall, b: Wall) -> i64 {
    i64::try_from(i128::from(a.micros()) - i128::from(b.micros())).unwrap_or(if a > b {
        i64::MAX
    } else {
        i64::MIN
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::Mono;

    fn at(micros: u64) -> Now {
        Now {
            mono: Mono::from_nanos(micros * 1000),
            wall: Wall::from_micros(1_000_000_000 + micros),
        }
    }

    fn shifted(now: Now, offset: i64) -> Wall {
        Wall::from_micros(now.wall.micros().saturating_add_signed(offset))
    }

    fn exchange(clock: &mut PeerClock, start: u64, there: u64, held: u64, back: u64, offset: i64) {
        let ping = clock.ping(at(start));
        let pong = Pong {
            number: ping.number,
            ping_sent: ping.sent,
            received: shifted(at(start + there), offset),
            sent: shifted(at(start + there + held), offset),
        };
        clock.handle_pong(at(start + there + held + back), &pong);
    }

    proptest! {
        #[test]
        fn the_offset_is_within_its_uncertainty_on_asymmetric_paths(
            ways in prop::collection::vec((0u64..500_000, 0u64..50_000, 0u64..500_000), 1..60),
            offset in -10_000_000i64..10_000_000,
        ) {
            let mut clock = PeerClock::default();
            for (at, (there, held, back)) in ways.iter().enumerate() {
                exchange(&mut clock, at as u64 * 2_000_000, *there, *held, *back, offset);
            }
            let estimate = clock.estimate().expect("a ping was answered");
            let wrong = Duration::from_micros((estimate.offset_micros - offset).unsigned_abs());
            prop_assert!(wrong <= estimate.uncertainty + Duration::from_micros(1), "{wrong:?} {estimate:?}");
            let last = ways.last().expect("at least one");
            prop_assert_eq!(estimate.newest_round_trip, Duration::from_micros(last.0 + last.2));
        }
    }

    #[test]
    fn a_step_of_the_own_clock_discards_what_was_measured() {
        let mut clock = PeerClock::default();
        exchange(&mut clock, 0, 40_000, 0, 40_000, 0);
        assert!(clock.estimate().is_some());
        let stepped = Now {
            mono: at(1_000_000).mono,
            wall: Wall::from_micros(9_000_000_000),
        };
        clock.ping(stepped);
        assert_eq!(clock.estimate(), None);
    }

    #[test]
    fn an_answer_to_no_ping_is_ignored() {
        let mut clock = PeerClock::default();
        let pong = Pong {
            number: 9,
            ping_sent: Wall::default(),
            received: Wall::default(),
            sent: Wall::from_micros(u64::MAX),
        };
        clock.handle_pong(at(0), &pong);
        assert_eq!(clock.estimate(), None);
    }

    #[test]
    fn a_less_uncertain_older_estimate_holds_unless_a_clock_was_set() {
        let of = |offset_micros, millis| ClockEstimate {
            offset_micros,
            uncertainty: Duration::from_millis(millis),
            round_trip: Duration::from_millis(2 * millis),
            newest_round_trip: Duration::from_millis(2 * millis),
        };
        let (good, stalled) = (of(1_000, 10), of(900_000, 1_500));
        let kept = stalled.or_older(good, Duration::from_secs(10));
        assert_eq!(
            (kept.offset_micros, kept.uncertainty),
            (1_000, Duration::from_millis(11))
        );
        assert_eq!(kept.round_trip, stalled.round_trip);
        assert_eq!(good.or_older(stalled, Duration::from_secs(1)), good);
        let stepped = of(5_000_000, 20);
        assert_eq!(stepped.or_older(good, Duration::from_secs(1)), stepped);
        assert_eq!(
            stalled.or_older(good, Duration::from_secs(30_000)),
            stalled,
            "it has drifted"
        );
    }
}
