//! The implementation of the ports on NATS JetStream.
//!
//! [`Connection`] is a process's single connection to its region's NATS; the four ports use it. It
//! never gives up: a request that an unreachable server or an election leaves unanswered returns an
//! error value, and readers continue.

mod append;
mod connection;
mod journal;
mod lease;
mod lease_watch;
mod log;
mod message;
mod peer;
mod ports;
mod read;
mod request;
mod session;
mod slot_consumers;
mod slots;
mod stream;
mod survey;

pub use connection::{Connection, ConnectionSettings, ConnectionState};
pub use session::NoConsumer;
pub use slots::Readers;
pub use survey::{Server, Surveyed};
