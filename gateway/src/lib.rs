//! A gateway: sends the changes of its region to every other one, and receives theirs (design.md
//! sections 1 and 8).
//!
//! The gateways of a region elect a leader. The leader has one link to each peer region and, on
//! each link, one lane per shard, which reads this region's log by itself ([`outbound`]). Every
//! gateway accepts links. What arrives is appended to the log of this region and acknowledged once
//! the fold has accepted it ([`inbound`]). **A gateway has no store and no state that a restart
//! would miss**: the cursor of the receiver is the truth, and two leaders at a time do no harm.
//!
//! Reading order: [`assembly`], [`shared`], then [`outbound`] and [`inbound`]. [`leader`] and
//! [`region`] cover what happens within the region.

pub mod addresses;
pub mod admin;
pub mod applied;
pub mod assembly;
pub mod backoff;
pub mod compared;
pub mod credentials;
pub mod cursors;
pub mod doctor;
pub mod inbound;
pub mod lag;
pub mod leader;
pub mod link_connection;
pub mod live;
pub mod metrics;
pub mod outbound;
pub mod outbox;
pub mod page;
pub mod region;
pub mod shared;
pub mod start;
pub mod status;
pub mod suspicion;
pub mod tables;
#[cfg(test)]
mod testing;
pub mod traces;
pub mod view;

pub use assembly::{Gateway, assemble};
