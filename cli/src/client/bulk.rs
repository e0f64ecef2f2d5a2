//! Writing and comparing the rows of a file.

use std::time::{Duration, Instant};

use futures::stream::{StreamExt, TryStreamExt, iter};
use reqwest::Client;
use tokio::time::sleep;

use super::batch::{self, Answer, BatchError, Operation};
use crate::failure::Failure;
use crate::rows::Row;

const REQUESTS_IN_FLIGHT: usize = 8;
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Why rows were not written or read, or not all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BulkError {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("key {key} was refused: {said}")]
    Refused { key: String, said: String },
}

impl BulkError {
    fn refused(row: &Row, answer: &Answer) -> Self {
        Self::Refused {
            key: row.key.to_string(),
            said: answer.to_string(),
        }
    }
}

/// A row that a region does not hold as it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Different {
    pub(crate) key: String,
    pub(crate) how: &'static str,
}

/// Writes every row; what is refused for a while is tried again until `until`.
pub(crate) async fn write(
    client: &Client,
    door: &str,
    bucket: &str,
    rows: &[Row],
    until: Instant,
) -> Result<(), BulkError> {
    let put = |row: &Row| Operation::put_json(bucket, row.key.as_str(), &row.value);
    let operations: Vec<Operation> = rows.iter().map(put).collect();
    let parts = batch::split(&operations)
        .into_iter()
        .map(|(start, part)| async move {
            match write_part(client, door, part, until).await? {
                None => Ok(()),
                Some((index, answer)) => Err(BulkError::refused(&rows[start + index], &answer)),
            }
        });
    iter(parts)
        .buffer_unordered(REQUESTS_IN_FLIGHT)
        .try_collect()
        .await
}

/// Returns the first operation that was refused for good, or too long, and its answer.
async fn write_part(
    client: &Client,
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
            Err(BatchError::Http(error)) if error.is_passing() && !late => {
                sleep(ASK_AGAIN_AFTER).await;
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
        sleep(ASK_AGAIN_AFTER).await;
    }
}

/// Reads every row and returns those that differ; asks again for these until none does or `until` has passed.
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

fn differs(row: &Row, answer: &Answer) -> Result<Option<Different>, BulkError> {
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
        Self::environment(error)
    }
}
