//! The verdicts of a fold.

use super::{Barrier, Cursor, Kind, Local, MarkRecord, MessageId, RegionName, Sequence};
use crate::header::{LifeLink, SyncRecord};
use crate::planted::{self, Planted};

/// The last token of a log subject. It shows who may publish there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectToken {
    /// A region. In its own log, its agents publish batches there; in other regions' logs, gateways
    /// publish its ranges.
    Origin(RegionName),
    /// `_agent`: marks, barriers, lives, memberships, syncs, restored writes.
    Agent,
    /// `_gateway`: gaps.
    Gateway,
}

impl SubjectToken {
    /// Parses the last token of a subject; none if it is not a valid one.
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        match token {
            "_agent" => Some(Self::Agent),
            "_gateway" => Some(Self::Gateway),
            region => RegionName::parse(region).ok().map(Self::Origin),
        }
    }

    /// The token as it is written in a subject.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Origin(region) => region.as_str(),
            Self::Agent => "_agent",
            Self::Gateway => "_gateway",
        }
    }
}

/// A message's verdict, the same for every reader.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It counts.
    Accepted(Accepted),
    /// It changes nothing.
    Void(Void),
    /// Its kind or codec is unknown to this reader: the shard stops here, and the position is
    /// unchanged.
    Stop {
        /// "kind" or "codec".
        what: &'static str,
        /// Its number.
        number: u32,
    },
}

/// What was accepted.
#[derive(Debug, Clone, PartialEq)]
pub enum Accepted {
    /// Local writes: apply the body.
    Batch(Local),
    /// A range of another region: apply the body, unless it is a gap.
    Range {
        /// The region.
        origin: RegionName,
        /// Its new cursor.
        cursor: Cursor,
        /// Its changes could not be decoded and are missing.
        gap: bool,
    },
    /// A mark: check the body's digest.
    Mark(MarkRecord),
    /// A barrier.
    Barrier(Barrier),
    /// A new life of this log.
    Life(LifeLink),
    /// A new membership.
    Membership {
        /// The message.
        message_id: MessageId,
        /// Its number.
        number: u64,
    },
    /// A record of a sync: apply the body of one with cells.
    Sync(SyncRecord),
    /// Local writes that were given back: apply the body.
    Restored {
        /// Writer and stamps.
        local: Local,
        /// Whether this agent has given back everything.
        ended: bool,
    },
}

impl Accepted {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Batch(_) => Kind::Batch,
            Self::Range { gap: false, .. } => Kind::Range,
            Self::Range { gap: true, .. } => Kind::Gap,
            Self::Mark(_) => Kind::Mark,
            Self::Barrier(_) => Kind::Barrier,
            Self::Life(_) => Kind::Life,
            Self::Membership { .. } => Kind::Membership,
            Self::Sync(_) => Kind::Sync,
            Self::Restored { .. } => Kind::Restored,
        }
    }

    /// Whether it carries a stamp of this region. An otherwise empty range is sent only for such a
    /// record (design.md section 5); without this rule two regions would echo each other's ranges
    /// forever.
    #[must_use]
    pub fn carries_own_stamp(&self) -> bool {
        matches!(
            self,
            Self::Batch(_) | Self::Restored { .. } | Self::Mark(_) | Self::Barrier(_)
        ) || planted::is(Planted::ForwardedAgain) && matches!(self, Self::Range { .. })
    }

    /// Whether its body holds changes that originated in this region.
    #[must_use]
    pub fn carries_own_changes(&self) -> bool {
        matches!(self, Self::Batch(_) | Self::Restored { .. })
            || planted::is(Planted::ForwardedAgain) && matches!(self, Self::Range { .. })
    }
}

/// Why a message is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Void {
    /// Its header can't be read.
    #[error("malformed header")]
    Malformed,
    /// It names another set or shard.
    #[error("of another set or shard")]
    Foreign,
    /// Its kind does not belong under its subject's last token.
    #[error("kind under a token that is not its own")]
    WrongToken,
    /// The log has no life yet.
    #[error("before the log's first life")]
    NoLife,
    /// The same message was read before.
    #[error("repeated message id")]
    Repeated,
    /// A stamp is not above the admission floor ([`super::Fold::admission_floor`]): it is
    /// `max_behind` or more behind the highest one, or among those whose identifiers were dropped.
    #[error("stamped too far behind the log")]
    TooLate,
    /// A stamp is more than `max_ahead` ahead of the log's clock.
    #[error("stamped too far ahead of the log's clock")]
    ClockAhead,
    /// The range does not begin where the next range has to begin.
    #[error("range does not begin at {next}")]
    NotNext {
        /// Where it has to begin.
        next: Sequence,
    },
    /// The range follows a message other than the one at the origin's cursor.
    #[error("range after another message than the cursor's")]
    OtherHistory,
    /// The origin's lives do not include the cursor's life.
    #[error("range of a lineage that does not include the cursor's life")]
    UnknownLineage,
    /// The range is of a life that has ended.
    #[error("range of a life that ended")]
    OlderLife,
    /// The mark is not newer than the last one, or describes a position that was not folded.
    #[error("mark not newer than the last")]
    StaleMark,
    /// The record's life or parent is not the current life.
    #[error("not of the current life")]
    LifeNotCurrent,
    /// The record is not the next one of the sync that is under way.
    #[error("not the next record of the current sync")]
    NotNextOfSync,
    /// The membership's number is not above the last one.
    #[error("membership not newer than the last")]
    MembershipNotNewer,
}

impl Void {
    /// The name of the reason in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Foreign => "foreign",
            Self::WrongToken => "wrong_token",
            Self::NoLife => "no_life",
            Self::Repeated => "repeated",
            Self::TooLate => "too_late",
            Self::ClockAhead => "clock_ahead",
            Self::NotNext { .. } => "not_next",
            Self::OtherHistory => "other_history",
            Self::UnknownLineage => "unknown_lineage",
            Self::OlderLife => "older_life",
            Self::StaleMark => "stale_mark",
            Self::LifeNotCurrent => "life_not_current",
            Self::NotNextOfSync => "not_next_of_sync",
            Self::MembershipNotNewer => "membership_not_newer",
        }
    }
}

/// The log does not continue at the fold's position: the reader needs a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log continues at {found} where {expected} was expected")]
pub struct Gone {
    /// The sequence that was expected.
    pub expected: Sequence,
    /// The sequence that was found.
    pub found: Sequence,
}
