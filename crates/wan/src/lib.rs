//! A wide-area network in user space: TCP proxies between regions on one machine.
//!
//! Every ordered pair of regions has one *path* ([`Conditions`]: delay, jitter, rate, cut, black
//! hole). A *link* is a loopback listener that represents a gateway of another region: bytes of a
//! connection dialled from `a` to `b` travel on the path `a → b`, the answers on `b → a`.
//! Conditions can change while connections are open.
//!
//! The faults:
//! - **delay** is added to each direction and pipelined: a chunk is due at its arrival plus the
//!   delay, so the delay itself does not limit the bandwidth (a queue of at most 8 MiB per
//!   direction and connection does, with back-pressure).
//! - **cut** is a partition: nothing passes, nothing closes, nothing is lost. Connections stall and
//!   continue after the heal, as with TCP's retransmission. The proxy accepts a new connection but
//!   stays silent until both directions are open; if the dialler gives up before that, the
//!   connection never reaches the target. A one-way cut stalls only that direction.
//! - **black hole**: existing connections are half-open for ever, even after the heal: whatever
//!   either end sends is accepted and lost, and neither end sees a close or a reset. New
//!   connections are lost the same way until the heal.
//! - **reset**: every connection of the pair ends with a TCP reset, once.
//!
//! Absent by design: packet loss and reordering (TCP hides them), DNS, anything outside loopback.

mod command;
mod conditions;
mod connection;
mod control;
mod direction;
mod link;
mod network;
mod secret;

pub use command::{Command, CommandAnswer, PathReport};
pub use conditions::{Conditions, Cut, Shape};
pub use control::{ControlClient, ControlError};
pub use link::Link;
pub use network::{CommandError, Wan};
pub use secret::{ControlSecret, NotASecret};
