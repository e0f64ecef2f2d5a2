//! The operator's command line of Isthmus, as a library for its two programs `isthmus` and
//! `isthmus-check`.

mod chaos;
mod client;
mod commands;
mod demo;
pub mod failure;
pub mod fleet;
pub mod folder;
pub mod history;
mod lab;
pub mod output;
mod recording;
pub mod rows;

pub use commands::{Cli, run};
