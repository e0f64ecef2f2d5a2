//! A rate limit for repetitions: at most a number of items per key and minute are reported, and the
//! next report contains the number of suppressed ones. Nobody can fill a log, or this table, by
//! repeating something.

use std::collections::BTreeMap;
use std::time::Duration;

use isthmus_replication::reminder::Reminder;
use isthmus_replication::time::Mono;

/// The window in which items of one key count together.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Maximum number of keys counted separately; further keys within [`WINDOW`] share one count.
pub const KEYS: usize = 64;

/// Decides which of many similar items are reported. Call [`Throttle::take`] for each item.
#[derive(Debug)]
pub struct Throttle<K> {
    counts: BTreeMap<K, Count>,
    others: Count,
}

#[derive(Debug)]
struct Count {
    window: Reminder,
    reported: u32,
    suppressed: u64,
}

impl Default for Count {
    fn default() -> Self {
        Self {
            window: Reminder::every(WINDOW),
            reported: 0,
            suppressed: 0,
        }
    }
}

impl<K> Default for Throttle<K> {
    fn default() -> Self {
        Self {
            counts: BTreeMap::new(),
            others: Count::default(),
        }
    }
}

impl<K: Ord> Throttle<K> {
    /// Whether to report this item of `key`: at most `most` are reported within [`WINDOW`]. If so,
    /// returns the number suppressed since the last report.
    pub fn take(&mut self, now: Mono, key: K, most: u32) -> Option<u64> {
        if self.counts.len() >= KEYS && !self.counts.contains_key(&key) {
            self.forget(now);
        }
        let room = self.counts.len() < KEYS;
        let count = match self.counts.get_mut(&key) {
            Some(count) => count,
            None if room => self.counts.entry(key).or_default(),
            None => &mut self.others,
        };
        count.take(now, most)
    }

    /// Removes the keys whose window has ended. Their suppressed items are added to the shared
    /// count.
    fn forget(&mut self, now: Mono) {
        let others = &mut self.others;
        self.counts.retain(|_, count| {
            let lasts = !count.window.is_due(now);
            others.suppressed += if lasts { 0 } else { count.suppressed };
            lasts
        });
    }
}

impl Count {
    fn take(&mut self, now: Mono, most: u32) -> Option<u64> {
        if self.window.take(now) {
            self.reported = 0;
        } else if self.reported >= most {
            self.suppressed += 1;
            return None;
        }
        self.reported += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::default().after(Duration::from_secs(seconds))
    }

    #[test]
    fn the_first_of_a_minute_pass_and_the_next_counts_those_dropped() {
        let mut throttle = Throttle::default();
        let mut reported = |seconds, most| throttle.take(at(seconds), "flood", most);
        assert_eq!(
            [reported(0, 2), reported(1, 2), reported(2, 2)],
            [Some(0), Some(0), None]
        );
        assert_eq!((reported(59, 2), reported(60, 2)), (None, Some(2)));
        assert_eq!(reported(119, 1), None);
        assert_eq!(reported(600, 1), Some(1));
    }

    #[test]
    fn the_table_and_the_reports_stay_small_with_any_number_of_keys() {
        let mut throttle = Throttle::default();
        let reported = (0..100_000).filter(|key| throttle.take(at(1), *key, 1).is_some());
        assert_eq!(reported.count(), KEYS + 1);
        assert_eq!(throttle.counts.len(), KEYS);
        assert_eq!(throttle.take(at(2), 0, 1), None, "a key that is kept apart");
        let later = throttle.take(at(61), 1_000_000, 1);
        assert_eq!(later, Some(0), "a key that has room of its own again");
        let reported = (2_000_000..2_000_100).filter_map(|key| throttle.take(at(62), key, 1));
        let suppressed: u64 = reported.sum();
        assert_eq!(
            suppressed,
            100_000 - KEYS as u64 - 1 + 1,
            "every suppressed one is counted"
        );
    }
}
