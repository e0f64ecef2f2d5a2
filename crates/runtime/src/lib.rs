//! The common parts of every Isthmus process.
//!
//! A binary defines its settings and how it is assembled; [`run()`] does the rest: arguments,
//! telemetry, signals, drain, exit code. This crate reads the clocks for the core ([`clock`]),
//! draws its randomness ([`random`]) and supervises the tasks of a process ([`supervise`]); no
//! other crate uses OpenTelemetry ([`telemetry`]). It knows nothing of NATS, TLS or HTTP.

pub mod blocking;
pub mod clock;
pub mod doctor;
pub mod events;
pub mod health;
pub mod metrics;
pub mod open_files;
pub mod printable;
pub mod private;
pub mod random;
mod reload;
pub mod run;
mod service;
pub mod settings;
pub mod supervise;
pub mod telemetry;
pub mod timestamp;
mod version;

pub use run::{Process, Program, run};
pub use version::version;
