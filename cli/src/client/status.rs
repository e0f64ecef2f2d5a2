//! What agents and gateways say at `/v1/status`, as far as the command line uses it. Fields that are missing have their
//! empty value, so that a newer or older process can be asked.

use std::collections::BTreeMap;

use reqwest::Client;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::http::{HttpError, json};

/// So much is shown of why something can't be read.
const SHOWN_CHARS: usize = 256;

/// What a gateway says: of its own region, and of every region what that one said last.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct GatewayStatus {
    pub(crate) name: String,
    pub(crate) region: String,
    #[serde(flatten)]
    pub(crate) own: RegionStatus,
    /// Every pair of regions and shard.
    pub(crate) lag: Vec<LagStatus>,
    #[serde(deserialize_with = "each_region")]
    pub(crate) regions: BTreeMap<String, RegionStatus>,
}

/// A region of which something was told that can't be read hides none of the others.
fn each_region<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, RegionStatus>, D::Error> {
    let told: BTreeMap<String, Value> = BTreeMap::deserialize(from)?;
    let read = |told: &Value| {
        RegionStatus::deserialize(told).unwrap_or_else(|error| RegionStatus {
            unreadable: Some(error.to_string().chars().take(SHOWN_CHARS).collect()),
            ..RegionStatus::default()
        })
    };
    Ok(told
        .into_iter()
        .map(|(region, told)| (region, read(&told)))
        .collect())
}

/// What is known of a region.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct RegionStatus {
    /// Why what it told can't be read; nothing else is known of it then.
    pub(crate) unreadable: Option<String>,
    /// The name of the leading gateway.
    pub(crate) leader: Option<String>,
    pub(crate) epoch: Option<Epoch>,
    /// How old this is, in milliseconds; absent for the region that is asked.
    pub(crate) age_ms: Option<f64>,
    /// The live processes.
    pub(crate) members: Vec<MemberStatus>,
    /// The agents that told what they have applied.
    pub(crate) agents: Vec<Member>,
    pub(crate) links: Vec<LinkStatus>,
}

/// Which leadership: the lease's life and revision.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Epoch {
    pub(crate) life: String,
    pub(crate) revision: u64,
}

/// A live process of a region.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct MemberStatus {
    pub(crate) role: String,
    pub(crate) name: String,
    /// Its clock less its NATS', in milliseconds, as it told.
    pub(crate) clock_offset_ms: Option<f64>,
}

/// An agent of a region.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Member {
    pub(crate) name: String,
}

impl GatewayStatus {
    /// Every region with what is known of it; the gateway's own as it says itself.
    pub(crate) fn every_region(self) -> Vec<(String, RegionStatus)> {
        let mut regions = self.regions;
        regions.entry(self.region).or_insert(self.own);
        regions.into_iter().collect()
    }
}

/// How many shards are in which state: `live 3, needs sync 1`.
pub(crate) fn states<'a>(states: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for state in states {
        *counts.entry(state).or_default() += 1;
    }
    let told: Vec<String> = counts
        .iter()
        .map(|(state, count)| format!("{state} {count}"))
        .collect();
    if told.is_empty() {
        "-".to_owned()
    } else {
        told.join(", ")
    }
}

/// The greatest of the values that are known.
pub(crate) fn worst(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    values.flatten().max_by(f64::total_cmp)
}

/// One link that a leading gateway holds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct LinkStatus {
    pub(crate) peer: String,
    pub(crate) state: String,
    /// Of the link's protocol.
    pub(crate) protocol_version: Option<u32>,
    pub(crate) rtt_ms: Option<f64>,
    pub(crate) clock_offset_ms: Option<f64>,
}

/// How far a region is behind another one in one shard.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct LagStatus {
    pub(crate) origin: String,
    pub(crate) peer: String,
    pub(crate) group: String,
    pub(crate) partition: u32,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) lag_ms: Option<f64>,
    pub(crate) delay_ms: Option<f64>,
    pub(crate) stages_ms: BTreeMap<String, f64>,
    pub(crate) proof_age_ms: Option<f64>,
    pub(crate) runway_s: Option<f64>,
    /// Changes of the origin are missing at the peer.
    pub(crate) needs_sync: bool,
}

impl LagStatus {
    /// Its state, where a need of sync is the one worth telling.
    pub(crate) fn told_state(&self) -> &str {
        if self.needs_sync {
            "needs sync"
        } else {
            &self.state
        }
    }
}

/// What an agent says.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct AgentStatus {
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) set: String,
    pub(crate) steward: Option<String>,
    pub(crate) shards: Vec<ShardStatus>,
}

/// One shard of an agent's store.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct ShardStatus {
    pub(crate) group: String,
    pub(crate) partition: u32,
    pub(crate) sequence: u64,
    pub(crate) cells: u64,
    pub(crate) digest: String,
    pub(crate) needs_sync: Vec<Value>,
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
        let told = serde_json::json!({
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
        let status: GatewayStatus = serde_json::from_value(told)?;
        assert_eq!(status.own.epoch.as_ref().map(|epoch| epoch.revision), Some(7));
        assert_eq!(
            states(status.lag.iter().map(LagStatus::told_state)),
            "live 1, needs sync 1"
        );
        assert_eq!(worst(status.lag.iter().map(|lag| lag.delay_ms)), Some(46.0));
        let regions = status.every_region();
        assert_eq!((regions[1].0.as_str(), regions.len()), ("us-east", 2));
        assert!(serde_json::from_str::<GatewayStatus>("{}").is_ok());
        Ok(())
    }

    #[test]
    fn a_region_that_cant_be_read_hides_none_of_the_others() -> Result<(), serde_json::Error> {
        let long = "x".repeat(5_000);
        let told = serde_json::json!({
            "name": "gateway-1", "region": "eu-west",
            "regions": {
                "ap-south": {"leader": 7, "links": {}},
                "eu-west": {"leader": "gateway-1"},
                "me-east": {"epoch": long},
                "sa-east": null,
                "us-east": {"unreadable": "nonsense"},
            },
        });
        let regions = serde_json::from_value::<GatewayStatus>(told)?.every_region();
        let unreadable = regions.iter().filter(|(_, region)| region.unreadable.is_some());
        let unreadable: Vec<&str> = unreadable.map(|(region, _)| region.as_str()).collect();
        assert_eq!(unreadable, ["ap-south", "me-east", "sa-east", "us-east"]);
        assert_eq!(regions[1].1.leader.as_deref(), Some("gateway-1"));
        let shown = regions
            .iter()
            .filter_map(|(_, region)| region.unreadable.as_ref());
        assert!(shown.clone().all(|why| why.len() <= SHOWN_CHARS), "{regions:?}");
        Ok(())
    }
}
