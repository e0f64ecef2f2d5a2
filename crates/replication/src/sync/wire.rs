//! The protobuf messages between the source and the target of a sync, and the body of its records.
//! Tags are never reused.

use bytes::Bytes;
use prost::Message;

use crate::wire::OriginState;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(string, tag = "1")]
    pub group: String,
    #[prost(uint32, tag = "2")]
    pub partition: u32,
    #[prost(message, optional, tag = "3")]
    pub begun: Option<Begun>,
    #[prost(message, optional, tag = "4")]
    pub ask: Option<Ask>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Begun {
    #[prost(string, tag = "1")]
    pub agent: String,
    #[prost(fixed64, tag = "2")]
    pub run: u64,
    #[prost(uint64, tag = "3")]
    pub rewinds: u64,
    #[prost(fixed64, tag = "4")]
    pub collected: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Ask {
    /// Empty: the first cell.
    #[prost(bytes = "bytes", tag = "1")]
    pub after: Bytes,
    /// Empty: the last cell.
    #[prost(bytes = "bytes", tag = "2")]
    pub through: Bytes,
    #[prost(fixed64, tag = "3")]
    pub floor: u64,
    /// The cells of a span; 0 asks for the cells themselves.
    #[prost(uint32, tag = "4")]
    pub span: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SourceReply {
    /// Why there is none; empty if there is one.
    #[prost(string, tag = "1")]
    pub refused: String,
    #[prost(bool, tag = "2")]
    pub lost: bool,
    #[prost(message, optional, tag = "3")]
    pub beginning: Option<Beginning>,
    #[prost(message, optional, tag = "4")]
    pub spans: Option<Spans>,
    #[prost(message, optional, tag = "5")]
    pub cells: Option<Cells>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Beginning {
    #[prost(message, optional, tag = "1")]
    pub begun: Option<Begun>,
    #[prost(message, repeated, tag = "2")]
    pub positions: Vec<OriginState>,
    #[prost(uint64, tag = "3")]
    pub cells: u64,
    #[prost(uint64, tag = "4")]
    pub bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Spans {
    #[prost(message, repeated, tag = "1")]
    pub spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Span {
    /// Empty: to the question's end.
    #[prost(bytes = "bytes", tag = "1")]
    pub last: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub digest: Bytes,
    #[prost(uint64, tag = "3")]
    pub cells: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Cells {
    #[prost(fixed64, tag = "1")]
    pub floor: u64,
    /// Empty: to the question's end.
    #[prost(bytes = "bytes", tag = "2")]
    pub through: Bytes,
    #[prost(message, repeated, tag = "3")]
    pub rows: Vec<Row>,
}

/// A cell as it is stored.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Row {
    #[prost(bytes = "bytes", tag = "1")]
    pub name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub held: Bytes,
}

/// The body of a record with cells.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Body {
    #[prost(message, repeated, tag = "1")]
    pub rows: Vec<Row>,
    #[prost(message, repeated, tag = "2")]
    pub lacked: Vec<Lacked>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Lacked {
    #[prost(bytes = "bytes", tag = "1")]
    pub name: Bytes,
    #[prost(fixed64, tag = "2")]
    pub hlc: u64,
    #[prost(string, tag = "3")]
    pub region: String,
    #[prost(fixed64, tag = "4")]
    pub writer: u64,
}
