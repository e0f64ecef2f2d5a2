//! What a range on a lane must be before it is held.

use bytes::Bytes;

use crate::body;
use crate::fold::LogName;
use crate::header::{BodySeal, Header, HeaderError, Kind, Range, Record, StageTimes};
use crate::link::lane::RangeFrame;
use crate::names::RegionName;

/// How a peer broke the protocol; the session ends with it as the reason.
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
    /// A record that is no range.
    #[error("a record of kind {0:?} on a data lane")]
    Kind(Kind),
    /// A range of another set or shard than the lane's.
    #[error("a range of another set or shard than the lane's")]
    Foreign,
    /// A range whose origin is not the region that the certificate speaks for.
    #[error("a range of region {found} under a certificate of {certified}")]
    Origin {
        /// The certificate's region.
        certified: RegionName,
        /// The range's.
        found: RegionName,
    },
    /// More bytes than the window allows.
    #[error("{held} bytes are held and {cost} more came through a window of {window}")]
    Credit {
        /// Bytes held.
        held: u64,
        /// Bytes that came.
        cost: u64,
        /// The window.
        window: u32,
    },
}

impl Violation {
    /// A word for metrics.
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

/// The header and the range of a frame that belongs on the lane of `origin` into `log`.
pub fn range(log: &LogName, origin: &RegionName, frame: &RangeFrame) -> Result<(Header, Range), Violation> {
    let header = Header::decode(&frame.header)?;
    let Record::Range(range) = &header.record else {
        return Err(Violation::Kind(header.record.kind()));
    };
    if header.set != log.set || header.shard != log.shard || frame.shard != log.shard {
        return Err(Violation::Foreign);
    }
    if range.origin != *origin {
        return Err(Violation::Origin {
            certified: origin.clone(),
            found: range.origin.clone(),
        });
    }
    let range = range.clone();
    Ok((header, range))
}

/// Whether every agent could apply the body; else why not.
pub fn body(header: &Header, origin: &RegionName, body: &Bytes) -> Result<(), String> {
    header.body.check(body).map_err(|broken| broken.to_string())?;
    body::open(header.body.codec, origin, body.clone()).map_err(|invalid| invalid.to_string())?;
    Ok(())
}

/// What is appended for a range whose body can't be: the cursor moves, and the region needs a sync for what is missing.
pub fn gap(log: &LogName, range: &Range, stages: StageTimes) -> Bytes {
    let header = Header {
        set: log.set.clone(),
        shard: log.shard.clone(),
        record: Record::Gap(range.clone()),
        body: BodySeal::of(&[], 0),
        stages,
    };
    header.encode()
}
