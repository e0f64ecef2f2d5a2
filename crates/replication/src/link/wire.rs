//! The protobuf messages of a link (docs/protocol.md). Tags are never reused: gateways of two
//! versions may meet.

use bytes::Bytes;
use prost::Message;

use crate::wire::{Cursor, Life, LifeLink};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Hello {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(message, optional, tag = "2")]
    pub party: Option<Party>,
    #[prost(message, repeated, tag = "3")]
    pub lanes: Vec<LaneOffer>,
    /// 0: the same as `version`, which is the least.
    #[prost(uint32, tag = "4")]
    pub newest: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Party {
    #[prost(string, tag = "1")]
    pub set: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub set_digest: Bytes,
    #[prost(uint64, tag = "3")]
    pub generation: u64,
    #[prost(string, tag = "4")]
    pub region: String,
    #[prost(string, tag = "5")]
    pub process: String,
    #[prost(fixed64, tag = "6")]
    pub run: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Shard {
    #[prost(string, tag = "1")]
    pub group: String,
    #[prost(uint32, tag = "2")]
    pub partition: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LaneOffer {
    #[prost(message, optional, tag = "1")]
    pub shard: Option<Shard>,
    #[prost(message, optional, tag = "2")]
    pub life: Option<Life>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Welcome {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(message, optional, tag = "2")]
    pub party: Option<Party>,
    #[prost(message, repeated, tag = "3")]
    pub lanes: Vec<LaneReport>,
}

/// The lane report of a Welcome, an Ack and a Reset.
#[derive(Clone, PartialEq, Message)]
pub(super) struct LaneReport {
    #[prost(message, optional, tag = "1")]
    pub shard: Option<Shard>,
    #[prost(uint64, tag = "2")]
    pub generation: u64,
    #[prost(message, optional, tag = "3")]
    pub life: Option<Life>,
    #[prost(message, optional, tag = "4")]
    pub cursor: Option<Cursor>,
    #[prost(message, optional, tag = "5")]
    pub applied_life: Option<Life>,
    #[prost(uint64, tag = "6")]
    pub applied: u64,
    #[prost(uint32, tag = "7")]
    pub window: u32,
    #[prost(uint32, tag = "8")]
    pub hold: u32,
    #[prost(bool, tag = "9")]
    pub needs_sync: bool,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Ping {
    #[prost(uint64, tag = "1")]
    pub number: u64,
    #[prost(fixed64, tag = "2")]
    pub sent: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Pong {
    #[prost(uint64, tag = "1")]
    pub number: u64,
    #[prost(fixed64, tag = "2")]
    pub ping_sent: u64,
    #[prost(fixed64, tag = "3")]
    pub received: u64,
    #[prost(fixed64, tag = "4")]
    pub sent: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub method: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub body: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Response {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub refused: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub body: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub text: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Goodbye {
    #[prost(uint32, tag = "1")]
    pub reason: u32,
    #[prost(string, tag = "2")]
    pub text: String,
}

/// The answer to the call `landmarks`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Landmarks {
    #[prost(message, repeated, tag = "1")]
    pub cursors: Vec<Cursor>,
    #[prost(message, repeated, tag = "2")]
    pub lineage: Vec<LifeLink>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Range {
    #[prost(message, optional, tag = "1")]
    pub shard: Option<Shard>,
    #[prost(uint64, tag = "2")]
    pub generation: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub header: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub body: Bytes,
}
