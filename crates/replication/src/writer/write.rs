//! A client's write, and its outcome.

use std::time::Duration;

use crate::cell::CellId;
use crate::change::Op;
use crate::coordinates::Position;
use crate::fold::Void;
use crate::limits;
use crate::time::Mono;
use crate::trace::TraceContext;
use crate::version::Version;

/// A write as a door submits it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The cell.
    pub id: CellId,
    /// The operation.
    pub op: Op,
    /// How long the value lives, counted in whole milliseconds from its stamp, at least one.
    pub ttl: Option<Duration>,
    /// The client's trace.
    pub trace: Option<TraceContext>,
    /// When the client needs an outcome.
    pub deadline: Mono,
}

/// Identifies a submitted write until its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Why a write was not taken; it is not and will not be in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The process has not read back its barrier yet.
    #[error(
        "not ready: the log has not been read up to this process's own barrier yet; try again in a moment"
    )]
    NotReady,
    /// Appends are unanswered.
    #[error(
        "the log is not writable: appends to it are not answered; check that NATS is up and has room on its disk"
    )]
    NotWritable,
    /// As many writes wait for their outcomes as are allowed.
    #[error("too many writes wait for the log; send them more slowly or wait for their outcomes")]
    Overloaded,
    /// The value has more than [`limits::VALUE_BYTES`]. This is the only reason that is not
    /// retryable.
    #[error(
        "a value of more than {} bytes; cut it into several keys",
        limits::VALUE_BYTES
    )]
    TooLarge,
}

/// The outcome of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was read back as accepted and is in the store.
    Accepted {
        /// Its version.
        version: Version,
        /// Its position.
        position: Position,
        /// A newer change had already won.
        superseded: bool,
    },
    /// It does not count and never will. Retryable.
    Failed(Failure),
    /// Its deadline came first; it may be in the log.
    Unknown {
        /// Its version, if it counts.
        version: Version,
    },
}

/// Why a write failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It was read back as void.
    Void(Void),
    /// Its deadline came before it was sent.
    NotSent,
    /// The log stopped being writable before it was sent.
    LogNotWritable,
    /// The log has no room.
    LogFull,
    /// The server refused to store it.
    LogRefused,
}
