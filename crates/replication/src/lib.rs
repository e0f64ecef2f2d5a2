//! The replication core of Isthmus: every rule that decides what a region's state is.
//!
//! This crate is deterministic. It opens no sockets, reads no clock, draws no randomness and starts
//! no tasks: time comes in as [`time::Now`], randomness as a seed or an identifier, and messages as
//! values. State machines take input through `handle_*` methods and are drained through `poll_*`
//! methods; the shells (crates/log, crates/link and the binaries) do the IO between the two. The
//! simulator drives the same machines under virtual time.
//!
//! Reading order: [`coordinates`] and [`version`] (how positions and writes are named), [`cell`]
//! (the one merge rule), [`change`] and [`header`] (what is stored), [`fold`] (which stored
//! messages count), then the state machines.

pub mod agreement;
pub mod aside;
pub mod body;
pub mod cell;
pub mod change;
pub mod coordinates;
pub mod credit;
pub mod delay;
pub mod digests;
pub mod fold;
pub mod follow;
pub mod header;
pub mod history;
pub mod hlc;
mod ids;
pub mod image;
pub mod lease;
pub mod limits;
pub mod link;
pub mod names;
pub mod peer;
pub mod planted;
pub mod receiving;
pub mod reminder;
pub mod seen;
pub mod sending;
pub mod session_token;
pub mod store;
pub mod sync;
pub mod time;
pub mod trace;
pub mod version;
pub mod wire;
pub mod writer;
