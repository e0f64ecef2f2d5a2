//! `isthmus compare`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use futures::stream::{StreamExt, TryStreamExt, iter};
use serde_json::json;

use super::load::FileArgs;
use crate::client::batch::{self, Answer, BatchError, Operation};
use crate::client::door::Door;
use crate::client::http;
use crate::failure::Failure;
use crate::rows::{Row, Rows};

const IN_FLIGHT: usize = 4;
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);
const SHOWN: usize = 20;

/// Compare the rows of a file with what a region holds: exit 0 if equal, 2 if not
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  isthmus compare customers.csv --dir shop --region ap-south")]
pub struct Compare {
    /// CSV (RFC 4180, with a header) or NDJSON
    file: PathBuf,
    #[command(flatten)]
    rows: FileArgs,
    #[command(flatten)]
    door: Door,
    /// Ask again for what differs until it is equal or this time has passed
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

struct Different {
    key: String,
    how: &'static str,
}

impl Compare {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let rows = Rows::read(&self.file, self.rows.format, self.rows.key.as_deref())?;
        let door = self.door.url()?;
        let client = http::client();
        let bucket = self.rows.bucket.as_str();
        let until = Instant::now() + self.wait;
        let mut open: Vec<&Row> = rows.rows.iter().collect();
        let different = loop {
            let different = compare(&client, &door, bucket, &open).await?;
            if different.is_empty() || Instant::now() >= until {
                break different;
            }
            open.retain(|row| different.iter().any(|one| one.key == row.key.as_str()));
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        };
        self.tell(&rows, &different)
    }

    fn tell(&self, rows: &Rows, different: &[Different]) -> Result<(), Failure> {
        if self.json {
            let named: Vec<_> = different
                .iter()
                .map(|one| json!({"key": one.key, "how": one.how}))
                .collect();
            println!(
                "{}",
                json!({"keys": rows.rows.len(), "equal": different.is_empty(), "different": named})
            );
        } else {
            for one in different.iter().take(SHOWN) {
                println!("{}: {}", one.key, one.how);
            }
            if different.len() > SHOWN {
                println!("and {} more", different.len() - SHOWN);
            }
        }
        match different.len() {
            0 if self.json => Ok(()),
            0 => {
                println!("all {} keys are equal", rows.rows.len());
                Ok(())
            }
            count => Err(Failure::difference(format!(
                "{count} of {} keys differ",
                rows.rows.len()
            ))),
        }
    }
}

async fn compare(
    client: &reqwest::Client,
    door: &str,
    bucket: &str,
    rows: &[&Row],
) -> Result<Vec<Different>, CompareError> {
    let operations: Vec<Operation> = rows
        .iter()
        .map(|row| Operation::get(bucket, row.key.as_str()))
        .collect();
    let asked = batch::split(&operations)
        .into_iter()
        .map(|(start, part)| async move {
            let answers = batch::carry_out(client, door, part).await?;
            let judged = rows[start..]
                .iter()
                .zip(&answers)
                .filter_map(|(row, answer)| differs(row, answer).transpose());
            judged.collect::<Result<Vec<_>, CompareError>>()
        });
    let parts: Vec<Vec<Different>> = iter(asked).buffered(IN_FLIGHT).try_collect().await?;
    Ok(parts.into_iter().flatten().collect())
}

fn differs(row: &Row, answer: &Answer) -> Result<Option<Different>, CompareError> {
    let different = |how| {
        Ok(Some(Different {
            key: row.key.to_string(),
            how,
        }))
    };
    match answer {
        answer if answer.is_done() && answer.holds_json(&row.value) => Ok(None),
        answer if answer.is_done() => different("another value"),
        answer if answer.is_absence() => different("no value"),
        answer => Err(CompareError::Refused {
            key: row.key.to_string(),
            answer: answer.clone(),
        }),
    }
}

/// Why a comparison was not finished.
#[derive(Debug, thiserror::Error)]
enum CompareError {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("the read of key {key} was refused: {answer}")]
    Refused { key: String, answer: Answer },
}

impl From<CompareError> for Failure {
    fn from(error: CompareError) -> Self {
        Self::environment(error)
    }
}
