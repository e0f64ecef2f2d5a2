//! The protobuf form of a cell in a checkpoint. Persisted: tags are never reused.

use bytes::Bytes;
use prost::Message;

use crate::wire::SeenEntry;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Held {
    #[prost(fixed64, tag = "1")]
    pub hlc: u64,
    #[prost(string, tag = "2")]
    pub region: String,
    #[prost(fixed64, tag = "3")]
    pub writer: u64,
    #[prost(message, repeated, tag = "4")]
    pub seen: Vec<SeenEntry>,
    #[prost(uint64, tag = "5")]
    pub expires_at_ms: u64,
    #[prost(uint32, tag = "6")]
    pub content: u32,
    #[prost(string, tag = "7")]
    pub content_type: String,
    #[prost(bytes = "bytes", tag = "8")]
    pub value: Bytes,
    #[prost(fixed64, tag = "9")]
    pub applied_at: u64,
}
