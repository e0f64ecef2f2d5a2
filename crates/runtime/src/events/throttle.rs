//! Telling again after a while: what keeps happening is told at most so often a minute, with the number of times that it was
//! not told. Whoever can make something happen again and again can neither fill a log with it nor the table that prevents it.

use std::collections::BTreeMap;
use std::time::Duration;

use isthmus_replication::time::Mono;

/// What is counted for so long is told again after it.
pub const TELL_AGAIN: Duration = Duration::from_secs(60);
/// Keys that are kept apart; others within [`TELL_AGAIN`] count as one.
pub const KEYS: usize = 64;

/// Which of many like things are told. [`Throttle::take`] is asked about each.
#[derive(Debug)]
pub struct Throttle<K> {
    told: BTreeMap<K, Told>,
    others: Told,
}

#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// When the first was told of those that count together.
    since: Mono,
    told: u32,
    untold: u64,
}

impl<K> Default for Throttle<K> {
    fn default() -> Self {
        Self {
            told: BTreeMap::new(),
            others: Told::default(),
        }
    }
}

impl<K: Ord> Throttle<K> {
    /// How many of `key` were not told since the last one that was, if this one is to be told: at most `most` of them are
    /// within [`TELL_AGAIN`]. None if it is not.
    pub fn take(&mut self, now: Mono, key: K, most: u32) -> Option<u64> {
        if self.told.len() >= KEYS && !self.told.contains_key(&key) {
            self.forget(now);
        }
        let room = self.told.len() < KEYS;
        let told = match self.told.get_mut(&key) {
            Some(told) => told,
            None if room => self.told.entry(key).or_default(),
            None => &mut self.others,
        };
        told.take(now, most)
    }

    /// Forgets what is told again in any case; what was not told of it is told with the others.
    fn forget(&mut self, now: Mono) {
        let others = &mut self.others;
        self.told.retain(|_, told| {
            let lasts = now.since(told.since) < TELL_AGAIN;
            others.untold += if lasts { 0 } else { told.untold };
            lasts
        });
    }
}

impl Told {
    fn take(&mut self, now: Mono, most: u32) -> Option<u64> {
        if self.told > 0 && now.since(self.since) < TELL_AGAIN {
            if self.told >= most {
                self.untold += 1;
                return None;
            }
            self.told += 1;
        } else {
            (self.since, self.told) = (now, 1);
        }
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::default().after(Duration::from_secs(seconds))
    }

    #[test]
    fn so_many_are_told_a_minute_and_the_next_one_says_how_many_were_not() {
        let mut throttle = Throttle::default();
        let mut told = |seconds, most| throttle.take(at(seconds), "flood", most);
        assert_eq!([told(0, 2), told(1, 2), told(2, 2)], [Some(0), Some(0), None]);
        assert_eq!((told(59, 2), told(60, 2)), (None, Some(2)));
        assert_eq!(told(119, 1), None);
        assert_eq!(told(600, 1), Some(1));
    }

    #[test]
    fn however_many_keys_there_are_the_table_and_what_is_told_of_them_stay_small() {
        let mut throttle = Throttle::default();
        let told = (0..100_000).filter(|key| throttle.take(at(1), *key, 1).is_some());
        assert_eq!(told.count(), KEYS + 1);
        assert_eq!(throttle.told.len(), KEYS);
        assert_eq!(throttle.take(at(2), 0, 1), None, "a key that is kept apart");
        let later = throttle.take(at(61), 1_000_000, 1);
        assert_eq!(later, Some(0), "a key that has room of its own again");
        let told = (2_000_000..2_000_100).filter_map(|key| throttle.take(at(62), key, 1));
        let untold: u64 = told.sum();
        assert_eq!(
            untold,
            100_000 - KEYS as u64 - 1 + 1,
            "nothing is forgotten untold"
        );
    }
}
