//! When a suspected lost tail is reported: when it begins, when it ends, and each hour in between.

use std::time::Duration;

use isthmus_replication::reminder::Reminder;
use isthmus_replication::time::Mono;

/// How often a suspicion that lasts is reported.
const REPORTED_EVERY: Duration = Duration::from_secs(3600);
/// A suspicion that is not raised again for this long has ended. One that lasts is raised every few
/// seconds.
const QUIET: Duration = Duration::from_secs(10);

/// The suspected loss of one log's tail, as one task sees it.
#[derive(Debug)]
pub struct Suspicion {
    reminder: Reminder,
    newest: Mono,
}

impl Default for Suspicion {
    fn default() -> Self {
        Self {
            reminder: Reminder::every(REPORTED_EVERY),
            newest: Mono::default(),
        }
    }
}

impl Suspicion {
    /// Records a suspicion. Returns whether to report it.
    pub fn note(&mut self, now: Mono) -> bool {
        self.newest = now;
        self.reminder.take(now)
    }

    /// Records that the log is sound. Returns whether to report the end of a suspicion.
    pub fn take_end(&mut self, now: Mono) -> bool {
        now.since(self.newest) >= QUIET && self.reminder.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspicion_of_a_day_is_reported_each_hour_and_ends_once() {
        let mut suspicion = Suspicion::default();
        let at = |seconds| Mono::default().after(Duration::from_secs(seconds));
        let day = 24 * 3600;
        let reported = (0..=day)
            .step_by(7)
            .filter(|now| suspicion.note(at(*now)))
            .count();
        assert!((24..=25).contains(&reported), "reported {reported} times");
        assert!(!suspicion.take_end(at(day + 3)), "it may come again");
        assert!(suspicion.take_end(at(day + 10)));
        assert!(!suspicion.take_end(at(day + 20)), "reported once");
        assert!(suspicion.note(at(day + 30)), "another one");
    }

    #[test]
    fn a_suspicion_that_flickers_is_reported_once() {
        let mut suspicion = Suspicion::default();
        let at = |millis| Mono::default().after(Duration::from_millis(millis));
        let mut reported = 0;
        for now in (0..60_000).step_by(500) {
            reported += usize::from(suspicion.note(at(now)));
            reported += usize::from(suspicion.take_end(at(now + 250)));
        }
        assert_eq!(reported, 1);
    }
}
