//! When a stream counts as gone. During an election a stream seems to be missing for seconds
//! (design.md section 5).

use std::time::Duration;

use tokio::time::Instant;

/// Number of "no such stream" answers after which a stream counts as gone.
const ABSENCES: u32 = 3;

/// Counts answers that a stream does not exist.
#[derive(Debug)]
pub(crate) struct Absences {
    apart: Duration,
    counted: u32,
    last: Option<Instant>,
}

impl Absences {
    /// Starts at zero. An answer counts only if it comes at least `apart` after the last counted
    /// one.
    pub(crate) const fn new(apart: Duration) -> Self {
        Self {
            apart,
            counted: 0,
            last: None,
        }
    }

    /// Records one more such answer. Returns whether the stream now counts as gone.
    pub(crate) fn another(&mut self, now: Instant) -> bool {
        if self
            .last
            .is_none_or(|last| now.duration_since(last) >= self.apart)
        {
            self.counted += 1;
            self.last = Some(now);
        }
        self.counted >= ABSENCES
    }

    /// Resets the count: the stream exists.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.apart);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_gone_only_after_three_answers_far_enough_apart() {
        let (start, mut absences) = (Instant::now(), Absences::new(Duration::from_secs(10)));
        let mut after = |tenths: u32| absences.another(start + Duration::from_millis(200) * tenths);
        let answers: Vec<bool> = (0..=100).map(&mut after).collect();
        assert_eq!(answers.iter().position(|gone| *gone), Some(100));
        absences.clear();
        assert!(!absences.another(start));
    }
}
