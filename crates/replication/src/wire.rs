//! The protobuf messages as stored and sent (docs/protocol.md). Tags are persisted: never reuse
//! one.
//!
//! These types are unchecked; the typed forms in [`crate::header`], [`crate::body`] and
//! [`crate::fold`] check them.
#![allow(missing_docs)]

use bytes::Bytes;
use prost::Message;

use crate::coordinates::WriterId;
use crate::hlc::Hlc;
use crate::limits;
use crate::names::RegionName;
use crate::seen::{Seen, Stamp};

mod elements;

pub(crate) use elements::elements;

/// A life of a log.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Life {
    #[prost(uint64, tag = "1")]
    pub number: u64,
    #[prost(fixed64, tag = "2")]
    pub nonce: u64,
}

/// A life and the point where it began.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct LifeLink {
    #[prost(message, optional, tag = "1")]
    pub life: Option<Life>,
    #[prost(message, optional, tag = "2")]
    pub parent: Option<Life>,
    #[prost(uint64, tag = "3")]
    pub fork: u64,
}

/// When a batch passed each stage, in microseconds of the log clock of the region where the stage
/// happened; 0 = unknown.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct StageTimes {
    #[prost(fixed64, tag = "1")]
    pub requested: u64,
    #[prost(fixed64, tag = "2")]
    pub published: u64,
    #[prost(fixed64, tag = "3")]
    pub appended: u64,
    #[prost(fixed64, tag = "4")]
    pub read: u64,
    #[prost(fixed64, tag = "5")]
    pub sent: u64,
    #[prost(fixed64, tag = "6")]
    pub received: u64,
    #[prost(sfixed64, tag = "7")]
    pub offset: i64,
    #[prost(fixed64, tag = "8")]
    pub uncertainty: u64,
    #[prost(fixed64, tag = "9")]
    pub oldest_appended: u64,
}

/// The header of a log message.
#[derive(Clone, PartialEq, Message)]
pub struct Header {
    #[prost(string, tag = "1")]
    pub set: String,
    #[prost(string, tag = "2")]
    pub group: String,
    #[prost(uint32, tag = "3")]
    pub partition: u32,
    #[prost(string, tag = "4")]
    pub origin: String,
    #[prost(message, optional, tag = "5")]
    pub life: Option<Life>,
    #[prost(uint64, tag = "6")]
    pub first: u64,
    #[prost(uint64, tag = "7")]
    pub through: u64,
    #[prost(fixed64, tag = "8")]
    pub message_id: u64,
    #[prost(fixed64, tag = "9")]
    pub lowest_stamp: u64,
    #[prost(fixed64, tag = "10")]
    pub highest_stamp: u64,
    #[prost(fixed64, tag = "11")]
    pub writer: u64,
    #[prost(uint32, tag = "12")]
    pub kind: u32,
    #[prost(uint32, tag = "13")]
    pub codec: u32,
    #[prost(uint32, tag = "14")]
    pub body_bytes: u32,
    #[prost(uint32, tag = "15")]
    pub plain_bytes: u32,
    #[prost(fixed32, tag = "16")]
    pub body_crc32c: u32,
    #[prost(message, optional, tag = "17")]
    pub stages: Option<StageTimes>,
    #[prost(message, repeated, tag = "18")]
    pub lineage: Vec<LifeLink>,
    #[prost(uint32, tag = "19")]
    pub changes: u32,
    #[prost(uint64, tag = "20")]
    pub described: u64,
    #[prost(fixed64, tag = "21")]
    pub described_id: u64,
    #[prost(message, optional, tag = "22")]
    pub membership: Option<Membership>,
    #[prost(bool, tag = "23")]
    pub ended: bool,
    #[prost(bool, tag = "25")]
    pub lost_before: bool,
    #[prost(fixed64, tag = "24")]
    pub previous_id: u64,
    #[prost(fixed64, tag = "26")]
    pub admission_floor: u64,
    #[prost(fixed64, repeated, tag = "27")]
    pub agents: Vec<u64>,
    #[prost(message, optional, tag = "28")]
    pub sync: Option<Sync>,
}

