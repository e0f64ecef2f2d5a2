//! Writes and compares the rows of a file.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{StreamExt, TryStreamExt, iter};
use reqwest::Client;
use tokio::time::sleep;

use super::batch::{self, BatchAnswer, BatchError, Operation};
use crate::failure::Failure;
use crate::output::counted;
use crate::rows::Row;

const REQUESTS_IN_FLIGHT: usize = 8;
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Why rows were not written or read, or only some of them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BulkError {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("line {line}: key {key} was refused: {answer}")]
    Refused {
        line: u64,
        key: String,
        answer: Box<BatchAnswer>,
    },
}

#[derive(Debug, thiserror::Error)]
#[error("{why} ({written} of {} {} written and acknowledged)", counted(*keys, "key", "keys"), if *written == 1 || *keys == 1 { "was" } else { "were" })]
pub(crate) struct PartlyWritten {
    /// The number of keys whose write was acknowledged.
    pub(crate) written: usize,
    /// The number of keys in the file.
    pub(crate) keys: usize,
    #[source]
    pub(crate) why: BulkError,
}

impl BulkError {
    fn refused(row: &Row, answer: &BatchAnswer) -> Self {
        Self::Refused {
            line: row.line,
            key: row.key.to_string(),
            answer: Box::new(answer.clone()),
        }
    }

    fn blames_arguments(&self) -> bool {
        match self {
            Self::Batch(BatchError::Http(error)) => error.blames_arguments(),
            Self::Batch(_) => false,
            Self::Refused { answer, .. } => answer.blames_arguments(),
        }
    }
}

/// A row that differs from what a region holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Different {
    pub(crate) key: String,
    pub(crate) how: &'static str,
}

/// Writes every row. A write that is refused with a retryable code is tried again until `until`.
/// After a row that is refused for good nothing more is sent, and requests in flight are awaited.
pub(crate) async fn write(
    client: &Client,
    door: &str,
    bucket: &str,
    rows: &[Row],
    until: Instant,
) -> Result<(), PartlyWritten> {
    let put = |row: &Row| Operation::put_json(bucket, row.key.as_str(), &row.value);
    let operations: Vec<Operation> = rows.iter().map(put).collect();
    let writing = Writing {
        client,
        door,
        until,
        failed: AtomicBool::new(false),
    };
    let parts = batch::split(&operations)
        .into_iter()
        .map(|(start, part)| writing.part(&rows[start..], part));
    let parts: Vec<Part> = iter(parts).buffered(REQUESTS_IN_FLIGHT).collect().await;
    let written = parts.iter().map(|part| part.written).sum();
    match parts.into_iter().find_map(|part| part.fault) {
        None => Ok(()),
        Some(why) => Err(PartlyWritten {
            written,
            keys: rows.len(),
            why,
        }),
    }
}

struct Writing<'a> {
    client: &'a Client,
    door: &'a str,
    until: Instant,
    failed: AtomicBool,
}

/// The result of one request's rows.
struct Part {
    written: usize,
    fault: Option<BulkError>,
}

impl Writing<'_> {
    /// Writes the first rows, one per operation.
    async fn part(&self, rows: &[Row], operations: &[Operation]) -> Part {
        let mut open: Vec<usize> = (0..operations.len()).collect();
        let mut written = 0;
        while !open.is_empty() && !self.failed.load(Ordering::Relaxed) {
            let asked: Vec<Operation> = open.iter().map(|index| operations[*index].clone()).collect();
            let late = Instant::now() >= self.until;
            match batch::carry_out(self.client, self.door, &asked).await {
                Ok(answers) => {
                    let refused: Vec<(usize, BatchAnswer)> = open
                        .into_iter()
                        .zip(answers)
                        .filter(|(_, answer)| !answer.is_done())
                        .collect();
                    written += asked.len() - refused.len();
                    let for_good = refused.iter().find(|(_, answer)| late || !answer.retryable);
                    if let Some((index, answer)) = for_good {
                        return self.fail(written, BulkError::refused(&rows[*index], answer));
                    }
                    open = refused.into_iter().map(|(index, _)| index).collect();
                }
                Err(BatchError::Http(error)) if error.is_passing() && !late => {}
                Err(error) => return self.fail(written, error.into()),
            }
            if !open.is_empty() {
                sleep(ASK_AGAIN_AFTER).await;
            }
        }
        Part { written, fault: None }
    }

    fn fail(&self, written: usize, fault: BulkError) -> Part {
        self.failed.store(true, Ordering::Relaxed);
        Part {
            written,
            fault: Some(fault),
        }
    }
}

/// Reads every row and returns those that differ. Reads these again until none differs or `until`
/// has passed.
pub(crate) async fn compare(
    client: &Client,
    door: &str,
    bucket: &str,
    rows: &[Row],
    until: Instant,
) -> Result<Vec<Different>, BulkError> {
    let mut open: Vec<&Row> = rows.iter().collect();
    loop {
        let different = compare_once(client, door, bucket, &open).await?;
        if different.is_empty() || Instant::now() >= until {
            return Ok(different);
        }
        open.retain(|row| different.iter().any(|one| one.key == row.key.as_str()));
        sleep(ASK_AGAIN_AFTER).await;
    }
}

async fn compare_once(
    client: &Client,
    door: &str,
    bucket: &str,
    rows: &[&Row],
) -> Result<Vec<Different>, BulkError> {
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
            judged.collect::<Result<Vec<_>, BulkError>>()
        });
    let parts: Vec<Vec<Different>> = iter(asked).buffered(REQUESTS_IN_FLIGHT).try_collect().await?;
    Ok(parts.into_iter().flatten().collect())
}

fn differs(row: &Row, answer: &BatchAnswer) -> Result<Option<Different>, BulkError> {
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
        answer => Err(BulkError::refused(row, answer)),
    }
}

impl From<BulkError> for Failure {
    fn from(error: BulkError) -> Self {
        Self::blaming(error.blames_arguments(), error)
    }
}

impl From<PartlyWritten> for Failure {
    fn from(error: PartlyWritten) -> Self {
        Self::blaming(error.why.blames_arguments(), error)
    }
}
