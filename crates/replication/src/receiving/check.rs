//! The checks that a range on a lane must pass before it is held.

use bytes::Bytes;

use crate::body::{self, OpenError};
use crate::fold::LogName;
use crate::header::{BodySeal, BrokenSeal, Header, HeaderError, Kind, Range, Record, StageTimes};
use crate::link::lane::RangeFrame;
use crate::names::RegionName;

/// A protocol violation by the peer; the session ends with it as the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A generation that this end has not begun.
    #[error("a range of generation {found} on a lane of generation {current}")]
    Generation {
        /// The lane's.
        current: u64,
        /// The range's.
        found: u64,
    },
    /// A header that can't be read, or of a later version.
    #[error("a range with a {0}")]
    Header(#[from] HeaderError),
    /// A record that is not a range.
    #[error("a record of kind {0:?} on a data lane")]
    Kind(Kind),
    /// A range of another set or shard than the lane's.
    #[error("a range of another set or shard than the lane's")]
    Foreign,
    /// A range whose origin is not the certificate's region.
    #[error("a range of region {found} under a certificate of {certified}")]
    Origin {
        /// The certificate's region.
        certified: RegionName,
        /// The range's.
        found: RegionName,
    },
    /// More bytes than the window allows.
    #[error("{held} bytes are held and {cost} more arrived, with a window of {window}")]
    Credit {
        /// Bytes held.
        held: u64,
        /// Bytes that arrived.
        cost: u64,
        /// The window.
        window: u32,
    },
}

impl Violation {
    /// A label for metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Generation { .. } => "generation",
            Self::Header(_) => "header",
            Self::Kind(_) => "kind",
            Self::Foreign => "foreign",
            Self::Origin { .. } => "origin",
            Self::Credit { .. } => "credit",
        }
    }
}

/// A body that no agent could apply.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnusableBody {
    /// It does not match the seal in its header.
    #[error(transparent)]
    Seal(#[from] BrokenSeal),
    /// Its changes can't be read.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Checks that a frame belongs on the lane of `origin` into `log`. Returns its range, seal and
/// stage times.
pub(super) fn range(
    log: &LogName,
    origin: &RegionName,
    frame: &RangeFrame,
) -> Result<(Range, BodySeal, StageTimes), Violation> {
    let header = Header::decode(&frame.header)?;
    let range = match header.record {
        Record::Range(range) => range,
        other => return Err(Violation::Kind(other.kind())),
    };
    if header.set != log.set || header.shard != log.shard || frame.shard != log.shard {
        return Err(Violation::Foreign);
    }
    if range.origin != *origin {
        return Err(Violation::Origin {
            certified: origin.clone(),
            found: range.origin,
        });
    }
    Ok((range, header.body, header.stages))
}

/// Checks that every agent could apply the body; the error is the reason.
pub(super) fn body(seal: &BodySeal, origin: &RegionName, body: &Bytes) -> Result<(), UnusableBody> {
    seal.check(body)?;
    body::open(seal.codec, origin, body.clone())?;
    Ok(())
}
