//! The protobuf messages of samples. Tags are never reused, because processes and regions of two
//! versions can exchange samples.

use prost::Message;

use crate::wire::Life;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Question {
    #[prost(string, tag = "1")]
    pub group: String,
    #[prost(uint32, tag = "2")]
    pub partition: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Sample {
    #[prost(string, tag = "1")]
    pub group: String,
    #[prost(uint32, tag = "2")]
    pub partition: u32,
    #[prost(string, tag = "3")]
    pub agent: String,
    #[prost(fixed64, tag = "4")]
    pub run: u64,
    #[prost(message, repeated, tag = "5")]
    pub looks: Vec<Included>,
    /// One byte per part: the index of the look since which it has not changed.
    #[prost(bytes = "bytes", tag = "6")]
    pub since: bytes::Bytes,
    /// 16 bytes per part, little-endian.
    #[prost(bytes = "bytes", tag = "7")]
    pub digests: bytes::Bytes,
    /// Milliseconds since 1970.
    #[prost(uint64, tag = "8")]
    pub values_after_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Included {
    #[prost(message, repeated, tag = "1")]
    pub regions: Vec<At>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct At {
    #[prost(string, tag = "1")]
    pub region: String,
    #[prost(message, optional, tag = "2")]
    pub life: Option<Life>,
    #[prost(uint64, tag = "3")]
    pub sequence: u64,
}
