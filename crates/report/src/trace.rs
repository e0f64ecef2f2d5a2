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
    /// Whether the trace began when the change was found slow.
    pub slow: bool,
    /// The region where it was written.
    #[serde(deserialize_with = "bounded::name")]
    pub origin: String,
    /// The shard's group.
    #[serde(deserialize_with = "bounded::name")]
    pub group: String,
    /// Its partition.
    pub partition: u16,
    /// The message of the agent's log that brought it.
    pub sequence: u64,
    /// Its version.
    #[serde(deserialize_with = "bounded::label")]
    pub version: String,
    /// Bucket and key as spans show them.
    #[serde(deserialize_with = "bounded::text")]
    pub key: String,
    /// When it was applied, by the clock of the region's log, as RFC 3339.
    #[serde(deserialize_with = "bounded::text")]
    pub applied_at: String,
    /// How long its message took, in milliseconds.
    #[serde(rename = "delay_ms", with = "MaybeMillis")]
    pub delay: Option<Duration>,
    /// The parts of that, in milliseconds.
    #[serde(rename = "stages_ms")]
    pub stages: Stages,
    /// How far the delay may be off, in milliseconds.
    #[serde(rename = "uncertainty_ms", with = "MaybeMillis")]
    pub uncertainty: Option<Duration>,
}
