//! Changes per second: written in batches at the origin, until the peer holds all of them.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use isthmus_e2e::{Agent, Running, until};

use crate::{ORIGIN, PEER};

const WRITERS: usize = 4;
const BATCH: usize = 500;
const DRAINED_WITHIN: Duration = Duration::from_secs(120);

/// Changes per second, from the first write sent.
#[derive(Debug)]
pub(crate) struct Rate {
    /// Until the last acknowledgement at the origin.
    pub acknowledged: f64,
    /// Until one agent of the peer held all of them.
    pub replicated: f64,
}

/// Writes `changes` distinct keys.
pub(crate) async fn measure(running: &Running, changes: usize, value_bytes: usize) -> anyhow::Result<Rate> {
    let agents = running.agents(ORIGIN);
    let reader = running.agent(PEER);
    let held_before = cells(&reader).await?;
    let start = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let agent = agents[writer % agents.len()].clone();
        let share = changes / WRITERS;
        writers.spawn(async move { write(&agent, writer, share, value_bytes).await });
    }
    let mut written = 0;
    while let Some(ended) = writers.join_next().await {
        written += ended??;
    }
    let acknowledged = start.elapsed();
    until("the peer holds every change", DRAINED_WITHIN, || async {
        let held = cells(&reader).await? - held_before;
        ensure!(held == written as u64, "the peer holds {held} of {written}");
        Ok(())
    })
    .await?;
    let per_second = |taken: Duration| written as f64 / taken.as_secs_f64();
    Ok(Rate {
        acknowledged: per_second(acknowledged),
        replicated: per_second(start.elapsed()),
    })
}

async fn cells(agent: &Agent) -> anyhow::Result<u64> {
    Ok(agent.digests().await?.iter().map(|(cells, _)| cells).sum())
}

async fn write(agent: &Agent, writer: usize, share: usize, value_bytes: usize) -> anyhow::Result<usize> {
    let value = "v".repeat(value_bytes);
    let mut written = 0;
    while written < share {
        let count = BATCH.min(share - written);
        let lines: String = (written..written + count)
            .map(|n| {
                let put = serde_json::json!({
                    "op": "put", "bucket": "bench", "key": format!("{writer}/{n}"), "value": value,
                });
                format!("{put}\n")
            })
            .collect();
        let answer = agent.batch(lines).await?.ok()?;
        let text = answer.text();
        let refused = text.lines().find(|line| !line.contains("\"status\":200"));
        ensure!(
            refused.is_none(),
            "a write was refused: {}",
            refused.context("a refused line")?
        );
        ensure!(
            text.lines().count() == count,
            "{} answers to {count} writes",
            text.lines().count()
        );
        written += count;
    }
    Ok(written)
}
