//! Whether the log answers anything at all.
//!
//! Clients have their own deadlines, so a message may be given up before it counts as unanswered.
//! Silence is therefore counted across messages. When nothing is answered within
//! [`limits::APPEND_ANSWER`] after a send, that is one unanswered append; so is a send that failed
//! without an answer on whether the message was stored. Other sends under way at the same time
//! belong to the same silence.

use crate::limits;
use crate::time::Mono;

/// Whether the log is writable.
///
/// Invariant: it is not writable exactly while `probe_at` is set. Any answer makes it writable;
/// until then one message is sent in each [`limits::PROBE_INTERVAL`].
#[derive(Debug, Default)]
pub(super) struct Availability {
    /// When the first message was sent that nothing has answered since.
    silent_since: Option<Mono>,
    unanswered: u32,
    /// While the log is not writable: when the next probe may be sent.
    probe_at: Option<Mono>,
}

impl Availability {
    /// A message was sent.
    pub(super) fn handle_sent(&mut self, now: Mono) {
        self.silent_since.get_or_insert(now);
        if self.probe_at.is_some() {
            self.probe_at = Some(now.after(limits::PROBE_INTERVAL));
        }
    }

    /// The log answered. Returns whether it was not writable until then.
    pub(super) fn handle_answer(&mut self) -> bool {
        std::mem::take(self).probe_at.is_some()
    }

    /// A send had no answer.
    pub(super) fn handle_unanswered(&mut self) {
        if self.silent_since.take().is_some() {
            self.unanswered = self.unanswered.saturating_add(1);
        }
    }

    /// Counts a send that has waited too long.
    pub(super) fn handle_timeout(&mut self, now: Mono) {
        if self.answer_by().is_some_and(|by| by <= now) {
            self.handle_unanswered();
        }
    }

    /// After enough unanswered appends the log is not writable. Returns whether it was until now.
    pub(super) fn stop_if_silent(&mut self, now: Mono) -> bool {
        let stops = self.unanswered >= limits::UNANSWERED_APPENDS && self.is_writable();
        if stops {
            self.probe_at = Some(now.after(limits::PROBE_INTERVAL));
        }
        stops
    }

    pub(super) fn is_writable(&self) -> bool {
        self.probe_at.is_none()
    }

    /// Whether a message may be sent, even if only as a probe.
    pub(super) fn may_send(&self, now: Mono) -> bool {
        self.probe_at.is_none_or(|at| at <= now)
    }

    /// When the next probe may be sent; none while the log is writable.
    pub(super) fn probe_at(&self) -> Option<Mono> {
        self.probe_at
    }

    /// When the silence counts as an unanswered append.
    pub(super) fn answer_by(&self) -> Option<Mono> {
        self.silent_since.map(|since| since.after(limits::APPEND_ANSWER))
    }
}
