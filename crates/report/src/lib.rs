//! The reports of processes: status, lag, the live page, the report of a region to other regions,
//! and the findings of the doctor. Each fact has one type here, and all code that writes, reads or
//! describes it (OpenAPI) uses that type.
//!
//! Field names are published: never renamed. Reading is tolerant, since a report may come from
//! another version: unknown fields are ignored, a missing field has its empty value, and an unknown
//! label of a list is kept as it is ([`MaybeKnown`]). Reading is bounded too: names, labels, texts,
//! lists and numbers each have a limit, because a report may come from another region.
//!
//! Durations are [`std::time::Duration`] in Rust, and milliseconds or seconds as floating-point
//! numbers in JSON ([`duration`]).

mod bounded;

pub mod agent;
pub mod doctor;
pub mod duration;
pub mod gateway;
pub mod label;
pub mod lag;
pub mod live;
pub mod offset;
pub mod region;
pub mod stages;
pub mod trace;

pub use agent::AgentStatus;
pub use doctor::{DoctorReport, Finding, Verdict};
pub use gateway::GatewayStatus;
pub use label::{Labelled, LaneState, LinkState, MaybeKnown, ProcessKind, ShardPhase};
pub use lag::LagRow;
pub use offset::Offset;
pub use region::{RegionReport, UnreadableReport};
pub use stages::Stages;

#[cfg(test)]
mod tests;
