//! Decides whether and when a process that ended is started again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A process that ends this often before it was ever ready is given up.
pub const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);
const SETTINGS_ARE_WRONG: i32 = 64;

/// What follows the end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is started again after this pause.
    Again(Duration),
    /// It is held down until `isthmus lab DIR start`.
    Held,
    /// It stays down: exit code 64 means that its settings are wrong.
    Down,
    /// It stays down: it was started [`ATTEMPTS`] times and was never ready.
    GivenUp,
}

/// Whether a process has been ready since its fleet was started. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct EverReady(Arc<AtomicBool>);

impl EverReady {
    /// Records that the process is ready.
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the process has been ready.
    pub fn was_noted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts how often a process has ended before it was ever ready. The first pause is half a second,
/// and each further one is twice as long. A process that has been ready always restarts after the
/// first pause.
#[derive(Debug, Default)]
pub struct Restarts {
    ends: u32,
}

impl Restarts {
    /// Decides what follows an end with `exit_code` (`None` after a signal). `held` is whether the
    /// process is held down, `ever_ready` whether it has been ready.
    pub fn after_end(&mut self, exit_code: Option<i32>, held: bool, ever_ready: bool) -> Next {
        if exit_code == Some(SETTINGS_ARE_WRONG) {
            return Next::Down;
        }
        if held {
            return Next::Held;
        }
        if ever_ready {
            return Next::Again(PAUSE);
        }
        self.ends += 1;
        if self.ends >= ATTEMPTS {
            return Next::GivenUp;
        }
        Next::Again(PAUSE * 2_u32.pow(self.ends - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(millis: u64) -> Next {
        Next::Again(Duration::from_millis(millis))
    }

    #[test]
    fn a_process_that_is_never_ready_backs_off_and_is_given_up() {
        let mut restarts = Restarts::default();
        let ends: Vec<Next> = (0..5)
            .map(|_| restarts.after_end(Some(1), false, false))
            .collect();
        assert_eq!(
            ends,
            [again(500), again(1000), again(2000), again(4000), Next::GivenUp]
        );
    }

    #[test]
    fn a_process_that_was_ready_restarts_after_half_a_second() {
        let mut restarts = Restarts::default();
        restarts.after_end(Some(1), false, false);
        for _ in 0..20 {
            assert_eq!(restarts.after_end(None, false, true), again(500));
        }
    }

    #[test]
    fn wrong_settings_stay_down_and_what_is_held_counts_for_nothing() {
        let mut restarts = Restarts::default();
        assert_eq!(restarts.after_end(Some(64), false, true), Next::Down);
        for _ in 0..20 {
            assert_eq!(restarts.after_end(None, true, false), Next::Held);
        }
        assert_eq!(restarts.after_end(Some(1), false, false), again(500));
    }
}
