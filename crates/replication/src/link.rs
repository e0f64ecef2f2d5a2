//! The link: what two gateways of different regions say to each other, without the connection that carries it.
//!
//! [`frame`] is the bytes, [`lane`] what frames say of one shard, [`session`] the order in which they may come. A link
//! carries one direction of data: the dialer's own changes, on a lane a shard, to the region that accepted. What comes
//! back is control. The machines on the lanes are [`crate::sending`] and [`crate::receiving`].

mod check;
pub mod frame;
pub mod landmarks;
pub mod lane;
pub mod session;
mod wire;
