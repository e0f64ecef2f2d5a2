//! What a session waits for and what it tells its shell.

use bytes::Bytes;

use super::CallFailure;
use crate::limits;
use crate::link::frame::{
    Event, Goodbye, Hello, InvalidFrame, LaneReport, Party, RangeFrame, Request, Welcome,
};

/// What a session waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// Hello or Welcome must have come.
    Greeting,
    /// The next ping is due.
    Ping,
    /// The other end must have said something.
    Silence,
    /// A request must have been answered.
    Call,
}

/// What a session tells its shell.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionEvent {
    /// To the acceptor: answer with [`super::Session::welcome`].
    Hello(Hello),
    /// To the dialer: its lanes may begin.
    Welcome(Welcome),
    /// The other end runs on another set.yaml of the same set.
    SetDiffers {
        /// Who runs on it.
        peer: Party,
    },
    /// To the dialer: how far a lane is.
    Ack(LaneReport),
    /// To the dialer: a lane begins again.
    Reset(LaneReport),
    /// To the acceptor: a range.
    Range(RangeFrame),
    /// Whether one of the two ends asks that no ranges travel has changed.
    Paused(bool),
    /// The other end calls: answer with [`super::Session::respond`].
    Request(Request),
    /// A call of ours has its answer, or never will.
    Response {
        /// The call's.
        id: u64,
        /// Its answer.
        outcome: Result<Bytes, CallFailure>,
    },
    /// Something for this end's log.
    PeerEvent(Event),
    /// The session is over; the last event. Write what [`super::Session::poll_frame`] still gives, then close.
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
    /// The other end sent what is no frame.
    #[error(transparent)]
    Invalid(InvalidFrame),
    /// No Hello or no Welcome came in time.
    #[error(
        "no greeting came within {:?}: is what answers there a gateway?",
        limits::GREETING
    )]
    NoGreeting,
    /// Nothing came for [`limits::SESSION_SILENCE`].
    #[error(
        "nothing was heard for {:?}: look at the network between the regions",
        limits::SESSION_SILENCE
    )]
    Silence,
}
