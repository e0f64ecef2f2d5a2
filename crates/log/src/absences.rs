//! When a stream counts as gone: an election looks like a missing stream for seconds (design.md section 5).

use std::time::Duration;

use tokio::time::Instant;

/// So many answers have to say that a stream does not exist.
const ABSENCES: u32 = 3;

/// Answers that a stream does not exist.
#[derive(Debug)]
pub(crate) struct Absences {
    apart: Duration,
    counted: u32,
    last: Option<Instant>,
}

impl Absences {
    /// None so far; one counts if it comes `apart` after the one before.
    pub(crate) const fn new(apart: Duration) -> Self {
        Self {
            apart,
            counted: 0,
            last: None,
        }
    }

    /// Takes note of one more; whether the stream counts as gone.
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

    /// The stream is there.
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
