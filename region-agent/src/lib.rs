//! The region agent: the door for applications, the writer of this region's log, and the store that
//! serves reads.
//!
//! Reading order: [`operation`] (what can be requested), [`shard`] (what one shard does),
//! [`checkpoint`] (what a restart does not have to read again), [`region`] (what agents do
//! together), [`door`] (translation to and from HTTP), [`agent`] (assembly).

pub mod admin;
pub mod agent;
pub mod checkpoint;
pub mod doctor;
pub mod door;
pub mod lag;
pub mod memory;
pub mod metrics;
pub mod operation;
pub mod peers;
pub mod region;
pub mod shard;
pub mod status;
pub mod traced;
