//! Why an operation was not done, and the stable code of each reason.

use isthmus_door::ErrorCode;
use isthmus_replication::coordinates::{Position, Sequence, Shard};
use isthmus_replication::names::{BucketName, RegionName};
use isthmus_replication::version::Version;

/// Why an operation was not done, or is not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The set does not know the bucket.
    #[error("the set has no bucket {bucket}; name it in set.yaml, or set `unknown: create` under \"*\"")]
    UnknownBucket {
        /// The bucket.
        bucket: BucketName,
    },
    /// Another region holds the bucket.
    #[error("bucket {bucket} is held in {}, not here", joined(regions))]
    Elsewhere {
        /// The bucket.
        bucket: BucketName,
        /// Where it is held.
        regions: Vec<RegionName>,
    },
    /// The value is larger than its bucket allows.
    #[error("the bucket takes values of at most {limit} bytes; raise its max_value or store less")]
    ValueTooLarge {
        /// The bucket's limit in bytes.
        limit: usize,
    },
    /// The session has seen what this set does not have.
    #[error(
        "Isthmus-Session is of another set: this one has no {shard} of region {region}; leave the header out"
    )]
    ForeignSession {
        /// The origin.
        region: RegionName,
        /// The shard.
        shard: Shard,
    },
    /// The agent can't answer yet, or can no longer.
    #[error("this agent is not ready: {reason}")]
    NotReady {
        /// Why.
        reason: String,
    },
    /// A later version wrote what this one can't read.
    #[error("this agent stopped at a message that it can't read ({what} {number}); upgrade it")]
    UpgradeNeeded {
        /// "kind" or "codec".
        what: &'static str,
        /// Its number.
        number: u32,
    },
    /// Too many writes wait.
    #[error("too many writes wait for the log; try again")]
    Overloaded,
    /// The deadline came before the write's turn.
    #[error(
        "the write timed out before it could be sent; nothing was written, so try again, or set a longer timeout"
    )]
    NotSent,
    /// The log does not answer.
    #[error("the log does not answer appends; nothing was written")]
    LogNotWritable,
    /// The log is full and nothing may be trimmed.
    #[error("the log is full and holds nothing that every agent has checkpointed; raise log.max_bytes")]
    LogFull,
    /// The store is above its soft limit.
    #[error("the store is above its soft memory limit; delete keys or raise memory.soft")]
    MemoryFull,
    /// The write's stamp was ahead of the log's clock.
    #[error("this agent's clock is ahead of the log's by more than max_ahead; the write is void")]
    ClockAhead,
    /// The write reached the log too late.
    #[error("the write reached the log later than max_behind allows and is void; try again")]
    TooLate,
    /// The write is void for another reason.
    #[error("the write is void: {0}; try again")]
    Void(&'static str),
    /// Too few regions can be reached. Nothing was written.
    #[error(
        "{} can't be reached and {needed} regions were asked for; nothing was written",
        joined(unreachable)
    )]
    RegionsUnreachable {
        /// Those that can't be reached.
        unreachable: Vec<RegionName>,
        /// How many regions were asked for.
        needed: usize,
    },
    /// The write is durable here; others have not confirmed it in time.
    #[error(
        "{} have the write, {} did not confirm it in time; it stays written",
        joined(regions),
        joined(missing)
    )]
    RegionsUnconfirmed {
        /// Its version.
        version: Version,
        /// The regions that have it.
        regions: Vec<RegionName>,
        /// The regions that have not confirmed it.
        missing: Vec<RegionName>,
    },
    /// The deadline came before the log's answer.
    #[error("the log did not answer in time: the write may or may not be in it")]
    OutcomeUnknown,
    /// This store has not applied what the session has seen.
    #[error("this region has applied {origin} through {}, the session has seen {}", have.map_or(Sequence::NONE, |have| have.sequence), want.sequence)]
    Stale {
        /// Whose log is behind.
        origin: RegionName,
        /// The position through which it is applied.
        have: Option<Position>,
        /// What the session has seen.
        want: Position,
    },
    /// What the session has seen was lost with a life of that region's log.
    #[error("the session has seen {origin} at {}, which was lost with life {} of its log; it needs a sync", want.sequence, want.life)]
    NeedsSync {
        /// Whose log.
        origin: RegionName,
        /// What the session has seen.
        want: Position,
    },
    /// A bug in this agent.
    #[error("a bug in this agent: {0}")]
    Internal(&'static str),
}

impl Refusal {
    /// The stable code. No other place maps refusals to codes.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownBucket { .. } | Self::Elsewhere { .. } => ErrorCode::UnknownBucket,
            Self::ValueTooLarge { .. } => ErrorCode::ValueTooLarge,
            Self::NotReady { .. } => ErrorCode::NotReady,
            Self::UpgradeNeeded { .. } => ErrorCode::UpgradeNeeded,
            Self::ForeignSession { .. } => ErrorCode::InvalidSession,
            Self::Overloaded | Self::NotSent => ErrorCode::Overloaded,
            Self::LogNotWritable => ErrorCode::LogNotWritable,
            Self::LogFull => ErrorCode::LogFull,
            Self::MemoryFull => ErrorCode::MemoryFull,
            Self::ClockAhead => ErrorCode::ClockAhead,
            Self::TooLate | Self::Void(_) => ErrorCode::TooLate,
            Self::RegionsUnreachable { .. } => ErrorCode::RegionsUnreachable,
            Self::RegionsUnconfirmed { .. } => ErrorCode::RegionsUnconfirmed,
            Self::OutcomeUnknown => ErrorCode::OutcomeUnknown,
            Self::Stale { .. } => ErrorCode::Stale,
            Self::NeedsSync { .. } => ErrorCode::NeedsSync,
            Self::Internal(_) => ErrorCode::Internal,
        }
    }

    /// The label of the outcome for metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        self.code().as_str()
    }
}

fn joined(regions: &[RegionName]) -> String {
    let names: Vec<&str> = regions.iter().map(RegionName::as_str).collect();
    if names.is_empty() {
        "no region".to_owned()
    } else {
        names.join(", ")
    }
}
