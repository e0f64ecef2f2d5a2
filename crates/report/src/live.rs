//! The content of `/v1/live` for a gateway's page at `/`. Field names are published: never renamed.

use std::time::Duration;

use isthmus_replication::receiving::lag::Freshness;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::duration::MaybeMillis;
use crate::gateway::GatewayStatus;
use crate::label::MaybeKnown;
use crate::lag::LagRow;
use crate::stages::Stages;

/// The lag of every pair of regions at one time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LagSample {
    /// The time by the clock that stamps this region's log, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Each pair of regions, by its worst shard.
    #[serde(deserialize_with = "bounded::list::<_, _, 4096>")]
    pub pairs: Vec<PairLag>,
}

/// How far a region is behind another one, by its worst shard.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PairLag {
    /// The region where changes are made.
    #[serde(deserialize_with = "bounded::name")]
    pub origin: String,
    /// The region that receives them.
    #[serde(deserialize_with = "bounded::name")]
    pub peer: String,
    /// How current the peer is.
    pub state: MaybeKnown<Freshness>,
    /// The minimum by which the peer is behind, in milliseconds.
    #[serde(rename = "lag_ms", with = "MaybeMillis")]
    pub lag: Option<Duration>,
    /// The parts of the newest delay, in milliseconds.
    #[serde(rename = "stages_ms")]
    pub stages: Stages,
}

/// The status of the gateway at one time: an event `status` of the stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StatusSample {
    /// The time by the clock that stamps this region's log, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The content of `/v1/status`.
    pub status: GatewayStatus,
}

impl From<&LagRow> for PairLag {
    fn from(row: &LagRow) -> Self {
        Self {
            origin: row.origin.clone(),
            peer: row.peer.clone(),
            state: row.state.clone(),
            lag: row.lag,
            stages: row.stages.clone(),
        }
    }
}
