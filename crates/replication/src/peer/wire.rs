//! The protobuf messages between processes of one region. Tags are never reused: processes of two
//! versions may meet.

use prost::Message;

use crate::wire::{Cursor, Life, LifeLink};

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Position {
    #[prost(message, optional, tag = "1")]
    pub life: Option<Life>,
    #[prost(uint64, tag = "2")]
    pub sequence: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PeerCursors {
    #[prost(string, tag = "1")]
    pub group: String,
    #[prost(uint32, tag = "2")]
    pub partition: u32,
    #[prost(string, tag = "3")]
    pub gateway: String,
    #[prost(message, repeated, tag = "4")]
    pub peers: Vec<PeerCursor>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PeerCursor {
    #[prost(string, tag = "1")]
    pub peer: String,
    #[prost(bool, tag = "2")]
    pub connected: bool,
    #[prost(message, optional, tag = "3")]
    pub cursor: Option<Cursor>,
    #[prost(message, optional, tag = "4")]
    pub applied: Option<Position>,
    #[prost(bool, tag = "5")]
    pub stuck: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AppliedPositions {
    #[prost(string, tag = "1")]
    pub group: String,
    #[prost(uint32, tag = "2")]
    pub partition: u32,
    #[prost(string, tag = "3")]
    pub agent: String,
    #[prost(fixed64, tag = "4")]
    pub run: u64,
    #[prost(message, optional, tag = "5")]
    pub own: Option<Position>,
    #[prost(uint64, tag = "6")]
    pub checkpointed: u64,
    #[prost(bool, tag = "7")]
    pub needs_sync: bool,
    #[prost(message, repeated, tag = "8")]
    pub origins: Vec<OriginApplied>,
    #[prost(message, repeated, tag = "9")]
    pub runways: Vec<Runway>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Runway {
    #[prost(string, tag = "1")]
    pub peer: String,
    #[prost(uint64, tag = "2")]
    pub millis: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OriginApplied {
    #[prost(string, tag = "1")]
    pub origin: String,
    #[prost(message, optional, tag = "2")]
    pub applied: Option<Position>,
    #[prost(fixed64, tag = "3")]
    pub appended: u64,
    #[prost(message, optional, tag = "5")]
    pub delay: Option<Delay>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Delay {
    #[prost(message, repeated, tag = "1")]
    pub stages: Vec<StageTook>,
    #[prost(uint64, optional, tag = "2")]
    pub uncertainty: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StageTook {
    /// Its index in the order of stages, from 0.
    #[prost(uint32, tag = "1")]
    pub stage: u32,
    #[prost(uint64, tag = "2")]
    pub micros: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PeerDoubt {
    #[prost(string, tag = "1")]
    pub group: String,
    #[prost(uint32, tag = "2")]
    pub partition: u32,
    #[prost(string, tag = "3")]
    pub gateway: String,
    #[prost(string, tag = "4")]
    pub peer: String,
    #[prost(message, optional, tag = "5")]
    pub cursor: Option<Cursor>,
    #[prost(message, repeated, tag = "6")]
    pub landmarks: Vec<Cursor>,
    #[prost(message, repeated, tag = "7")]
    pub lineage: Vec<LifeLink>,
}
