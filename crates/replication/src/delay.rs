//! How long a message spends in each stage between a client's request in one region and the apply
//! in another (design.md section 11).
//!
//! The times at which a message passed each place travel with it ([`StageTimes`]), by the clock of
//! each place. They are converted to the receiver's clock and laid end to end, so that the stages
//! add up to the whole, whatever the clocks show.

use std::time::Duration;

use crate::header::StageTimes;
use crate::time::Wall;

/// A part of the way from the request to the apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// From the request until the origin's log stored it.
    Commit,
    /// From then until the sending gateway wrote it to the link.
    Queue,
    /// From then until the accepting gateway had it.
    Wire,
    /// From then until the receiver's log stored it.
    Append,
    /// From then until an agent applied it.
    Apply,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 5] = [Self::Commit, Self::Queue, Self::Wire, Self::Append, Self::Apply];

    /// The name of the stage in metrics, status and traces.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Queue => "queue",
            Self::Wire => "wire",
            Self::Append => "append",
            Self::Apply => "apply",
        }
    }

    /// The name of the span attribute with the duration of the stage, in milliseconds.
    #[must_use]
    pub const fn attribute(self) -> &'static str {
        match self {
            Self::Commit => "isthmus.stage.commit_ms",
            Self::Queue => "isthmus.stage.queue_ms",
            Self::Wire => "isthmus.stage.wire_ms",
            Self::Append => "isthmus.stage.append_ms",
            Self::Apply => "isthmus.stage.apply_ms",
        }
    }
}

/// How long a message took, from the request of its oldest change to its apply. For a range with
/// several messages of its origin's log it is the delay of the oldest one: no change of the range
/// took longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delay {
    stages: [Option<Duration>; Stage::ALL.len()],
    /// How far the wire stage, and so the whole, may be off, because the origin's clock is not
    /// known exactly. None if nothing is known about that clock; it is then taken to be the
    /// receiver's.
    pub uncertainty: Option<Duration>,
}

impl Delay {
    /// The delay of a range with these times, which the receiver's log stored at `stored` and which
    /// was applied at `applied`, both by that log's clock.
    #[must_use]
    pub fn of_range(times: &StageTimes, stored: Wall, applied: Wall) -> Self {
        let known = times.offset != 0 || times.uncertainty != 0;
        let there = |micros: u64| wall_of(micros).map(|wall| wall.less(times.offset));
        let passed = [
            there(times.requested),
            there(times.oldest_appended),
            there(times.sent),
            wall_of(times.received),
            Some(stored),
            Some(applied),
        ];
        Self {
            stages: laid_out(passed),
            uncertainty: known.then(|| Duration::from_micros(times.uncertainty)),
        }
    }

    /// The delay of a message of the own log, which was stored at `stored` and applied at
    /// `applied`. It has only the commit and apply stages.
    #[must_use]
    pub fn of_own(times: &StageTimes, stored: Wall, applied: Wall) -> Self {
        let passed = [
            wall_of(times.requested),
            Some(stored),
            None,
            None,
            None,
            Some(applied),
        ];
        Self {
            stages: laid_out(passed),
            uncertainty: Some(Duration::ZERO),
        }
    }

    /// A delay from reported stages.
    #[must_use]
    pub fn of_stages(
        stages: impl IntoIterator<Item = (Stage, Duration)>,
        uncertainty: Option<Duration>,
    ) -> Self {
        let mut this = Self {
            uncertainty,
            ..Self::default()
        };
        for (stage, took) in stages {
            this.stages[stage as usize] = Some(took);
        }
        this
    }

    /// The same delay, with `by` added to a known uncertainty: the clocks within a region may be
    /// off as well.
    #[must_use]
    pub fn less_certain(self, by: Duration) -> Self {
        Self {
            uncertainty: self.uncertainty.map(|known| known + by),
            ..self
        }
    }

    /// The stages that it went through, in order, with their durations.
    pub fn stages(&self) -> impl Iterator<Item = (Stage, Duration)> + '_ {
        let all = Stage::ALL.into_iter().zip(self.stages);
        all.filter_map(|(stage, took)| Some((stage, took?)))
    }

    /// The sum of its stages.
    #[must_use]
    pub fn total(&self) -> Duration {
        let all = self.stages().map(|(_, took)| took);
        all.fold(Duration::ZERO, Duration::saturating_add)
    }
}

