//! When an operator is told of a lost tail that is suspected: once when it begins, once when it ends, and once an hour in between.

use std::time::Duration;

use isthmus_replication::time::Mono;

/// A suspicion that lasts is told again after this.
const TELL_AGAIN: Duration = Duration::from_secs(3600);
/// A suspicion that did not come again for this long has ended. One that lasts comes again every few seconds.
const QUIET: Duration = Duration::from_secs(10);

/// One log's suspected loss, in the eyes of one task.
#[derive(Debug, Default)]
pub struct Suspicion(Option<Told>);

#[derive(Debug)]
struct Told {
    told: Mono,
    newest: Mono,
}

impl Suspicion {
    /// Takes note of a suspicion; whether it is to be told.
    pub fn note(&mut self, now: Mono) -> bool {
        let newest = now;
        match &mut self.0 {
            Some(held) if now.since(held.told) < TELL_AGAIN => {
                held.newest = newest;
                false
            }
            held => {
                *held = Some(Told { told: now, newest });
                true
            }
        }
    }

    /// Takes note that the log is sound; whether its end is to be told: a suspicion had been, and is over.
    pub fn take_end(&mut self, now: Mono) -> bool {
        self.0.take_if(|held| now.since(held.newest) >= QUIET).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_every_seven_seconds_for_a_day_is_told_25_times_and_ends_once() {
        let mut suspicion = Suspicion::default();
        let at = |seconds| Mono::default().after(Duration::from_secs(seconds));
        let day = 24 * 3600;
        let told = (0..=day)
            .step_by(7)
            .filter(|now| suspicion.note(at(*now)))
            .count();
        assert!((24..=25).contains(&told), "told {told} times");
        assert!(!suspicion.take_end(at(day + 3)), "it may come again");
        assert!(suspicion.take_end(at(day + 10)));
        assert!(!suspicion.take_end(at(day + 20)), "told once");
        assert!(suspicion.note(at(day + 30)), "another one");
    }

    #[test]
    fn what_flickers_is_told_once_for_each_time_that_it_was_quiet() {
        let mut suspicion = Suspicion::default();
        let at = |millis| Mono::default().after(Duration::from_millis(millis));
        let mut told = 0;
        for now in (0..60_000).step_by(500) {
            told += usize::from(suspicion.note(at(now)));
            told += usize::from(suspicion.take_end(at(now + 250)));
        }
        assert_eq!(told, 1);
    }
}
