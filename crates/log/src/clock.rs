//! The offset between a process's clock and the clock that stamps the logs.
//!
//! An exchange that began at `a` and ended at `b` by the local clock and was answered with the
//! server's time `s` gives an offset of `s − (a + b) / 2` with an error of at most `(b − a) / 2`.
//! Of the last exchanges the one with the smallest error counts, because queues only ever add to
//! the round trip (the clock filter of NTP, RFC 5905 section 10).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use isthmus_replication::coordinates::Shard;
use isthmus_replication::time::{Mono, Now, Wall};

use crate::{ChangeLog, LogError};

/// Reads the process's clocks.
pub type LocalClock = Arc<dyn Fn() -> Now + Send + Sync>;

/// Number of recent exchanges kept.
const KEPT: usize = 8;

/// A measured offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset {
    /// Server minus local, in microseconds.
    pub micros: i64,
    /// The maximum error of `micros`.
    pub uncertainty: Duration,
}

impl ClockOffset {
    /// The server's time at the local time `local`.
    #[must_use]
    pub fn apply(&self, local: Wall) -> Wall {
        let micros = i128::from(local.micros()) + i128::from(self.micros);
        Wall::from_micros(u64::try_from(micros.max(0)).unwrap_or(u64::MAX))
    }

    fn of_exchange(began: Now, server: Wall, ended: Now) -> Self {
        let round_trip = ended.mono.since(began.mono);
        let half = i64::try_from(round_trip.as_micros() / 2).unwrap_or(i64::MAX);
        let signed = |wall: Wall| i64::try_from(wall.micros()).unwrap_or(i64::MAX);
        Self {
            micros: signed(server)
                .saturating_sub(signed(ended.wall))
                .saturating_add(half),
            uncertainty: round_trip / 2,
        }
    }
}

/// This process's estimate of the clock of the region's NATS. Clones share the estimate.
#[derive(Clone)]
pub struct ServerClock {
    local: LocalClock,
    kept: Arc<Mutex<VecDeque<ClockOffset>>>,
    /// The server's time in the last exchange, and when that exchange ended.
    server: Arc<Mutex<Option<(Wall, Mono)>>>,
}

impl ServerClock {
    /// A clock without any exchange yet.
    #[must_use]
    pub fn new(local: LocalClock) -> Self {
        Self {
            local,
            kept: Arc::default(),
            server: Arc::default(),
        }
    }

    /// Asks the log of `shard` once. Call it every few seconds.
    ///
    /// # Errors
    /// [`LogError`]; earlier exchanges are kept.
    pub async fn sample(&self, log: &dyn ChangeLog, shard: &Shard) -> Result<ClockOffset, LogError> {
        let began = (self.local)();
        let server = log.server_time(shard).await?;
        let ended = (self.local)();
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some((server, ended.mono));
        let offset = ClockOffset::of_exchange(began, server, ended);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        let stepped = kept.back().is_some_and(|last| stepped(last, &offset));
        if stepped {
            kept.clear();
        }
        kept.push_back(offset);
        Ok(offset)
    }

    /// The server's time in the last exchange plus the monotonic time since then; the wall clock of
    /// this process is not used. `None` before the first exchange.
    #[must_use]
    pub fn by_its_own_pace(&self) -> Option<Wall> {
        let (server, ended) = (*self.server.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(server.after((self.local)().mono.since(ended)))
    }

    /// Takes several samples at once: the first answers to a starting process arrive late.
    ///
    /// # Errors
    /// As [`ServerClock::sample`].
    pub async fn settle(&self, log: &dyn ChangeLog, shard: &Shard) -> Result<(), LogError> {
        for _ in 0..KEPT / 2 {
            self.sample(log, shard).await?;
        }
        Ok(())
    }

    /// The offset with the smallest error among the last exchanges; `None` before the first.
    #[must_use]
    pub fn offset(&self) -> Option<ClockOffset> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().min_by_key(|offset| offset.uncertainty).copied()
    }

    /// Monotonic time, and the server's current time; the local time before the first exchange.
    #[must_use]
    pub fn now(&self) -> Now {
        let local = (self.local)();
        Now {
            wall: self
                .offset()
                .map_or(local.wall, |offset| offset.apply(local.wall)),
            ..local
        }
    }

    /// The server's current time; the local time before the first exchange.
    #[must_use]
    pub fn server_time(&self) -> Wall {
        self.now().wall
    }
}

impl std::fmt::Debug for ServerClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ServerClock").field(&self.offset()).finish()
    }
}

/// Whether one of the clocks was set between two exchanges: the offsets differ by more than their
/// errors and drift explain.
fn stepped(before: &ClockOffset, after: &ClockOffset) -> bool {
    const DRIFT: Duration = Duration::from_millis(20);
    let apart = Duration::from_micros(before.micros.abs_diff(after.micros));
    apart > before.uncertainty + after.uncertainty + DRIFT
}

#[cfg(test)]
mod tests {
    use isthmus_replication::time::Mono;

    use super::*;

    fn now(micros: u64) -> Now {
        Now {
            mono: Mono::from_nanos(micros * 1000),
            wall: Wall::from_micros(1_000_000 + micros),
        }
    }

    #[test]
    fn an_offset_is_wrong_by_at_most_half_the_round_trip() {
        for (out, back) in [(0, 100), (50, 50), (100, 0)] {
            let server = Wall::from_micros(1_000_000 + out + 7_000);
            let offset = ClockOffset::of_exchange(now(0), server, now(out + back));
            assert!(offset.micros.abs_diff(7_000) <= 50, "{offset:?}");
            assert_eq!(offset.uncertainty, Duration::from_micros(50));
        }
    }

    #[test]
    fn an_offset_can_be_negative_and_never_leads_before_the_epoch() {
        let offset = ClockOffset::of_exchange(now(0), Wall::from_micros(400_000), now(0));
        assert_eq!(offset.micros, -600_000);
        assert_eq!(
            offset.apply(Wall::from_micros(700_000)),
            Wall::from_micros(100_000)
        );
        assert_eq!(offset.apply(Wall::from_micros(1)), Wall::default());
    }

    #[test]
    fn a_clock_that_was_set_is_noticed_at_the_next_exchange() {
        let offset = |micros| ClockOffset {
            micros,
            uncertainty: Duration::from_micros(100),
        };
        assert!(!stepped(&offset(0), &offset(15_000)));
        assert!(stepped(&offset(0), &offset(-28_800_000_000)));
    }
}
