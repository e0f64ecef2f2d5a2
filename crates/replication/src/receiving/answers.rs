//! The own log's answers to appends.

use std::time::Duration;

use super::AppendFailure;
use crate::limits;
use crate::link::lane::Hold;

/// Whether the own log takes appends.
///
/// Invariant: one answer, or one message read back, clears all failures.
#[derive(Debug, Default)]
pub(super) struct LogAnswers {
    unanswered: u32,
    is_full: bool,
}

impl LogAnswers {
    /// The log answered, or has what was appended.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// An append failed. Returns how long to wait before it is repeated.
    pub(super) fn add_failure(&mut self, failure: AppendFailure) -> Duration {
        match failure {
            AppendFailure::Unanswered => {
                self.unanswered = self.unanswered.saturating_add(1);
                limits::APPEND_RETRY
            }
            AppendFailure::Full => {
                self.is_full = true;
                limits::PROBE_INTERVAL
            }
            AppendFailure::TooLarge => Duration::ZERO,
        }
    }

    /// How many ranges may be in flight. While the log does not answer, one range is enough to
    /// learn when it answers again.
    pub(super) fn most_appends(&self) -> usize {
        match self.hold() {
            None => limits::LANE_APPENDS,
            Some(_) => 1,
        }
    }

    pub(super) fn hold(&self) -> Option<Hold> {
        if self.is_full {
            return Some(Hold::LogFull);
        }
        let is_silent = self.unanswered >= limits::UNANSWERED_APPENDS;
        is_silent.then_some(Hold::LogNotWritable)
    }
}