fn wall_of(micros: u64) -> Option<Wall> {
    (micros != 0).then(|| Wall::from_micros(micros))
}

/// The stages between the places. If the time of a place is not known, the time until it is part of
/// the next stage. If the clocks show a place before the one that precedes it, both count as passed
/// at the same time.
fn laid_out(passed: [Option<Wall>; Stage::ALL.len() + 1]) -> [Option<Duration>; Stage::ALL.len()] {
    let mut at = passed[0];
    let mut stages = [None; Stage::ALL.len()];
    for (stage, next) in stages.iter_mut().zip(&passed[1..]) {
        let Some(next) = *next else { continue };
        if let Some(before) = at {
            *stage = Some(next.since(before));
        }
        at = at.max(Some(next));
    }
    stages
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micros(delay: &Delay) -> Vec<(&'static str, u128)> {
        let all = delay.stages();
        all.map(|(stage, took)| (stage.label(), took.as_micros()))
            .collect()
    }

    #[test]
    fn the_stages_of_a_range_are_by_the_receivers_clock() {
        let ahead = 500_000;
        let mut times = StageTimes {
            requested: 1_000_000 + ahead,
            published: 1_000_100 + ahead,
            oldest_appended: 1_002_000 + ahead,
            appended: 1_009_000 + ahead,
            read: 1_010_000 + ahead,
            sent: 1_012_000 + ahead,
            received: 1_052_000,
            offset: ahead as i64,
            uncertainty: 300,
        };
        let (stored, applied) = (Wall::from_micros(1_053_000), Wall::from_micros(1_053_500));
        let delay = Delay::of_range(&times, stored, applied);
        let all = [
            ("commit", 2_000),
            ("queue", 10_000),
            ("wire", 40_000),
            ("append", 1_000),
            ("apply", 500),
        ];
        assert_eq!(micros(&delay), all);
        assert_eq!(delay.total(), Duration::from_micros(53_500));
        assert_eq!(delay.uncertainty, Some(Duration::from_micros(300)));

        (times.requested, times.sent) = (0, 0);
        let delay = Delay::of_range(&times, stored, applied);
        let known = [("wire", 50_000), ("append", 1_000), ("apply", 500)];
        assert_eq!(micros(&delay), known);
    }

    #[test]
    fn an_own_message_is_committed_and_applied() {
        let times = StageTimes {
            requested: 1_000,
            ..StageTimes::default()
        };
        let delay = Delay::of_own(&times, Wall::from_micros(3_000), Wall::from_micros(3_400));
        assert_eq!(micros(&delay), [("commit", 2_000), ("apply", 400)]);
    }

    proptest! {
        #[test]
        fn the_stages_add_up_to_the_whole_whatever_the_clocks_say(
            times in prop::array::uniform4(1u64..10_000_000),
            offset in -5_000_000i64..5_000_000,
            stored in 1u64..10_000_000,
            applied in 1u64..10_000_000,
        ) {
            let [requested, oldest_appended, sent, received] = times;
            let here = |micros: u64| Wall::from_micros(micros).less(offset);
            let places = [
                here(oldest_appended),
                here(sent),
                Wall::from_micros(received),
                Wall::from_micros(stored),
                Wall::from_micros(applied),
            ];
            let last = places.into_iter().max().unwrap_or_default();
            let times = StageTimes { requested, oldest_appended, sent, received, offset, ..StageTimes::default() };
            let delay = Delay::of_range(&times, Wall::from_micros(stored), Wall::from_micros(applied));
            prop_assert_eq!(delay.total(), last.since(here(requested)));
        }

        #[test]
        fn times_from_outside_break_nothing(times in prop::array::uniform6(any::<u64>()), offset in any::<i64>()) {
            let [requested, oldest_appended, sent, received, uncertainty, stored] = times;
            let times = StageTimes { requested, oldest_appended, sent, received, offset, uncertainty, ..StageTimes::default() };
            let _ = Delay::of_range(&times, Wall::from_micros(stored), Wall::default()).total();
            let known = Delay::of_stages(Stage::ALL.map(|stage| (stage, Duration::from_micros(stored))), None);
            prop_assert_eq!(known.stages().count(), Stage::ALL.len());
        }
    }
}
