//! `isthmus load`: rows of a file, or a history of random writes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::record_history::RecordHistory;
use crate::client::bulk;
use crate::client::door::Door;
use crate::failure::Failure;
use crate::output::{counted, json_line, line};
use crate::rows::{Format, Rows, RowsError};

/// Write the rows of a file into a region, or record a history of random writes
///
/// The key of a row is its first column (in NDJSON the first field of the first row), the value the
/// row as a JSON object. A key that comes again replaces the earlier row. A bad row is named by its
/// line, and then nothing is written.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    isthmus load customers.csv --dir shop --region eu-west --bucket customers --key id\n  \
    isthmus load --history writes.ndjson --dir shop --seconds 60 && isthmus-check writes.ndjson")]
pub(super) struct Load {
    /// CSV (RFC 4180, with a header) or NDJSON
    #[arg(required_unless_present = "history", conflicts_with = "history")]
    file: Option<PathBuf>,
    #[command(flatten)]
    rows: FileArgs,
    #[command(flatten)]
    door: Door,
    /// Retry for this long while the region refuses
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    patience: Duration,
    #[command(flatten)]
    history: RecordHistory,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// How a file is read and which bucket its rows go to.
#[derive(Args, Clone, Debug)]
pub(super) struct FileArgs {
    /// The bucket of the rows
    #[arg(long, default_value = "rows")]
    pub(super) bucket: String,
    /// The column or field that is the key; by default the first
    #[arg(long, value_name = "COLUMN")]
    pub(super) key: Option<String>,
    /// The file's format; by default taken from its extension: .ndjson and .jsonl, else CSV
    #[arg(long)]
    pub(super) format: Option<Format>,
}

impl Load {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match &self.file {
            Some(file) => self.write_rows(file).await,
            None => {
                self.history
                    .run(&self.door.dir, &self.rows.bucket, self.json)
                    .await
            }
        }
    }

    async fn write_rows(&self, file: &Path) -> Result<(), Failure> {
        let rows = Rows::read(file, self.rows.format, self.rows.key.as_deref())?;
        let door = self.door.url()?;
        let start = Instant::now();
        bulk::write(
            &self.door.client()?,
            &door,
            &self.rows.bucket,
            &rows.rows,
            start + self.patience,
        )
        .await?;
        let (keys, repeated, took) = (rows.rows.len(), rows.repeated, start.elapsed());
        let total = keys + repeated;
        if self.json {
            json_line(
                &json!({"rows": total, "keys": keys, "repeated": repeated, "seconds": took.as_secs_f64()}),
            )?;
        } else {
            line(format_args!(
                "{}, {} written in {:.1} s",
                counted(total, "row", "rows"),
                counted(keys, "key", "keys"),
                took.as_secs_f64()
            ))?;
            if repeated > 0 {
                line(format_args!(
                    "{} replaced by a later row with the same key",
                    counted(repeated, "row was", "rows were")
                ))?;
            }
        }
        Ok(())
    }
}

impl From<RowsError> for Failure {
    fn from(error: RowsError) -> Self {
        Self::blaming(error.is_wrong_column(), error)
    }
}
