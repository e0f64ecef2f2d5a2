//! `/v1/status` of an agent. Field names are published: never renamed.

use std::collections::BTreeMap;
use std::time::Duration;

use isthmus_replication::receiving::lag::Freshness;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::bounded;
use crate::duration::{MaybeMillis, Millis};
use crate::gateway::MissingStream;
use crate::label::{MaybeKnown, ProcessKind, ShardPhase};
use crate::offset::Offset;
use crate::stages::Stages;

/// The status of an agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AgentStatus {
    /// `agent`.
    pub process: MaybeKnown<ProcessKind>,
    /// Its name.
    #[serde(deserialize_with = "bounded::name")]
    pub name: String,
    /// Its region.
    #[serde(deserialize_with = "bounded::name")]
    pub region: String,
    /// The name of the set.
    #[serde(deserialize_with = "bounded::name")]
    pub set: String,
    /// The generation of its set.yaml.
    pub generation: u64,
    /// Available once the agent has connected to its region; absent before.
    #[serde(flatten, deserialize_with = "connected")]
    pub connected: Option<ConnectedAgent>,
    /// Its shards; empty while it starts.
    #[serde(deserialize_with = "bounded::list::<_, _, 65536>")]
    pub shards: Vec<ShardStatus>,
}

/// The part of an agent's status, beside its shards, that is available once it has connected to its
/// region.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ConnectedAgent {
    /// The identifier of this run of the process.
    #[serde(deserialize_with = "bounded::label")]
    pub run: String,
    /// The digest of its set.yaml.
    #[serde(deserialize_with = "bounded::label")]
    pub set_digest: String,
    /// The steward of the region's logs.
    #[serde(deserialize_with = "bounded::maybe_name")]
    pub steward: Option<String>,
    /// The live processes of the region.
    #[serde(deserialize_with = "bounded::list::<_, _, 4096>")]
    pub members: Vec<RegionMember>,
    /// Its clock minus the log's clock, in milliseconds.
    #[serde(rename = "clock_offset_ms")]
    pub clock_offset: Option<Offset>,
    /// The maximum error of that offset, in milliseconds.
    #[serde(rename = "clock_uncertainty_ms", with = "MaybeMillis")]
    pub clock_uncertainty: Option<Duration>,
    /// The streams of the region that are missing.
    #[serde(deserialize_with = "bounded::list::<_, _, 65536>")]
    pub missing_streams: Vec<MissingStream>,
    /// The memory of its cells.
    pub memory: MemoryStatus,
}

/// A live process of the region, as an agent knows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RegionMember {
    /// Its kind.
    pub role: MaybeKnown<ProcessKind>,
    /// Its name.
    #[serde(deserialize_with = "bounded::name")]
    pub name: String,
    /// The URL for applications, as the process announces it.
    #[serde(deserialize_with = "bounded::maybe_text")]
    pub http: Option<String>,
    /// The URL for operators, as the process announces it.
    #[serde(deserialize_with = "bounded::maybe_text")]
    pub admin: Option<String>,
    /// Its clock minus the log's clock, in milliseconds, as the process reports it.
    #[serde(rename = "clock_offset_ms")]
    pub clock_offset: Option<Offset>,
    /// Whether it is the steward.
    pub steward: bool,
}

/// The memory of the cells, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MemoryStatus {
    /// The memory in use.
    pub used: u64,
    /// The threshold at which puts are refused.
    pub soft: u64,
    /// The threshold at which nothing more is applied.
    pub hard: u64,
}

/// One shard of an agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ShardStatus {
    /// The shard's group.
    #[serde(deserialize_with = "bounded::name")]
    pub group: String,
    /// Its partition.
    pub partition: u16,
    /// The agent's phase for this shard.
    pub phase: MaybeKnown<ShardPhase>,
    /// The log's life; null before the first record of one.
    pub life: Option<LifeStatus>,
    /// The sequence through which the log is applied.
    pub sequence: u64,
    /// The highest stamp of a change.
    #[serde(deserialize_with = "bounded::label")]
    pub highest_stamp: String,
    /// Number of void messages since the agent started.
    pub voids: u64,
    /// The position through which other regions' changes are applied, by region.
    #[serde(deserialize_with = "bounded::map::<_, _, 64>")]
    pub applied: BTreeMap<String, AppliedOrigin>,
    /// How current other regions' changes are here.
    #[serde(deserialize_with = "bounded::list::<_, _, 64>")]
    pub lag: Vec<OriginFreshness>,
    /// Number of cells in the store, tombstones included.
    pub cells: u64,
    /// The digest of the store.
    #[serde(deserialize_with = "bounded::label")]
    pub digest: String,
    /// The sequence through which the log is applied in that digest.
    pub digest_at: u64,
    /// The regions whose changes are missing until a sync brings them.
    #[serde(deserialize_with = "bounded::list::<_, _, 128>")]
    pub needs_sync: Vec<MissingChanges>,
    /// The copy of another agent's store, or the sync with another region, that is under way;
    /// absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncStatus>,
    /// Memory of the cells, in bytes.
    pub bytes: u64,
    /// Its checkpoint.
    pub checkpoint: CheckpointStatus,
    /// Its log.
    pub log: LogStatus,
    /// The position of this region's log in other regions, by region.
    #[serde(deserialize_with = "bounded::map::<_, _, 64>")]
    pub peers: BTreeMap<String, PeerStatus>,
}

