//! Agents as processes, against a real nats-server.
#![allow(clippy::unwrap_used, missing_docs)]

mod consistency;
mod door;
mod foreign;
mod held;
mod hostile;
mod limits;
mod lives;
mod lost;
mod open_files;
mod passing;
mod private;
mod restart;
mod support;
mod traces;
mod writers;
