//! The twin on NATS JetStream.
//!
//! [`Connection`] is the one connection of a process to its region's NATS; the four ports hang from it. It never gives
//! up: whatever a server that is away or an election leaves unanswered comes back as a value, and reading goes on.

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
