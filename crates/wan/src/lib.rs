//! A wide-area network in user space: TCP proxies between regions on one machine.
//!
//! Every ordered pair of regions has one *path* ([`Conditions`]: delay, jitter, rate, cut, black hole). A *link* is a
//! loopback listener that stands for a gateway of another region: bytes of a connection dialled from `a` to `b` travel on
//! the path `a → b`, the answers on `b → a`. Conditions change while connections live.
//!
//! What the faults mean:
//! - **delay** is added to each direction and pipelined: a chunk is due at its arrival plus the delay, so that the delay
//!   bounds no bandwidth (a queue of at most 8 MiB a direction and connection does, with back-pressure).
//! - **cut** is a partition: nothing passes, nothing closes, nothing is lost. Connections stall and go on after the heal, as
//!   TCP's retransmission would make them. A new connection is accepted by the proxy and stays silent until both
//!   directions are open; one whose dialler gave up meanwhile never reaches the target. One way: only that direction stalls.
//! - **black hole**: existing connections are half-open for ever, also after the heal: what either end sends is taken and
//!   lost, and neither end hears a close or a reset. New ones are lost the same way until the heal.
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
