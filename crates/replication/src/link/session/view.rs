//! Accessors for the state of a session.

use std::time::Duration;

use super::{ClockEstimate, Session, State};
use crate::limits;
use crate::link::frame::Party;
use crate::time::Now;

impl Session {
    /// Whether lanes' frames may be written.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether the session is over.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether one of the two ends has paused the ranges.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused_here || self.paused_there
    }

    /// Whether the region behind the link counts as unreachable: not open, or no frame received for
    /// [`limits::SESSION_QUIET`].
    #[must_use]
    pub fn is_quiet(&self, now: Now) -> bool {
        self.state != State::Open || self.quiet_for(now) > limits::SESSION_QUIET
    }

    /// The time since the last frame arrived.
    #[must_use]
    pub fn quiet_for(&self, now: Now) -> Duration {
        now.mono.since(self.heard)
    }

    /// The process at the other end; none before its greeting.
    #[must_use]
    pub fn peer(&self) -> Option<&Party> {
        self.peer.as_ref()
    }

    /// The other end's clock; none before the first answered ping.
    #[must_use]
    pub fn peer_clock(&self) -> Option<ClockEstimate> {
        self.clock.estimate()
    }
}
