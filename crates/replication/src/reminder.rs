//! When to report a lasting condition: immediately, and again after an interval.

use std::time::Duration;

use crate::time::Mono;

/// Decides when to report one lasting condition. The caller calls [`Reminder::take`] each time that
/// it sees the condition, and [`Reminder::end`] once the condition is over.
#[derive(Debug, Clone, Copy)]
pub struct Reminder {
    interval: Duration,
    reported: Option<Mono>,
}

impl Reminder {
    /// Creates a reminder that has not reported yet and reports at most once an `interval`.
    #[must_use]
    pub const fn every(interval: Duration) -> Self {
        Self {
            interval,
            reported: None,
        }
    }

    /// Whether a report is due at `now`.
    #[must_use]
    pub fn is_due(&self, now: Mono) -> bool {
        self.reported
            .is_none_or(|reported| now.since(reported) >= self.interval)
    }

    /// Whether to report now. If so, the next report is due an interval later.
    pub fn take(&mut self, now: Mono) -> bool {
        let due = self.is_due(now);
        if due {
            self.reported = Some(now);
        }
        due
    }

    /// Whether a condition was reported that has not ended.
    #[must_use]
    pub fn has_reported(&self) -> bool {
        self.reported.is_some()
    }

    /// The condition is over: when it comes back, it is reported immediately. Returns whether it
    /// had been reported.
    pub fn end(&mut self) -> bool {
        self.reported.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_thing_is_reported_once_an_interval() {
        let at = |seconds| Mono::default().after(Duration::from_secs(seconds));
        let mut reminder = Reminder::every(Duration::from_secs(60));
        assert!(!reminder.end(), "nothing was reported");
        let reported: Vec<u64> = (5..200).filter(|second| reminder.take(at(*second))).collect();
        assert_eq!(reported, [5, 65, 125, 185]);
        assert!(reminder.has_reported() && reminder.end());
        assert!(!reminder.has_reported() && reminder.is_due(at(200)));
    }
}
