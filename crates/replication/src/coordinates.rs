//! Coordinates: lives, sequences, positions, shards, and the identifiers of writers and messages.

use std::fmt;

use crate::names::{BucketName, GroupName, Key};

/// One life of a log: the log between two losses of an acknowledged tail (design.md section 5).
///
/// Ordered by number, then by the random bits, which distinguish two lives that began under one
/// number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life {
    /// Greater than every number that its starter had seen.
    pub number: u64,
    /// 64 random bits.
    pub nonce: u64,
}

impl Life {
    /// Whether this life is unknown to a reader that knows the lives of a log through `held`: it is
    /// newer, or has the same number and replaces `held`.
    #[must_use]
    pub fn supersedes(self, held: Option<Self>) -> bool {
        held.is_none_or(|held| self != held && self.number >= held.number)
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:016x}", self.number, self.nonce)
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A stream sequence of a log. The first message has 1; [`Sequence::NONE`] is before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Before the first message.
    pub const NONE: Self = Self(0);

    /// The sequence after this one, saturating.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The sequence before this one; at least [`Sequence::NONE`].
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A place in a log. A sequence is comparable only within one life, and with its ancestors up to
/// their forks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The life of the log.
    pub life: Life,
    /// Through this sequence, inclusive.
    pub sequence: Sequence,
}

/// 64 random bits that identify one message. A retry carries the same ones. Zero names a message
/// without a readable header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MessageId(pub u64);

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{:016x}", self.0)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A sequence and the identifier of the message there, which shows whether a log still is what it
/// was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Anchor {
    /// The sequence.
    pub sequence: Sequence,
    /// The message there; zero at [`Sequence::NONE`].
    pub message_id: MessageId,
}

/// How far an origin's log has been accepted: through `position`, inclusive, where the origin's
/// message was `message_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Through this position, inclusive.
    pub position: Position,
    /// The origin's message at that position.
    pub message_id: MessageId,
}

/// The position of an origin's log, inclusive, through which every live agent of a region has
/// applied it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AppliedThrough(pub Position);

/// 64 random bits that a process draws at its start, for one run. Never stored, never reused
/// (design.md section 4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WriterId(pub u64);

impl WriterId {
    /// Parses what [`fmt::Display`] prints; none for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u64::from_str_radix(text, 16).ok().map(Self))?
    }
}

impl fmt::Debug for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{:016x}", self.0)
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The unit of storage and replication: one partition of one group (design.md section 3).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard {
    /// The group.
    pub group: GroupName,
    /// The partition, below the group's number of partitions.
    pub partition: u16,
}

impl Shard {
    /// The shard of a key: `xxh3(bucket, 0, key) mod partitions`, fixed for the life of the set.
    ///
    /// `partitions` is at least 1 (settings check it); 0 counts as 1.
    #[must_use]
    pub fn of_key(group: &GroupName, partitions: u16, bucket: &BucketName, key: &Key) -> Self {
        let mut hash = xxhash_rust::xxh3::Xxh3Default::new();
        hash.update(bucket.as_str().as_bytes());
        hash.update(&[0]);
        hash.update(key.as_str().as_bytes());
        let partition = (hash.digest() % u64::from(partitions.max(1))) as u16;
        Self {
            group: group.clone(),
            partition,
        }
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_supersedes_older_ones_and_another_of_its_number() {
        let life = |number, nonce| Life { number, nonce };
        assert!(life(1, 7).supersedes(None));
        assert!(life(2, 7).supersedes(Some(life(1, 9))));
        assert!(life(2, 7).supersedes(Some(life(2, 9))));
        assert!(!life(2, 7).supersedes(Some(life(2, 7))));
        assert!(!life(1, 9).supersedes(Some(life(2, 7))));
    }

    #[test]
    fn the_partition_of_a_key_is_fixed_for_ever() {
        let group = GroupName::parse("default").expect("a valid name");
        let shard = |bucket: &str, key: &str| {
            let bucket = BucketName::parse(bucket).expect("a valid name");
            Shard::of_key(&group, 4, &bucket, &Key::parse(key).expect("a valid key")).partition
        };
        let got: Vec<u16> = ["a", "b", "c", "cart/17", "é"]
            .iter()
            .map(|k| shard("carts", k))
            .collect();
        assert_eq!(got, GOLDEN);
    }

    const GOLDEN: [u16; 5] = [1, 3, 1, 0, 2];
}
