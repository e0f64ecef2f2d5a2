//! Limits how much a lane has under way within the window, by how long ranges take.
//!
//! Problem: the window is what the receiver can hold, not what the path carries. Over a slow path a
//! full window is half a minute of traffic, and a key that is rarely written waits behind it.
//! Sketch: while the limit is used, ranges that arrive about as fast as the fastest one raise it,
//! at most twofold per round trip. A range that is late by more than [`limits::LANE_QUEUE`] halves
//! it, once for everything that was under way then. A late range also shows how much the path
//! carries per second. That rate counts for [`limits::LANE_SLOW`], and ranges that are in time
//! raise it if they carry more. Invariant: the limit never falls below
//! [`limits::LANE_LEAST_UNDER_WAY`]; a larger range travels alone.

use std::time::Duration;

use crate::limits;
use crate::time::Mono;

/// The sender's own limit.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    limit: u64,
    fastest: Option<Duration>,
    halved: Mono,
    slow: Option<Slow>,
}

/// What a path with a queue was observed to carry.
#[derive(Debug, Clone, Copy)]
struct Slow {
    bytes: u64,
    within: Duration,
    seen: Mono,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            limit: limits::LANE_LEAST_UNDER_WAY,
            fastest: None,
            halved: Mono::default(),
            slow: None,
        }
    }
}

impl Pace {
    /// Bytes that may be under way.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// False if the path is known to be too slow for `bytes` every `within`.
    pub(super) fn carries(&self, now: Mono, bytes: u64, within: Duration) -> bool {
        let slow = self.slow.filter(|slow| now.since(slow.seen) < limits::LANE_SLOW);
        slow.is_none_or(|slow| !slow.is_less_than(bytes, within))
    }

    /// A range of `cost` bytes that was sent at `sent` was acknowledged at `now`, while `used`
    /// bytes were under way.
    pub(super) fn arrived(&mut self, now: Mono, sent: Mono, cost: u64, used: u64) {
        let within = now.since(sent);
        let fastest = self.fastest.map_or(within, |fastest| fastest.min(within));
        self.fastest = Some(fastest);
        if within > fastest + limits::LANE_QUEUE {
            self.slow = Some(Slow {
                bytes: used,
                within,
                seen: now,
            });
            if sent >= self.halved {
                self.limit = (self.limit / 2).max(limits::LANE_LEAST_UNDER_WAY);
                self.halved = now;
            }
            return;
        }
        if let Some(slow) = &mut self.slow
            && slow.is_less_than(used, within)
        {
            (slow.bytes, slow.within) = (used, within);
        }
        if used.saturating_mul(2) >= self.limit {
            let most = u64::from(limits::LANE_WINDOW_BYTES);
            self.limit = self.limit.saturating_add(cost).min(most);
        }
    }
}

impl Slow {
    fn is_less_than(&self, bytes: u64, within: Duration) -> bool {
        u128::from(self.bytes) * within.as_micros() < u128::from(bytes) * self.within.as_micros()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::from_nanos(millis * 1_000_000)
    }

    /// Round trips of full use. `takes` gives the milliseconds of a round trip from the bytes under
    /// way.
    fn limit_after(rounds: u64, pace: &mut Pace, takes: impl Fn(u64) -> u64) -> u64 {
        let mut now = 0;
        for _ in 0..rounds {
            let (sent, used) = (at(now), pace.limit());
            now += takes(used);
            for _ in 0..4 {
                pace.arrived(at(now), sent, used / 4, used);
            }
        }
        pace.limit()
    }

    #[test]
    fn a_late_range_tells_what_the_path_carries_for_a_while() {
        let (mut pace, second) = (Pace::default(), Duration::from_secs(1));
        assert!(pace.carries(at(0), u64::MAX, second));
        pace.arrived(at(80), at(0), 100, 100);
        pace.arrived(at(2080), at(80), 100_000, 250_000);
        assert!(pace.carries(at(2080), 125_000, second) && !pace.carries(at(2080), 126_000, second));
        pace.arrived(at(2180), at(2080), 50_000, 50_000);
        assert!(pace.carries(at(2180), 500_000, second) && !pace.carries(at(2180), 501_000, second));
        assert!(pace.carries(at(62_180), u64::MAX, second));
    }

    #[test]
    fn a_fast_path_gets_the_whole_window_within_a_few_round_trips() {
        let limit = limit_after(7, &mut Pace::default(), |_| 300);
        assert_eq!(limit, u64::from(limits::LANE_WINDOW_BYTES));
    }

    #[test]
    fn a_slow_path_has_no_more_under_way_than_it_soon_carries() {
        let mut pace = Pace::default();
        pace.arrived(at(80), at(0), 100, 100);
        let (rate_per_ms, rtt) = (1000, 80);
        let limit = limit_after(100, &mut pace, |used| rtt + used / rate_per_ms);
        let carried = 1000 * rate_per_ms;
        assert!(
            (limits::LANE_LEAST_UNDER_WAY..=carried).contains(&limit),
            "{limit}"
        );
        assert_eq!(
            limit_after(50, &mut pace, |used| rtt + used),
            limits::LANE_LEAST_UNDER_WAY
        );
    }

    #[test]
    fn a_lane_that_uses_little_is_let_through_no_more() {
        let mut pace = Pace::default();
        (0..100).for_each(|n| pace.arrived(at(n + 10), at(n), 1000, 1000));
        assert_eq!(pace.limit(), limits::LANE_LEAST_UNDER_WAY);
    }

    #[test]
    fn what_was_under_way_together_is_late_once() {
        let mut pace = Pace::default();
        limit_after(7, &mut pace, |_| 10);
        let full = pace.limit();
        (0..8).for_each(|_| pace.arrived(at(9000), at(8000), full / 8, full));
        assert_eq!(pace.limit(), full / 2);
    }
}
