//! What can be seen of a sending lane.

use super::{LagRecord, LaneState, OriginLag, Reader, Sending, Spared, Stall};
use crate::coordinates::{AppliedThrough, Cursor};
use crate::credit::Credit;
use crate::time::Now;

impl Sending {
    /// Where the lane is.
    #[must_use]
    pub fn state(&self) -> LaneState {
        let Some(receiver) = self.receiver else {
            return LaneState::Idle;
        };
        if let Some(stall) = self.stall {
            return LaneState::Stalled(stall);
        }
        if self.paused {
            return LaneState::Stalled(Stall::Paused);
        }
        if let Some(hold) = receiver.hold {
            return LaneState::Stalled(Stall::Held(hold));
        }
        match self.reader {
            _ if self.lineage.current().is_none() => LaneState::Waiting,
            Reader::Running(_) if !self.is_catching_up() => LaneState::Streaming,
            _ => LaneState::Reading,
        }
    }

    /// How far behind the peer is, at `now.wall` of this region's log clock; grows while the link is down.
    #[must_use]
    pub fn lag(&self, now: Now) -> OriginLag {
        self.lag_record().at(now.wall)
    }

    /// What is known of that.
    #[must_use]
    pub fn lag_record(&self) -> LagRecord {
        self.unapplied.record()
    }

    /// Through where the peer has the log, as it last said.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    /// The newest cursor that the peer has told and whose message the log has: what a write may be confirmed by. None while the
    /// log is not known to be what the peer has of it, and while something of it is missing there.
    #[must_use]
    pub fn verified(&self) -> Option<Cursor> {
        self.verified.filter(|_| !self.peer_needs_sync())
    }

    /// Whether the peer says that changes of this region are missing there until a sync brings them.
    #[must_use]
    pub fn peer_needs_sync(&self) -> bool {
        self.receiver.is_some_and(|receiver| receiver.needs_sync)
    }

    /// Through where the peer's agents have applied the log, as it last said.
    #[must_use]
    pub fn applied(&self) -> Option<AppliedThrough> {
        self.applied
    }

    /// The credit: bytes under way and granted.
    #[must_use]
    pub fn credit(&self) -> &Credit {
        &self.credit
    }

    /// What was spared while the lane was behind, since it was made.
    #[must_use]
    pub fn spared(&self) -> Spared {
        self.outbox.spared()
    }
}
