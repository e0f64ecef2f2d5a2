//! One seed.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use tracing::Level;

use crate::world::World;
use crate::{disk, entropy, trace};

/// Which seed, and how much of it is shown.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The seed
    seed: u64,
    #[command(flatten)]
    given: crate::plan::Given,
    /// Least level that is printed
    #[arg(long, default_value = "info")]
    level: Level,
    /// Plant this fault
    #[cfg(feature = "planted")]
    #[arg(long, value_parser = crate::planted::parse)]
    planted: Option<isthmus_replication::planted::Planted>,
    /// Print one line of JSON in the end and nothing else
    #[arg(long)]
    json: bool,
}

/// The result of one seed, for programs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Summary {
    /// The seed.
    pub seed: u64,
    /// The checks that failed.
    pub violations: Vec<String>,
    /// How often each fault happened.
    pub fired: BTreeMap<String, u64>,
    /// The enabled faults.
    pub on: Vec<String>,
    /// The hash of the trace.
    pub trace: String,
    /// The number of lines in the trace.
    pub lines: u64,
    /// Simulated seconds.
    pub seconds: f64,
    /// Acknowledged writes.
    pub acknowledged: u64,
    /// Answered reads.
    pub read: u64,
    /// Refused operations.
    pub refused: u64,
    /// Writes with an unknown outcome.
    pub unknown: u64,
    /// Ranges that stand for more changes than they bring.
    pub conflated: u64,
    /// How often a reported lag was compared with the true one.
    pub lags: u64,
    /// How often a part of two regions' stores had to be equal.
    pub compared: u64,
    /// Writes that were overwritten unseen.
    pub conflicts: u64,
}

/// Simulates a seed. Fails if a check failed.
///
/// # Errors
/// When the simulation itself fails.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "planted")]
    if let Some(fault) = arguments.planted {
        isthmus_replication::planted::plant(fault);
    }
    entropy::seed(arguments.seed);
    disk::begin()?;
    trace::begin((!arguments.json).then_some(arguments.level))?;
    let world = World::new(arguments.seed, &arguments.given)?;
    let on = world
        .plan
        .faults
        .iter()
        .map(|fault| fault.name().to_owned())
        .collect();
    let report = world.run()?;
    let (hash, lines) = trace::sum();
    let summary = Summary {
        seed: arguments.seed,
        fired: report
            .fired
            .iter()
            .map(|(fault, times)| (fault.name().to_owned(), *times))
            .collect(),
        on,
        trace: format!("{hash:016x}"),
        lines,
        seconds: report.lasted.as_secs_f64(),
        acknowledged: report.outcomes.acknowledged,
        read: report.outcomes.read,
        refused: report.outcomes.refused,
        unknown: report.outcomes.unknown,
        conflated: report.conflated,
        lags: report.lags,
        compared: report.compared,
        conflicts: report.conflicts,
        violations: report.violations,
    };
    if arguments.json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    }
    Ok(if summary.violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
