//! Simulates Isthmus: many seeds, or one with its trace.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use isthmus_sim::{many, one};

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
    /// Plants faults and looks how many seeds find each
    #[cfg(feature = "planted")]
    Planted(isthmus_sim::planted::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::One(arguments) => one::run(&arguments),
        Command::Many(arguments) => many::run(&arguments),
        #[cfg(feature = "planted")]
        Command::Planted(arguments) => isthmus_sim::planted::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("isthmus-sim: {error:#}");
        ExitCode::from(2)
    })
}