/// What a record of a sync adds to its header.
#[derive(Clone, PartialEq, Message)]
pub struct Sync {
    #[prost(fixed64, tag = "1")]
    pub begun: u64,
    #[prost(uint32, tag = "2")]
    pub step: u32,
    #[prost(string, tag = "3")]
    pub source: String,
    #[prost(message, repeated, tag = "4")]
    pub positions: Vec<OriginState>,
    #[prost(uint32, tag = "5")]
    pub number: u32,
    #[prost(fixed64, tag = "6")]
    pub collected: u64,
    #[prost(fixed64, tag = "7")]
    pub floor: u64,
    #[prost(bool, tag = "8")]
    pub all_members: bool,
}

/// The numbered membership record (design.md section 10).
#[derive(Clone, PartialEq, Message)]
pub struct Membership {
    #[prost(uint64, tag = "1")]
    pub number: u64,
    #[prost(string, repeated, tag = "2")]
    pub members: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub fenced: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub groups: Vec<String>,
    #[prost(uint64, tag = "5")]
    pub max_ahead_ms: u64,
    #[prost(uint64, tag = "6")]
    pub max_behind_ms: u64,
}

/// The body of a message that carries changes. Bodies concatenate: the bytes of two bodies, joined,
/// are the body of both.
#[derive(Clone, PartialEq, Message)]
pub struct Body {
    #[prost(message, repeated, tag = "1")]
    pub batches: Vec<Batch>,
}

/// Changes of one writer.
#[derive(Clone, PartialEq, Message)]
pub struct Batch {
    #[prost(string, tag = "1")]
    pub region: String,
    #[prost(fixed64, tag = "2")]
    pub writer: u64,
    #[prost(message, repeated, tag = "3")]
    pub changes: Vec<Change>,
}

/// One change.
#[derive(Clone, PartialEq, Message)]
pub struct Change {
    #[prost(uint32, tag = "1")]
    pub op: u32,
    #[prost(string, tag = "2")]
    pub bucket: String,
    #[prost(string, tag = "3")]
    pub key: String,
    #[prost(bytes = "bytes", tag = "4")]
    pub field: Bytes,
    #[prost(fixed64, tag = "5")]
    pub hlc: u64,
    #[prost(message, repeated, tag = "6")]
    pub seen: Vec<SeenEntry>,
    #[prost(uint64, tag = "7")]
    pub expires_at_ms: u64,
    #[prost(string, tag = "8")]
    pub content_type: String,
    #[prost(bytes = "bytes", tag = "9")]
    pub trace: Bytes,
    #[prost(bytes = "bytes", tag = "10")]
    pub value: Bytes,
}

/// One region's entry of `seen`.
#[derive(Clone, PartialEq, Message)]
pub struct SeenEntry {
    #[prost(string, tag = "1")]
    pub region: String,
    #[prost(fixed64, tag = "2")]
    pub hlc: u64,
    #[prost(fixed64, optional, tag = "3")]
    pub writer: Option<u64>,
}

impl SeenEntry {
    pub(crate) fn all_of(seen: &Seen) -> Vec<Self> {
        let entry = |(region, stamp): (&RegionName, Stamp)| Self {
            region: region.as_str().to_owned(),
            hlc: stamp.hlc.bits(),
            writer: (stamp != Stamp::of_any_writer(stamp.hlc)).then_some(stamp.writer.0),
        };
        seen.iter().map(entry).collect()
    }

    /// None if there are too many entries or a region name is invalid.
    pub(crate) fn read(entries: &[Self]) -> Option<Seen> {
        let mut seen = Seen::default();
        for entry in entries {
            let hlc = Hlc::from_bits(entry.hlc);
            let stamp = match entry.writer {
                Some(writer) => Stamp {
                    hlc,
                    writer: WriterId(writer),
                },
                None => Stamp::of_any_writer(hlc),
            };
            seen.note(&RegionName::parse(&entry.region).ok()?, stamp);
        }
        (entries.len() <= limits::REGIONS).then_some(seen)
    }
}

