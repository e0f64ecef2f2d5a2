//! The deadlines of a session and its events for the shell.

use bytes::Bytes;

use super::CallFailure;
use crate::limits;
use crate::link::frame::{
    Event, Goodbye, Hello, InvalidFrame, LaneReport, Party, RangeFrame, Request, Welcome,
};

/// The deadlines of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// Hello or Welcome must have arrived.
    Greeting,
    /// The next ping is due.
    Ping,
    /// The other end must have sent something.
    Silence,
    /// A request must have been answered.
    Call,
}

/// An event of a session for its shell.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionEvent {
    /// For the acceptor: answer with [`super::Session::welcome`].
    Hello(Hello),
    /// For the dialer: its lanes may begin.
    Welcome(Welcome),
    /// The other end uses a different set.yaml of the same set.
    SetDiffers {
        /// The other end.
        peer: Party,
    },
    /// For the dialer: the progress of a lane.
    Ack(LaneReport),
    /// For the dialer: a lane starts again.
    Reset(LaneReport),
    /// For the acceptor: a range.
    Range(RangeFrame),
    /// The new pause state: whether one of the two ends has paused the ranges.
    Paused(bool),
    /// The other end calls: answer with [`super::Session::respond`].
    Request(Request),
    /// A call of ours was answered, or never will be.
    Response {
        /// The identifier of the call.
        id: u64,
        /// Its answer.
        outcome: Result<Bytes, CallFailure>,
    },
    /// A message for this end's log.
    PeerEvent(Event),
    /// The session is over; this is the last event. Write the remaining frames of
    /// [`super::Session::poll_frame`], then close.
    Ended(End),
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The other end ended it.
    #[error("the other region's gateway ended the link ({}): {}", .0.reason.label(), .0.text)]
    Farewell(Goodbye),
    /// This end ended it.
    #[error("this gateway ended the link ({}): {}", .0.reason.label(), .0.text)]
    Refused(Goodbye),
    /// The other end sent bytes that are not a valid frame.
    #[error(transparent)]
    Invalid(InvalidFrame),
    /// No Hello or no Welcome came in time.
    #[error(
        "no greeting arrived within {:?}: check that the address is of a gateway",
        limits::GREETING
    )]
    NoGreeting,
    /// Nothing came for [`limits::SESSION_SILENCE`].
    #[error(
        "nothing was received for {:?}: check the network between the regions",
        limits::SESSION_SILENCE
    )]
    Silence,
}
