//! The command line: many seeds, or one with its trace.

use std::process::ExitCode;

use crate::{many, one};
use clap::{Parser, Subcommand};

/// Simulates Isthmus under faults that a seed decides.
#[derive(Debug, Parser)]
#[command(
    name = "isthmus-sim",
    version,
    after_help = "Example:\n  isthmus-sim one 42\n  isthmus-sim many --count 200"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Simulates one seed and prints its trace
    One(one::Arguments),
    /// Simulates many seeds, each in a process of its own
    Many(many::Arguments),
    /// Plants faults and shows after how many seeds each is found
    #[cfg(feature = "planted")]
    Planted(crate::planted::Arguments),
}

/// Runs the command of this process's arguments.
pub fn run() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::One(arguments) => one::run(&arguments),
        Command::Many(arguments) => many::run(&arguments),
        #[cfg(feature = "planted")]
        Command::Planted(arguments) => crate::planted::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("isthmus-sim: {error:#}");
        ExitCode::from(2)
    })
}
