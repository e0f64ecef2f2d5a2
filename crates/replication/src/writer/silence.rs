//! Whether the log answers anything at all.
//!
//! Clients have deadlines of their own, so a message may be given up before it counts as unanswered; silence is counted
//! across messages. A sending that nothing was answered after for [`limits::APPEND_ANSWER`] is one unanswered append, as
//! is one that failed without saying whether it was stored. Those that were under way beside it are the same silence.

use super::Mono;
use crate::limits;

#[derive(Debug, Default)]
pub(super) struct Silence {
    since: Option<Mono>,
    unanswered: u32,
}

impl Silence {
    pub(super) fn sent(&mut self, now: Mono) {
        self.since.get_or_insert(now);
    }

    pub(super) fn answered(&mut self) {
        *self = Self::default();
    }

    pub(super) fn failed(&mut self) {
        if self.since.take().is_some() {
            self.unanswered = self.unanswered.saturating_add(1);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Mono) {
        if self.due().is_some_and(|due| due <= now) {
            self.failed();
        }
    }

    pub(super) fn due(&self) -> Option<Mono> {
        self.since.map(|since| since.after(limits::APPEND_ANSWER))
    }

    pub(super) fn is_long(&self) -> bool {
        self.unanswered >= limits::UNANSWERED_APPENDS
    }
}
