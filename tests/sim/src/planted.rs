//! Planted faults: each must be found within a number of seeds.

use std::process::ExitCode;

use isthmus_replication::planted::Planted;

use crate::many;
use crate::plan::UnknownName;

/// Which faults, and within how many seeds.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only this one
    #[arg(long, value_parser = parse)]
    only: Option<Planted>,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Most seeds for each
    #[arg(long, default_value_t = 200)]
    count: u64,
    /// Seeds at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// Parses the name of a planted fault.
///
/// # Errors
/// When the name is unknown; the text lists all names.
pub fn parse(name: &str) -> Result<Planted, UnknownName> {
    let found = Planted::ALL.into_iter().find(|fault| fault.name() == name);
    found.ok_or_else(|| UnknownName::of(&Planted::ALL.map(Planted::name)))
}

/// Plants one fault after the other and prints the row of docs/testing.md for each. Fails if one is
/// not found.
///
/// # Errors
/// Never; a seed whose process cannot be started counts as failed.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut all_found = true;
    println!("| planted | found after seeds | by |\n|---|---|---|");
    for fault in Planted::ALL {
        if arguments.only.is_some_and(|only| only != fault) {
            continue;
        }
        let found = many::first_failure(arguments.from, arguments.count, arguments.jobs, fault.name());
        match found {
            Some((seed, violation)) => {
                let shown: String = violation.chars().take(140).collect();
                println!("| {} | {} | {shown} |", fault.name(), seed - arguments.from + 1);
            }
            None => {
                all_found = false;
                println!("| {} | not within {} | |", fault.name(), arguments.count);
            }
        }
    }
    Ok(if all_found {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
