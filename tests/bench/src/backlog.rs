//! How long a backlog takes to drain: written while the link is cut, with one hot key, then sent
//! over a slow link.

use std::time::{Duration, Instant};

use anyhow::ensure;
use isthmus_e2e::{Running, until};

use crate::{ORIGIN, PEER};

const BATCH: usize = 500;
/// One change in this many has its own key.
const COLD: usize = 20;
/// 1 Mb/s.
const BYTES_PER_SECOND: &str = "125000";
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(60);
const DRAINED_WITHIN: Duration = Duration::from_secs(600);

/// The time from the heal until every agent has the same cells.
pub(crate) async fn measure(
    running: &Running,
    changes: usize,
    value_bytes: usize,
) -> anyhow::Result<Duration> {
    running.lab(&["cut", ORIGIN, PEER])?;
    let (agent, value) = (running.agent(ORIGIN), "v".repeat(value_bytes));
    for first in (0..changes).step_by(BATCH) {
        let lines: String = (first..changes.min(first + BATCH))
            .map(|n| {
                let key = if n.is_multiple_of(COLD) {
                    n.to_string()
                } else {
                    "hot".to_owned()
                };
                let put = serde_json::json!({ "op": "put", "bucket": "bench", "key": key, "value": value });
                format!("{put}\n")
            })
            .collect();
        let answer = agent.batch(lines).await?.ok()?.text();
        let refused = answer.lines().find(|line| !line.contains("\"status\":200"));
        ensure!(refused.is_none(), "a write was refused: {refused:?}");
    }
    until("the link is given up", GIVEN_UP_WITHIN, || async {
        let gateways = running.gateways(ORIGIN, "/v1/status").await?;
        let links = gateways
            .iter()
            .flat_map(|status| status["links"].as_array().into_iter().flatten());
        ensure!(
            links.clone().all(|link| link["state"] != "connected"),
            "a link is up"
        );
        Ok(())
    })
    .await?;
    running.lab(&["heal"])?;
    running.lab(&["rate", ORIGIN, PEER, BYTES_PER_SECOND])?;
    let healed = Instant::now();
    running.identical(DRAINED_WITHIN).await?;
    Ok(healed.elapsed())
}
