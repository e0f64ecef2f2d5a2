//! Asks agents and gateways for their status.

use std::collections::BTreeMap;
use std::time::Duration;

use isthmus_report::{AgentStatus, GatewayStatus, LagRow};
use reqwest::Client;

use super::http::{HttpError, json};

/// How many shards are in which state: `live 3, needs sync 1`.
pub(crate) fn states<'a>(states: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for state in states {
        *counts.entry(state).or_default() += 1;
    }
    let counted: Vec<String> = counts
        .iter()
        .map(|(state, count)| format!("{state} {count}"))
        .collect();
    if counted.is_empty() {
        "-".to_owned()
    } else {
        counted.join(", ")
    }
}

/// The greatest of the known durations.
pub(crate) fn worst(durations: impl Iterator<Item = Option<Duration>>) -> Option<Duration> {
    durations.flatten().max()
}

/// The state of a row; a needed sync takes precedence.
pub(crate) fn state_of(row: &LagRow) -> &str {
    if row.needs_sync {
        "needs sync"
    } else {
        row.state.label()
    }
}

/// Asks a gateway's admin listener.
pub(crate) async fn of_gateway(client: &Client, admin: &str) -> Result<GatewayStatus, HttpError> {
    json(client.get(format!("{admin}/v1/status"))).await
}

/// Asks an agent's admin listener.
pub(crate) async fn of_agent(client: &Client, admin: &str) -> Result<AgentStatus, HttpError> {
    json(client.get(format!("{admin}/v1/status"))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateways_status_is_read_and_what_is_missing_is_empty() -> Result<(), serde_json::Error> {
        let text = serde_json::json!({
            "process": "gateway", "name": "gateway-1", "region": "eu-west", "leader": "gateway-1",
            "epoch": {"life": "1-aa", "revision": 7},
            "links": [{"peer": "us-east", "state": "connected", "rtt_ms": 80.5}],
            "lag": [
                {"origin": "eu-west", "peer": "us-east", "state": "live", "lag_ms": 41.0, "delay_ms": 44.0, "needs_sync": true},
                {"origin": "eu-west", "peer": "us-east", "state": "live", "reason": null, "delay_ms": 46.0, "stages_ms": {"wire": 40.0}},
            ],
            "regions": {
                "eu-west": {"leader": "gateway-1", "agents": [{"name": "agent-1", "shards": []}]},
                "us-east": {"leader": null, "age_ms": 120.0},
            },
        });
        let status: GatewayStatus = serde_json::from_value(text)?;
        assert_eq!(status.epoch.as_ref().map(|epoch| epoch.revision), Some(7));
        assert_eq!(states(status.lag.iter().map(state_of)), "live 1, needs sync 1");
        let delays = status.lag.iter().map(|row| row.delay);
        assert_eq!(worst(delays), Some(Duration::from_millis(46)));
        let regions: Vec<_> = status.into_regions().into_iter().collect();
        assert_eq!((regions[1].0.as_str(), regions.len()), ("us-east", 2));
        Ok(())
    }
}
