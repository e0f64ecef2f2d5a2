//! The protobuf form of an entry. Persisted: tags are never reused.

use bytes::Bytes;
use prost::Message;

use crate::wire::Cursor;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Aside {
    #[prost(string, tag = "1")]
    pub group: String,
    #[prost(uint32, tag = "2")]
    pub partition: u32,
    #[prost(uint32, tag = "3")]
    pub reason: u32,
    #[prost(fixed64, tag = "4")]
    pub at: u64,
    #[prost(message, optional, tag = "5")]
    pub write: Option<AsideWrite>,
    #[prost(message, optional, tag = "6")]
    pub range: Option<AsideRange>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AsideWrite {
    #[prost(string, tag = "1")]
    pub bucket: String,
    #[prost(string, tag = "2")]
    pub key: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub field: Bytes,
    #[prost(message, optional, tag = "4")]
    pub version: Option<AsideVersion>,
    #[prost(uint64, tag = "5")]
    pub expires_at_ms: u64,
    #[prost(uint32, tag = "6")]
    pub content: u32,
    #[prost(string, tag = "7")]
    pub content_type: String,
    #[prost(bytes = "bytes", tag = "8")]
    pub value: Bytes,
    #[prost(message, optional, tag = "9")]
    pub winner: Option<AsideVersion>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AsideVersion {
    #[prost(fixed64, tag = "1")]
    pub hlc: u64,
    #[prost(string, tag = "2")]
    pub region: String,
    #[prost(fixed64, tag = "3")]
    pub writer: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AsideRange {
    #[prost(string, tag = "1")]
    pub origin: String,
    #[prost(uint64, tag = "2")]
    pub first: u64,
    #[prost(message, optional, tag = "3")]
    pub through: Option<Cursor>,
    #[prost(string, tag = "4")]
    pub detail: String,
    #[prost(bytes = "bytes", tag = "5")]
    pub body: Bytes,
}