/// A life of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LifeStatus {
    /// Its number.
    pub number: u64,
    /// Its nonce, in hex.
    #[serde(deserialize_with = "bounded::label")]
    pub nonce: String,
}

/// The position through which another region's changes are applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AppliedOrigin {
    /// The life of that region's log.
    #[serde(deserialize_with = "bounded::label")]
    pub life: String,
    /// The sequence.
    pub sequence: u64,
    /// Whether changes are missing until a sync brings them.
    pub needs_sync: bool,
}

/// How current another region's changes are here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OriginFreshness {
    /// The region.
    #[serde(deserialize_with = "bounded::name")]
    pub origin: String,
    /// How current they are.
    pub state: MaybeKnown<Freshness>,
    /// All changes older than this are here, in milliseconds. Null while this is not known, or
    /// changes are missing.
    #[serde(rename = "proof_age_ms", with = "MaybeMillis")]
    pub proof_age: Option<Duration>,
    /// The delay of the newest applied message, in milliseconds.
    #[serde(rename = "delay_ms", with = "MaybeMillis")]
    pub delay: Option<Duration>,
    /// The parts of the delay, in milliseconds.
    #[serde(rename = "stages_ms")]
    pub stages: Stages,
    /// The maximum error of the delay, in milliseconds.
    #[serde(rename = "uncertainty_ms", with = "MaybeMillis")]
    pub uncertainty: Option<Duration>,
}

/// Changes of a region that are missing until a sync brings them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MissingChanges {
    /// The region where they were made.
    #[serde(deserialize_with = "bounded::name")]
    pub origin: String,
    /// Why they are missing.
    #[serde(deserialize_with = "bounded::text")]
    pub reason: String,
}

/// A copy of a store, or a sync with another region, that is under way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SyncStatus {
    /// The agent or the region that it comes from.
    #[serde(deserialize_with = "bounded::name")]
    pub from: String,
    /// Number of cells copied or compared.
    pub cells: u64,
    /// About how many cells there are.
    pub of_cells: u64,
    /// Memory of the copied cells, or bytes received from the region.
    pub bytes: u64,
    /// About how much memory all cells take, in bytes.
    pub of_bytes: u64,
    /// Its age, in milliseconds.
    #[serde(rename = "age_ms", with = "Millis")]
    pub age: Duration,
    /// The time left at the rate so far, in milliseconds; null before the first cell.
    #[serde(rename = "left_ms", with = "MaybeMillis")]
    pub left: Option<Duration>,
}

/// The checkpoint of a shard.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CheckpointStatus {
    /// The sequence through which it contains the log.
    pub sequence: u64,
    /// Its age, in milliseconds; null before the first one.
    #[serde(rename = "age_ms", with = "MaybeMillis")]
    pub age: Option<Duration>,
    /// Number of cells that are newer than the checkpoint.
    pub dirty: u64,
}

/// The log of a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LogStatus {
    /// Its size, in bytes.
    pub bytes: u64,
    /// Its first sequence.
    pub first: u64,
    /// Whether it is full.
    pub full: bool,
}

/// The position of this region's log in another region.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PeerStatus {
    /// Whether a link to it is open.
    pub connected: bool,
    /// The sequence through which its log has this region's log.
    pub sequence: Option<u64>,
    /// The sequence through which its agents have applied this region's log.
    pub applied: Option<u64>,
    /// The age of this information, in milliseconds.
    #[serde(rename = "heard_ms", with = "Millis")]
    pub age: Duration,
}

/// A connected agent reports its run. Without a run all other fields are only defaults.
fn connected<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ConnectedAgent>, D::Error> {
    let connected = ConnectedAgent::deserialize(from)?;
    Ok((!connected.run.is_empty()).then_some(connected))
}