/// The cursor of an origin.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Cursor {
    #[prost(message, optional, tag = "1")]
    pub life: Option<Life>,
    #[prost(uint64, tag = "2")]
    pub sequence: u64,
    #[prost(fixed64, tag = "3")]
    pub message_id: u64,
}

/// The state of a fold, as written into marks and checkpoints.
#[derive(Clone, PartialEq, Message)]
pub struct FoldState {
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    #[prost(fixed64, tag = "2")]
    pub message_id: u64,
    #[prost(message, repeated, tag = "3")]
    pub lineage: Vec<LifeLink>,
    #[prost(fixed64, tag = "4")]
    pub highest_stamp: u64,
    #[prost(fixed64, tag = "5")]
    pub admission_floor: u64,
    #[prost(message, optional, tag = "6")]
    pub membership: Option<Membership>,
    #[prost(uint64, tag = "7")]
    pub mark_described: u64,
    #[prost(fixed64, tag = "8")]
    pub mark_stamp: u64,
    #[prost(message, repeated, tag = "9")]
    pub origins: Vec<OriginState>,
    /// Stamps and identifiers of recent local messages, 16 little-endian bytes each, ordered.
    #[prost(bytes = "bytes", tag = "10")]
    pub recent: Bytes,
    #[prost(uint64, tag = "11")]
    pub own_appended: u64,
    #[prost(bool, tag = "12")]
    pub lost_before: bool,
    #[prost(message, optional, tag = "13")]
    pub collected: Option<Collected>,
    /// The runs of the agents that the newest mark names.
    #[prost(fixed64, repeated, tag = "14")]
    pub agents: Vec<u64>,
    #[prost(message, optional, tag = "15")]
    pub restoring: Option<Restoring>,
    #[prost(message, optional, tag = "16")]
    pub syncing: Option<Syncing>,
}

/// The sync that is under way.
#[derive(Clone, PartialEq, Message)]
pub struct Syncing {
    /// The message that began it.
    #[prost(fixed64, tag = "1")]
    pub begun: u64,
    /// Records with cells so far.
    #[prost(uint32, tag = "2")]
    pub records: u32,
    /// The regions of which nothing is missing any more once it ends.
    #[prost(string, repeated, tag = "3")]
    pub heals: Vec<String>,
    /// The region whose store is compared.
    #[prost(string, tag = "4")]
    pub source: String,
}

/// Writes of a lost tail that may still be given back.
#[derive(Clone, PartialEq, Message)]
pub struct Restoring {
    /// The admission floor at the fork.
    #[prost(fixed64, tag = "1")]
    pub floor: u64,
    /// The runs of the agents that have not given back everything.
    #[prost(fixed64, repeated, tag = "2")]
    pub agents: Vec<u64>,
    /// Microseconds since 1970, by the log's clock.
    #[prost(fixed64, tag = "3")]
    pub until: u64,
}

/// The stamps through which tombstones are collected.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Collected {
    /// Of every bucket that has no floor of its own.
    #[prost(fixed64, tag = "1")]
    pub floor: u64,
}

/// A fold's state of one origin.
#[derive(Clone, PartialEq, Message)]
pub struct OriginState {
    #[prost(string, tag = "1")]
    pub region: String,
    #[prost(message, optional, tag = "2")]
    pub cursor: Option<Cursor>,
    #[prost(message, repeated, tag = "3")]
    pub lineage: Vec<LifeLink>,
    #[prost(fixed64, tag = "4")]
    pub highest_stamp: u64,
    #[prost(fixed64, tag = "5")]
    pub appended: u64,
    #[prost(bool, tag = "6")]
    pub needs_sync: bool,
    /// Set only while the origin needs a sync.
    #[prost(message, optional, tag = "7")]
    pub whole: Option<Cursor>,
    #[prost(fixed64, tag = "8")]
    pub floor: u64,
}

/// The body of a mark.
#[derive(Clone, PartialEq, Message)]
pub struct Mark {
    #[prost(fixed64, tag = "1")]
    pub wall: u64,
    #[prost(message, optional, tag = "2")]
    pub fold: Option<FoldState>,
    #[prost(bytes = "bytes", tag = "3")]
    pub digest: Bytes,
    #[prost(uint64, tag = "4")]
    pub cells: u64,
}
