//! `/v1/traces` of an agent. Field names are published: never renamed.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::duration::MaybeMillis;
use crate::stages::Stages;

/// Traced changes that an agent applied, newest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Traces {
    /// The changes.
    #[serde(deserialize_with = "bounded::list::<_, _, 1024>")]
    pub traces: Vec<TracedChange>,
}

/// A traced change as an agent applied it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TracedChange {
    /// Its trace, in 32 hex digits.
    #[serde(deserialize_with = "bounded::label")]
    pub trace_id: String,
    /// Whether the trace started only when the change was found to be slow.
    pub slow: bool,
    /// The region where it was written.
    #[serde(deserialize_with = "bounded::name")]
    pub origin: String,
    /// The shard's group.
    #[serde(deserialize_with = "bounded::name")]
    pub group: String,
    /// Its partition.
    pub partition: u16,
    /// The sequence of the message in the agent's log that brought it.
    pub sequence: u64,
    /// Its version.
    #[serde(deserialize_with = "bounded::label")]
    pub version: String,
    /// Bucket and key, as in spans.
    #[serde(deserialize_with = "bounded::text")]
    pub key: String,
    /// When it was applied, by the clock of the region's log, as RFC 3339.
    #[serde(deserialize_with = "bounded::text")]
    pub applied_at: String,
    /// The delay of its message, in milliseconds.
    #[serde(rename = "delay_ms", with = "MaybeMillis")]
    pub delay: Option<Duration>,
    /// The parts of the delay, in milliseconds.
    #[serde(rename = "stages_ms")]
    pub stages: Stages,
    /// The maximum error of the delay, in milliseconds.
    #[serde(rename = "uncertainty_ms", with = "MaybeMillis")]
    pub uncertainty: Option<Duration>,
}
