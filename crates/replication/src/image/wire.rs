//! The protobuf messages between the source and the target of an image. Tags are never reused.

use bytes::Bytes;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct PartRequest {
    #[prost(string, tag = "1")]
    pub group: String,
    #[prost(uint32, tag = "2")]
    pub partition: u32,
    #[prost(message, optional, tag = "3")]
    pub begun: Option<History>,
    #[prost(bytes = "bytes", tag = "4")]
    pub after: Bytes,
    #[prost(fixed64, tag = "5")]
    pub floor: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct History {
    #[prost(fixed64, tag = "1")]
    pub run: u64,
    #[prost(uint64, tag = "2")]
    pub rewinds: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Part {
    /// Why there is no part; empty if there is one.
    #[prost(string, tag = "1")]
    pub refused: String,
    #[prost(message, optional, tag = "2")]
    pub head: Option<Head>,
    #[prost(message, repeated, tag = "3")]
    pub rows: Vec<Row>,
    #[prost(uint64, tag = "4")]
    pub through: u64,
    #[prost(fixed64, tag = "5")]
    pub through_id: u64,
    #[prost(bool, tag = "6")]
    pub last: bool,
    #[prost(fixed64, tag = "7")]
    pub reclaimed: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Head {
    #[prost(message, optional, tag = "1")]
    pub history: Option<History>,
    #[prost(bytes = "bytes", tag = "2")]
    pub fold: Bytes,
    /// Sequences and identifiers, alternating.
    #[prost(fixed64, repeated, tag = "3")]
    pub known: Vec<u64>,
    #[prost(uint64, tag = "4")]
    pub cells: u64,
    #[prost(uint64, tag = "5")]
    pub bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Row {
    #[prost(bytes = "bytes", tag = "1")]
    pub name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub held: Bytes,
}
