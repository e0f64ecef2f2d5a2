//! `isthmus-check`: judges a history that `isthmus load --history` wrote.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use isthmus_cli::failure::{Code, Failure};
use isthmus_cli::history::{Verdict, record, verdict};
use isthmus_cli::output::{counted, failed, json_line, line, usage};

const SHOWN: usize = 20;

/// Check a history: no acknowledged write may be lost
///
/// Every agent must hold, for each key, an acknowledged or unknown write that is at least as new as
/// the greatest acknowledged one, and all agents the same one; no session may have been shown
/// anything older than what it had seen. Exit 0 if so, 2 if not, 1 if the file can't be checked.
#[derive(Debug, Parser)]
#[command(
    name = "isthmus-check",
    version = isthmus_runtime::version(),
    after_help = "Example:\n  isthmus load --history writes.ndjson --dir shop --seconds 60 && isthmus-check writes.ndjson"
)]
struct Check {
    /// The history
    file: PathBuf,
    /// Print the whole verdict as one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let check = match Check::try_parse() {
        Ok(check) => check,
        Err(error) if usage(&error) => return ExitCode::SUCCESS,
        Err(_) => return Code::Settings.into(),
    };
    match judge(&check.file).and_then(|verdict| print(&verdict, check.json)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => Code::Difference.into(),
        Err(failure) => {
            failed(format_args!("isthmus-check: {}", check.file.display()), &failure);
            failure.code.into()
        }
    }
}

fn judge(file: &Path) -> Result<Verdict, Failure> {
    let source = File::open(file).map_err(Failure::environment)?;
    let history = record::read(source).map_err(Failure::environment)?;
    Ok(verdict::judge(&history))
}

fn print(verdict: &Verdict, json: bool) -> Result<bool, Failure> {
    if json {
        json_line(verdict)?;
        return Ok(verdict.violations.is_empty());
    }
    let Verdict {
        acknowledged,
        failed,
        unknown,
        keys,
        agents,
        session_reads,
        violations,
    } = verdict;
    line(format!(
        "{acknowledged} acknowledged, {unknown} unknown, {failed} refused; {session_reads} read with a session; {} on {}",
        counted(*keys, "key", "keys"),
        counted(*agents, "agent", "agents")
    ))?;
    for violation in violations.iter().take(SHOWN) {
        json_line(violation)?;
    }
    match violations.len() {
        0 => line("no acknowledged write is lost")?,
        count => line(counted(count, "violation", "violations"))?,
    }
    Ok(violations.is_empty())
}
