//! The link: the protocol between two gateways of different regions, without the connection that
//! carries it.
//!
//! [`frame`] defines the bytes, [`lane`] the parts of frames that belong to one shard, and
//! [`session`] the order of frames. A link carries one direction of data: the dialer's own changes,
//! with one lane for each shard, to the region that accepted. Only control frames flow back. The
//! machines on the lanes are [`crate::sending`] and [`crate::receiving`].

mod check;
pub mod frame;
pub mod landmarks;
pub mod lane;
pub mod session;
mod wire;
