//! The wait before the next dial. A link that had been up for a while is dialled again at once;
//! after that, the wait doubles with each failure up to a cap. A seed spreads it, so that the
//! gateways of a region don't dial in lockstep during an outage.

use std::time::Duration;

use fastrand::Rng;

/// The wait after the first dial that failed.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait. It bounds how long a healed link stays down.
const MOST: Duration = Duration::from_secs(2);

/// The waits of one dialer.
#[derive(Debug, Clone)]
pub struct Backoff {
    random: Rng,
    next: Duration,
}

impl Backoff {
    /// The waits that `seed` gives.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: Rng::with_seed(seed),
            next: FIRST,
        }
    }

    /// Returns the next wait: between half of the current backoff and all of it.
    pub fn wait(&mut self) -> Duration {
        let due = self.next;
        self.next = (due * 2).clamp(FIRST, MOST);
        let half = due / 2;
        let spread = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
        half + Duration::from_micros(self.random.u64(..=spread))
    }

    /// A link is up: the next failure counts as the first.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }

    /// A link that had been up for a while ended: the next dial does not wait.
    pub fn skip(&mut self) {
        self.next = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_within_their_spread_up_to_the_cap() {
        for seed in 0..64 {
            let mut backoff = Backoff::new(seed);
            let mut due = FIRST;
            for _ in 0..12 {
                let wait = backoff.wait();
                assert!(wait >= due / 2 && wait <= due, "seed {seed}: {wait:?} of {due:?}");
                due = (due * 2).min(MOST);
            }
            backoff.reset();
            assert!(backoff.wait() <= FIRST);
            backoff.skip();
            assert_eq!(backoff.wait(), Duration::ZERO);
            assert!(backoff.wait() >= FIRST / 2);
        }
    }

    #[test]
    fn two_seeds_wait_differently_and_one_seed_alike() {
        let waits = |seed| {
            let mut backoff = Backoff::new(seed);
            (0..8).map(|_| backoff.wait()).collect::<Vec<_>>()
        };
        assert_eq!(waits(7), waits(7));
        assert_ne!(waits(7), waits(8));
    }
}
