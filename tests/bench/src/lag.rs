//! Lag as a client sees it: from the acknowledgement of a PUT in one region to the answer of a GET
//! in the other. The GET presents the PUT's session token, so it waits until the write is there.

use std::time::Instant;

use anyhow::{Context, ensure};
use isthmus_e2e::Running;

use crate::{ORIGIN, PEER};

/// Lag in milliseconds.
#[derive(Debug)]
pub(crate) struct Lag {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

/// Times `samples` writes, at least one, one after the other.
pub(crate) async fn measure(running: &Running, samples: usize) -> anyhow::Result<Lag> {
    let (writer, reader) = (running.agent(ORIGIN), running.agent(PEER));
    let mut millis = Vec::with_capacity(samples.max(1));
    for n in 0..samples.max(1) {
        let value = n.to_string();
        let put = writer.put("bench", "lag", "", &value).await?.ok()?;
        let session = put.session.context("a PUT without a session token")?;
        let acknowledged = Instant::now();
        let read = reader
            .value_after(&session, "bench", "lag", "?timeout=10s")
            .await?
            .ok()?;
        millis.push(acknowledged.elapsed().as_secs_f64() * 1000.0);
        ensure!(read.text() == value, "read {} after writing {value}", read.text());
    }
    millis.sort_by(f64::total_cmp);
    let at = |share: f64| millis[((millis.len() - 1) as f64 * share).round() as usize];
    Ok(Lag {
        p50: at(0.5),
        p99: at(0.99),
        max: at(1.0),
    })
}
