//! `isthmus load`: rows of a file, or a history of random writes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use futures::stream::{StreamExt, TryStreamExt, iter};
use serde_json::json;

use super::record_history::RecordHistory;
use crate::client::batch::{self, Answer, BatchError, Operation};
use crate::client::door::Door;
use crate::client::http;
use crate::failure::Failure;
use crate::rows::{Format, Rows, RowsError};

const IN_FLIGHT: usize = 8;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Write the rows of a file into a region, or record a history of random writes
///
/// The key of a row is its first column, the value the row as a JSON object. A key that comes again replaces the earlier
/// row. A bad row is named by its line, and then nothing is written.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    isthmus load customers.csv --dir shop --region eu-west --bucket customers --key id\n  \
    isthmus load --history writes.ndjson --dir shop --seconds 60 && isthmus-check writes.ndjson")]
pub struct Load {
    /// CSV (RFC 4180, with a header) or NDJSON
    #[arg(required_unless_present = "history", conflicts_with = "history")]
    file: Option<PathBuf>,
    #[command(flatten)]
    rows: FileArgs,
    #[command(flatten)]
    door: Door,
    /// Go on trying for this long when the region refuses for a while
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    patience: Duration,
    #[command(flatten)]
    history: RecordHistory,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// How a file is read and where its rows belong.
#[derive(Args, Clone, Debug)]
pub(super) struct FileArgs {
    /// The bucket of the rows
    #[arg(long, default_value = "rows")]
    pub(super) bucket: String,
    /// The column or field that is the key; by default the first
    #[arg(long, value_name = "COLUMN")]
    pub(super) key: Option<String>,
    /// The file's format; by default its extension tells: .ndjson and .jsonl, else CSV
    #[arg(long)]
    pub(super) format: Option<Format>,
}

/// Why rows were not written, or not all.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("the write of key {key} was refused: {answer}")]
    Refused { key: String, answer: Answer },
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
        write(&door, &self.rows.bucket, &rows, start + self.patience).await?;
        let (keys, repeated, took) = (rows.rows.len(), rows.repeated, start.elapsed());
        let total = keys + repeated;
        if self.json {
            println!(
                "{}",
                json!({"rows": total, "keys": keys, "repeated": repeated, "seconds": took.as_secs_f64()})
            );
        } else {
            println!("{total} rows, {keys} keys written in {:.1} s", took.as_secs_f64());
            if repeated > 0 {
                println!("{repeated} rows were replaced by a later row of the same key");
            }
        }
        Ok(())
    }
}

/// Writes every row; what is refused for a while is tried again until `until`.
async fn write(door: &str, bucket: &str, rows: &Rows, until: Instant) -> Result<(), LoadError> {
    let client = http::client();
    let operations: Vec<Operation> = rows
        .rows
        .iter()
        .map(|row| Operation::put_json(bucket, row.key.as_str(), &row.value))
        .collect();
    let parts = batch::split(&operations).into_iter().map(|(start, part)| {
        let client = client.clone();
        async move {
            let failed = write_part(&client, door, part, until).await?;
            failed.map_or(Ok(()), |(index, answer)| {
                let key = rows.rows[start + index].key.to_string();
                Err(LoadError::Refused { key, answer })
            })
        }
    });
    iter(parts).buffer_unordered(IN_FLIGHT).try_collect().await
}

/// Returns the first operation that was refused for good, or too long, and its answer.
async fn write_part(
    client: &reqwest::Client,
    door: &str,
    part: &[Operation],
    until: Instant,
) -> Result<Option<(usize, Answer)>, BatchError> {
    let mut open: Vec<usize> = (0..part.len()).collect();
    loop {
        let operations: Vec<Operation> = open.iter().map(|index| part[*index].clone()).collect();
        let late = Instant::now() >= until;
        let answers = match batch::carry_out(client, door, &operations).await {
            Ok(answers) => answers,
            Err(error) if late => return Err(error),
            Err(BatchError::Http(error)) if error.is_passing() => {
                tokio::time::sleep(TRY_AGAIN_AFTER).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let refused = open
            .iter()
            .copied()
            .zip(answers)
            .filter(|(_, answer)| !answer.is_done());
        let refused: Vec<(usize, Answer)> = refused.collect();
        let for_good = refused.iter().find(|(_, answer)| late || !answer.retryable);
        if for_good.is_some() || refused.is_empty() {
            return Ok(for_good.cloned());
        }
        open = refused.into_iter().map(|(index, _)| index).collect();
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::environment(error)
    }
}

impl From<RowsError> for Failure {
    fn from(error: RowsError) -> Self {
        Self::environment(error)
    }
}
