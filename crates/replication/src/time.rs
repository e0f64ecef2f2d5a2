//! Time as a value. The shells read clocks; the core receives [`Now`].

use std::fmt;
use std::time::Duration;

/// Monotonic time since an arbitrary origin of the process, in nanoseconds. Never compared across
/// processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono(u64);

impl Mono {
    /// The instant `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// This instant plus `duration`, saturating.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Wall time of some clock, in microseconds since the Unix epoch. May step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Wall(u64);

impl Wall {
    /// This time by a clock that is `offset` microseconds behind, saturating.
    #[must_use]
    pub fn less(self, offset: i64) -> Self {
        let moved = i128::from(self.micros()) - i128::from(offset);
        Self::from_micros(u64::try_from(moved.max(0)).unwrap_or(u64::MAX))
    }

    /// The time `micros` microseconds after the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The time `millis` milliseconds after the Unix epoch, saturating at the last whole
    /// millisecond, so that the value stays the same when it is written as milliseconds and read
    /// back.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        const LAST: u64 = u64::MAX / 1000;
        let millis = if millis < LAST { millis } else { LAST };
        Self(millis * 1000)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 / 1000
    }

    /// This time plus `duration`, saturating.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)),
        )
    }

    /// This time minus `duration`, saturating.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(micros))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us", self.0)
    }
}

/// The two clocks of a process, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// For deadlines and durations.
    pub mono: Mono,
    /// For stamps and for display.
    pub wall: Wall,
}

/// The time of a log as its reader knows it: when the log stored the newest message that was read,
/// and the monotonic time since then (design.md section 4). It uses no process's wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogTime(Option<(Wall, Mono)>);

impl LogTime {
    /// Records a message that the log stored at `stored`, by the log's clock, and that was read at
    /// `read`.
    pub fn note(&mut self, stored: Wall, read: Mono) {
        self.0 = Some((stored, read));
    }

    /// When the log stored the newest message that was read; none before the first.
    #[must_use]
    pub fn newest(&self) -> Option<Wall> {
        self.0.map(|(stored, _)| stored)
    }

    /// The time by which a reader decides what has expired: the process's own while it is within
    /// `max_offset` of the log's, otherwise the log's. `servers` is the time of the log's servers,
    /// for a log that takes no appends; none if unknown. Without any time of the log, it is the
    /// process's own.
    #[must_use]
    pub fn to_read_by(&self, now: Now, servers: Option<Wall>, max_offset: Duration) -> Wall {
        let read = self.0.map(|(stored, read)| stored.after(now.mono.since(read)));
        let Some(log) = read.max(servers) else {
            return now.wall;
        };
        let off = now.wall.since(log).max(log.since(now.wall));
        if off <= max_offset { now.wall } else { log }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_far_from_the_logs_shows_nothing_as_ended() {
        let max_offset = Duration::from_secs(2);
        let now = |mono: u64, wall: u64| Now {
            mono: Mono::default().after(Duration::from_secs(mono)),
            wall: Wall::from_millis(wall * 1000),
        };
        let mut time = LogTime::default();
        assert_eq!(
            time.to_read_by(now(5, 9_000), None, max_offset),
            now(5, 9_000).wall
        );
        time.note(Wall::from_millis(1_000_000), now(10, 0).mono);
        for (mono, wall, expected) in [
            (10, 1_001, 1_001),
            (10, 1_002, 1_002),
            (10, 1_003, 1_000),
            (10, 998, 998),
            (10, 997, 1_000),
            (70, 1_061, 1_061),
            (70, 4_661, 1_060),
        ] {
            let shown = time.to_read_by(now(mono, wall), None, max_offset);
            assert_eq!(shown, now(0, expected).wall, "{mono} {wall}");
        }
        let servers = Some(now(0, 8_200).wall);
        for (wall, expected) in [(8_201, 8_201), (1_010, 8_200)] {
            let shown = time.to_read_by(now(10, wall), servers, max_offset);
            assert_eq!(shown, now(0, expected).wall, "a log that stands still: {wall}");
        }
    }

    #[test]
    fn out_of_range_milliseconds_survive_a_round_trip() {
        for millis in [0, 1, u64::MAX / 1000, u64::MAX / 1000 + 1, u64::MAX] {
            let wall = Wall::from_millis(millis);
            assert_eq!(Wall::from_millis(wall.millis()), wall);
        }
    }
}
