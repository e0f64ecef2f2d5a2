//! `isthmus load --history`: records random writes in every region, then a read of every agent.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::failure::Failure;
use crate::folder::run_file::RunFile;
use crate::output::{json_line, line};
use crate::recording::{Counts, Recording};

/// Options of a recorded history.
#[derive(Args, Debug)]
pub(super) struct RecordHistory {
    /// Record random writes in every region to this file, then read every agent
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// How long to write
    #[arg(long, default_value_t = 30, requires = "history")]
    seconds: u64,
    /// How many keys are written, again and again
    #[arg(long, default_value_t = 500, requires = "history", value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// How many clients write at a time in each region
    #[arg(long, default_value_t = 8, requires = "history", value_parser = clap::value_parser!(u64).range(1..=256))]
    writers: u64,
    /// How many clients read at a time for each region, with sessions that they take from region to
    /// region
    #[arg(long, default_value_t = 1, requires = "history", value_parser = clap::value_parser!(u64).range(0..=256))]
    readers: u64,
    /// How long to wait until all agents agree, before they are read
    #[arg(long, default_value = "60s", requires = "history", value_parser = humantime::parse_duration)]
    settle: Duration,
}

impl RecordHistory {
    pub(super) async fn run(&self, dir: &Path, bucket: &str, json: bool) -> Result<(), Failure> {
        let file = self.history.clone().unwrap_or_default();
        let recording = Recording {
            file,
            bucket: bucket.to_owned(),
            lasts: Duration::from_secs(self.seconds),
            keys: self.keys,
            writers: self.writers,
            readers: self.readers,
            settle: self.settle,
        };
        let recorded = recording.record(&RunFile::of_running(dir)?).await?;
        let Counts {
            acknowledged,
            failed,
            unknown,
        } = recorded.counts;
        if json {
            json_line(&json!({"acknowledged": acknowledged, "failed": failed, "unknown": unknown}))?;
        } else {
            line(format_args!(
                "{acknowledged} acknowledged, {unknown} unknown, {failed} refused"
            ))?;
            line(format_args!(
                "check it with: isthmus-check {}",
                recording.file.display()
            ))?;
        }
        Ok(())
    }
}
