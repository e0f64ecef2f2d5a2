//! Whether ranges may leave, apart from the credit.

use super::Stall;

/// The reasons why ranges may not leave.
///
/// Invariant: a pause belongs to the link, and a stall to what was found in the log. Starting again
/// at the peer's cursor therefore ends a stall but not a pause. A full link is no stall: the lane
/// keeps its deadlines and can fall behind.
#[derive(Debug, Default)]
pub(super) struct Gate {
    paused: bool,
    link_full: bool,
    stall: Option<Stall>,
}

impl Gate {
    pub(super) fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    pub(super) fn set_link_full(&mut self, full: bool) {
        self.link_full = full;
    }

    /// Closes the gate until the lane starts at the peer's cursor again.
    pub(super) fn close(&mut self, stall: Stall) {
        self.stall = Some(stall);
    }

    /// The lane starts at the peer's cursor.
    pub(super) fn end_stall(&mut self) {
        self.stall = None;
    }

    /// Whether ranges may leave, if the link has room.
    pub(super) fn is_open(&self) -> bool {
        !self.paused && self.stall.is_none()
    }

    pub(super) fn is_link_full(&self) -> bool {
        self.link_full
    }

    pub(super) fn needs_sync(&self) -> bool {
        matches!(self.stall, Some(Stall::NeedsSync(_)))
    }

    /// Why it is closed.
    pub(super) fn reason(&self) -> Option<Stall> {
        self.stall.or(self.paused.then_some(Stall::Paused))
    }
}
