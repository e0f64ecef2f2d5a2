//! What agents and gateways say at `/v1/status`, as far as the command line uses it. Fields that are missing have their
//! empty value, so that a newer or older process can be asked.

use std::collections::BTreeMap;

use reqwest::Client;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::http::{HttpError, json};

/// What a gateway says: of its own region, and of every region what that one said last.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct GatewayStatus {
    pub(crate) name: String,
    pub(crate) region: String,
    #[serde(flatten)]
    pub(crate) own: RegionStatus,
    pub(crate) regions: BTreeMap<String, RegionStatus>,
}

/// What is known of a region.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct RegionStatus {
    /// The name of the leading gateway.
    pub(crate) leader: Option<String>,
    pub(crate) epoch: Option<Epoch>,
    /// How old this is, in milliseconds; absent for the region that is asked.
    pub(crate) age_ms: Option<f64>,
    /// The agents that told what they have applied.
    pub(crate) agents: Vec<Member>,
    pub(crate) links: Vec<LinkStatus>,
    pub(crate) receiving: Vec<ReceivingStatus>,
}

/// Which leadership: the lease's life and revision.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Epoch {
    pub(crate) life: String,
    pub(crate) revision: u64,
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
    pub(crate) rtt_ms: Option<f64>,
    pub(crate) clock_offset_ms: Option<f64>,
    pub(crate) lanes: Vec<LaneStatus>,
}

/// One shard on a link, seen from the origin.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct LaneStatus {
    pub(crate) group: String,
    pub(crate) partition: u32,
    pub(crate) state: String,
    pub(crate) lag_ms: Option<f64>,
}

/// One origin's shard, seen from the receiver.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct ReceivingStatus {
    pub(crate) origin: String,
    pub(crate) group: String,
    pub(crate) partition: u32,
    pub(crate) state: String,
    pub(crate) delay_ms: Option<f64>,
    pub(crate) proof_age_ms: Option<f64>,
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
