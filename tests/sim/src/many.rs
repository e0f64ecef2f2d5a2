//! Many seeds, each in its own process, so that one seed cannot affect another, and one that hangs
//! can be ended.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::one::Summary;
use crate::plan::{Fault, Given};

/// A seed that takes longer has hung.
const LONGEST: Duration = Duration::from_secs(300);

/// Which seeds.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 200)]
    count: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Seeds at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    #[command(flatten)]
    given: Given,
    /// Stop at the first seed that fails
    #[arg(long)]
    first: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default)]
struct Batch {
    done: u64,
    failed: BTreeMap<u64, Vec<String>>,
    /// The failure of the newest seed; `None` if it passed.
    newest_failure: Option<String>,
    fired: BTreeMap<String, u64>,
    on: BTreeMap<String, u64>,
    acknowledged: u64,
    conflated: u64,
    seconds: f64,
}

/// Simulates seeds. Fails if one fails, or if an enabled fault never happened.
///
/// # Errors
/// Never; failures are in the report.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let Arguments {
        from, count, jobs, ..
    } = arguments;
    let batch = simulate_all(*from, *count, *jobs, &arguments.given.arguments(), |batch| {
        if let (false, Some(failure)) = (arguments.json, &batch.newest_failure) {
            eprintln!("{failure}");
        }
        if !arguments.json && batch.done % 100 == 0 {
            let seconds = began.elapsed().as_secs();
            eprintln!(
                "{} seeds in {seconds} s, {} failed",
                batch.done,
                batch.failed.len()
            );
        }
        arguments.first && !batch.failed.is_empty()
    });
    Ok(batch.report(arguments.json))
}

/// The lowest failing seed of those simulated until one fails, with its first violation; `None` if
/// all pass.
#[cfg(feature = "planted")]
pub fn first_failure(from: u64, count: u64, jobs: usize, planted: &str) -> Option<(u64, String)> {
    let arguments = [format!("--planted={planted}")];
    let batch = simulate_all(from, count, jobs, &arguments, |batch| !batch.failed.is_empty());
    let first = batch.failed.into_iter().next();
    first.map(|(seed, violations)| (seed, violations.into_iter().next().unwrap_or_default()))
}

/// Simulates seeds until `enough` returns true.
fn simulate_all(
    from: u64,
    count: u64,
    jobs: usize,
    more: &[String],
    enough: impl Fn(&Batch) -> bool + Sync,
) -> Batch {
    let next = AtomicU64::new(from);
    let end = from + count;
    let batch = Mutex::new(Batch::default());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let outcome = simulate(seed, more);
                    let mut batch = batch.lock().unwrap_or_else(PoisonError::into_inner);
                    batch.take(seed, outcome);
                    if enough(&batch) {
                        next.store(end, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    batch.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, thiserror::Error)]
enum NoSummary {
    #[error(transparent)]
    Process(#[from] io::Error),
    #[error("not done within {LONGEST:?}")]
    Late,
    #[error("it ended without a summary: isthmus-sim one {0} shows why")]
    BrokeOff(u64),
}

fn simulate(seed: u64, more: &[String]) -> Result<Summary, NoSummary> {
    let program = std::env::current_exe()?;
    let mut child = Command::new(program)
        .args(["one", &seed.to_string(), "--json"])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    // A summary may be larger than what a pipe holds: it is read while the seed runs.
    let stdout = child.stdout.take();
    let reading = std::thread::spawn(move || {
        let mut summary = Vec::new();
        let read = stdout.map(|mut stdout| stdout.read_to_end(&mut summary));
        read.transpose().map(|_| summary)
    });
    let began = Instant::now();
    while child.try_wait()?.is_none() {
        if began.elapsed() > LONGEST {
            child.kill().ok();
            child.wait().ok();
            return Err(NoSummary::Late);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let summary = reading.join().map_err(|_| NoSummary::BrokeOff(seed))??;
    serde_json::from_slice(&summary).map_err(|_| NoSummary::BrokeOff(seed))
}

impl Batch {
    fn take(&mut self, seed: u64, outcome: Result<Summary, NoSummary>) {
        self.done += 1;
        self.newest_failure = None;
        match outcome {
            Err(reason) => self.fail(seed, vec![reason.to_string()]),
            Ok(summary) => {
                self.acknowledged += summary.acknowledged;
                self.conflated += summary.conflated;
                self.seconds += summary.seconds;
                for (fault, times) in summary.fired {
                    *self.fired.entry(fault).or_default() += times;
                }
                for fault in summary.on {
                    *self.on.entry(fault).or_default() += 1;
                }
                if !summary.violations.is_empty() {
                    self.fail(seed, summary.violations);
                }
            }
        }
    }

    fn fail(&mut self, seed: u64, violations: Vec<String>) {
        let first = violations.first().map_or("", String::as_str);
        self.newest_failure = Some(format!("seed {seed} failed: {first}"));
        self.failed.insert(seed, violations);
    }

    fn report(&self, json: bool) -> ExitCode {
        let never: Vec<&str> = Fault::ALL
            .iter()
            .map(|fault| fault.name())
            .filter(|fault| self.on.contains_key(*fault) && !self.fired.contains_key(*fault))
            .collect();
        if json {
            let failed: Vec<u64> = self.failed.keys().copied().collect();
            let report = serde_json::json!({
                "seeds": self.done, "failed": failed, "fired": self.fired, "never": never,
                "acknowledged": self.acknowledged, "conflated": self.conflated, "simulated_seconds": self.seconds,
            });
            println!("{report}");
        } else {
            println!(
                "{} seeds, {:.0} simulated seconds, {} acknowledged writes, {} conflated ranges",
                self.done, self.seconds, self.acknowledged, self.conflated
            );
            for (fault, times) in &self.fired {
                println!(
                    "  {fault:<16} {times:>7} times, on in {} seeds",
                    self.on.get(fault).unwrap_or(&0)
                );
            }
            for fault in &never {
                println!("  {fault:<16} was on but never happened");
            }
            for (seed, violations) in self.failed.iter().take(20) {
                println!(
                    "seed {seed} failed: {}",
                    violations.first().map_or("", String::as_str)
                );
            }
            println!("{} of {} seeds failed", self.failed.len(), self.done);
        }
        if self.failed.is_empty() && never.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}
