//! The peer's reports about its end of a lane.

use crate::coordinates::{AppliedThrough, Cursor, Life};
use crate::link::lane::{Hold, LaneReport};

/// The peer's end of a lane.
///
/// Invariants: the cursor and the applied position outlive a session; the generation, the hold and
/// the verified cursor end with it. A cursor is verified only while the log is known to have its
/// message.
#[derive(Debug, Default)]
pub(super) struct Peer {
    session: Option<LaneSession>,
    cursor: Option<Cursor>,
    /// The newest cursor whose message was found in the log.
    verified: Option<Cursor>,
    applied: Option<AppliedThrough>,
}

/// The receiver's last report.
#[derive(Debug, Clone, Copy)]
struct LaneSession {
    generation: u64,
    life: Option<Life>,
    hold: Option<Hold>,
    needs_sync: bool,
}

/// What an acknowledgement changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acknowledged {
    /// The receiver's log is in another life.
    pub(super) new_life: bool,
    /// The receiver is held for another reason, or no longer held.
    pub(super) new_hold: bool,
}

impl Peer {
    /// The receiver begins a generation.
    pub(super) fn open(&mut self, report: &LaneReport) {
        self.session = Some(LaneSession {
            generation: report.generation,
            life: report.life,
            hold: report.hold,
            needs_sync: report.needs_sync,
        });
        self.cursor = report.cursor;
    }

    /// The link is down.
    pub(super) fn close(&mut self) {
        self.session = None;
        self.verified = None;
    }

    /// Takes an acknowledgement's report of the receiver, except for its cursor and its applied
    /// position. None if it belongs to another generation.
    pub(super) fn acknowledge(&mut self, report: &LaneReport) -> Option<Acknowledged> {
        let session = self.session.as_mut()?;
        if report.generation != session.generation {
            return None;
        }
        session.needs_sync = report.needs_sync;
        Some(Acknowledged {
            new_life: std::mem::replace(&mut session.life, report.life) != report.life,
            new_hold: std::mem::replace(&mut session.hold, report.hold) != report.hold,
        })
    }

    /// Takes the applied position of the peer's agents, if reported. Returns the newest reported
    /// one.
    pub(super) fn note_applied(&mut self, applied: Option<AppliedThrough>) -> Option<AppliedThrough> {
        self.applied = applied.or(self.applied);
        self.applied
    }

    pub(super) fn set_cursor(&mut self, cursor: Option<Cursor>) {
        self.cursor = cursor;
    }

    /// The log has the message of `checked`; nothing changes if no cursor was checked.
    pub(super) fn verify(&mut self, checked: Option<Cursor>) {
        self.verified = checked.or(self.verified);
    }

    /// No cursor is known to be in the log any more.
    pub(super) fn forget_verified(&mut self) {
        self.verified = None;
    }

    pub(super) fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    pub(super) fn generation(&self) -> Option<u64> {
        self.session.map(|session| session.generation)
    }

    pub(super) fn hold(&self) -> Option<Hold> {
        self.session.and_then(|session| session.hold)
    }

    pub(super) fn needs_sync(&self) -> bool {
        self.session.is_some_and(|session| session.needs_sync)
    }

    pub(super) fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    pub(super) fn verified(&self) -> Option<Cursor> {
        self.verified
    }

    pub(super) fn applied(&self) -> Option<AppliedThrough> {
        self.applied
    }
}
