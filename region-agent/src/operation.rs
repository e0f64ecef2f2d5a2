//! The one operation core that every door translates to: an [`Operation`] goes in, an [`Outcome`]
//! or a [`Refusal`] comes out. No door decides anything beyond its own syntax.

use std::time::Duration;

use bytes::Bytes;
use isthmus_replication::cell::ContentType;
use isthmus_replication::change::Op;
use isthmus_replication::names::{BucketName, Key, RegionName};
use isthmus_replication::session_token::SessionToken;
use isthmus_replication::time::Wall;
use isthmus_replication::trace::TraceContext;
use isthmus_replication::version::Version;

mod core;
mod policy;
mod refusal;
mod wait;

pub use self::core::Core;
pub use policy::Policy;
pub use refusal::Refusal;

/// A client's request.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Sets or deletes a key.
    Write(Write),
    /// Reads a key.
    Get(Get),
    /// Lists keys.
    List(List),
}

/// Sets or deletes a key.
#[derive(Debug, Clone)]
pub struct Write {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: Key,
    /// What is written.
    pub op: Op,
    /// How long a value lives. None for the bucket's ttl, and for a delete.
    pub ttl: Option<Duration>,
    /// Which regions must have it before it is acknowledged.
    pub consistency: Consistency,
    /// How long the caller waits.
    pub timeout: Duration,
    /// What the caller has seen: the answer's session continues from it.
    pub session: Option<SessionToken>,
    /// The trace that the caller is part of.
    pub trace: Option<TraceContext>,
    /// Whether an operator follows the write: its trace is then recorded as given, whatever clients
    /// may decide.
    pub followed: bool,
}

/// Reads a key.
#[derive(Debug, Clone)]
pub struct Get {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: Key,
    /// What the caller has seen and must see again.
    pub session: Option<SessionToken>,
    /// How long the caller waits for that.
    pub timeout: Duration,
}

/// Lists the live keys of a bucket in order.
#[derive(Debug, Clone)]
pub struct List {
    /// The bucket.
    pub bucket: BucketName,
    /// Only keys that begin with this.
    pub prefix: String,
    /// Only keys after this one.
    pub after: Option<Key>,
    /// The most keys to return, 1 to [`LIST_LIMIT`].
    pub limit: usize,
    /// What the caller has seen and must see again.
    pub session: Option<SessionToken>,
    /// How long the caller waits for that.
    pub timeout: Duration,
}

/// The most keys of one page.
pub const LIST_LIMIT: usize = 1000;
/// How long a caller waits if it names no time.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time that a caller may wait.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Which regions must have a write in their logs before it is acknowledged (design.md section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// This region.
    #[default]
    Region,
    /// More than half of the group's unfenced regions.
    Majority,
    /// All of the group's unfenced regions.
    All,
}

impl Consistency {
    /// How many of `members` regions must have a write, this region among them.
    #[must_use]
    pub fn needed(self, members: usize) -> usize {
        match self {
            Self::Region => 1,
            Self::Majority => members / 2 + 1,
            Self::All => members,
        }
    }

    /// Parses `region`, `majority` or `all`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "region" => Some(Self::Region),
            "majority" => Some(Self::Majority),
            "all" => Some(Self::All),
            _ => None,
        }
    }
}

/// The result of an operation.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Durable in this region's log and readable on this agent.
    Written(Written),
    /// A live value.
    Found(Found),
    /// No live value.
    Absent {
        /// The tombstone in its place, if there is one.
        tombstone: Option<Tombstone>,
        /// What the caller has seen.
        session: SessionToken,
    },
    /// One page of keys.
    Listed(Listed),
}

/// An acknowledged write.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its version.
    pub version: Version,
    /// What a later read must see.
    pub session: SessionToken,
    /// The regions that have it, ordered; this one among them.
    pub regions: Vec<RegionName>,
    /// A newer write of the key had already won.
    pub superseded: bool,
}

/// A live value.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its bytes.
    pub value: Bytes,
    /// Their media type.
    pub content_type: ContentType,
    /// The version of the write.
    pub version: Version,
    /// When this agent applied it.
    pub applied_at: Wall,
    /// What the caller has seen.
    pub session: SessionToken,
}

/// A delete, or a value that has expired.
#[derive(Debug, Clone)]
pub struct Tombstone {
    /// The version of the write.
    pub version: Version,
    /// When this agent applied it.
    pub applied_at: Wall,
}

/// One page of keys.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The keys with their versions, in order.
    pub keys: Vec<(Key, Version)>,
    /// The key after which the next page begins; none at the end.
    pub next: Option<Key>,
    /// What the caller has seen.
    pub session: SessionToken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_is_more_than_half_and_all_is_all() {
        let needed = |members| {
            [Consistency::Region, Consistency::Majority, Consistency::All].map(|c| c.needed(members))
        };
        assert_eq!(needed(1), [1, 1, 1]);
        assert_eq!(needed(2), [1, 2, 2]);
        assert_eq!(needed(3), [1, 2, 3]);
        assert_eq!(needed(4), [1, 3, 4]);
    }
}
