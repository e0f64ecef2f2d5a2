//! The barriers of a writer: what it appends before any write, and as a probe.

use crate::limits;
use crate::time::Mono;

/// When the writer appends a barrier, and whether one was read back.
///
/// Invariant: until one was read back, a barrier is in flight or `form_from` is set.
#[derive(Debug)]
pub(super) struct Barriers {
    is_read_back: bool,
    /// When the next one is to be formed; none while one is in flight or none is needed.
    form_from: Option<Mono>,
}

impl Barriers {
    /// The first one is due immediately.
    pub(super) fn new() -> Self {
        Self {
            is_read_back: false,
            form_from: Some(Mono::default()),
        }
    }

    /// Whether one was read back: writes may be sent.
    pub(super) fn is_read_back(&self) -> bool {
        self.is_read_back
    }

    pub(super) fn form_from(&self) -> Option<Mono> {
        self.form_from
    }

    /// Whether a barrier is due at `now`; the caller then forms it.
    pub(super) fn take_due(&mut self, now: Mono) -> bool {
        self.form_from.take_if(|from| *from <= now).is_some()
    }

    /// A barrier was read back. Returns whether it is the first.
    pub(super) fn handle_accepted(&mut self) -> bool {
        !std::mem::replace(&mut self.is_read_back, true)
    }

    /// A barrier does not count: another follows, unless one was read back.
    pub(super) fn handle_failed(&mut self, now: Mono) {
        if !self.is_read_back {
            self.form_from = Some(now.after(limits::APPEND_RETRY));
        }
    }

    /// The log must be probed at `at`, and nothing else is being sent.
    pub(super) fn probe(&mut self, at: Mono) {
        self.form_from = Some(at);
    }

    /// The log is writable again: no probe is needed.
    pub(super) fn end_probe(&mut self) {
        if self.is_read_back {
            self.form_from = None;
        }
    }
}
