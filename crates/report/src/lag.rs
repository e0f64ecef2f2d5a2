//! How far a region is behind another one. Field names are published: never renamed.

use std::time::Duration;

use isthmus_replication::receiving::lag::Freshness;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::duration::{MaybeMillis, MaybeSeconds};
use crate::label::MaybeKnown;
use crate::stages::Stages;

/// How far `peer` is behind `origin` in one shard.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LagRow {
    /// The region where changes are made.
    #[serde(deserialize_with = "bounded::name")]
    pub origin: String,
    /// The region that receives them.
    #[serde(deserialize_with = "bounded::name")]
    pub peer: String,
    /// The shard's group.
    #[serde(deserialize_with = "bounded::name")]
    pub group: String,
    /// Its partition.
    pub partition: u16,
    /// How current the peer is.
    pub state: MaybeKnown<Freshness>,
    /// Why it is not live.
    #[serde(deserialize_with = "bounded::maybe_text")]
    pub reason: Option<String>,
    /// The minimum by which the peer is behind, in milliseconds: the age of the oldest change or
    /// mark that is not known to be applied. Null while no gateway knows.
    #[serde(rename = "lag_ms", with = "MaybeMillis")]
    pub lag: Option<Duration>,
    /// The delay of the newest applied message, in milliseconds.
    #[serde(rename = "delay_ms", with = "MaybeMillis")]
    pub delay: Option<Duration>,
    /// The parts of the delay, in milliseconds.
    #[serde(rename = "stages_ms")]
    pub stages: Stages,
    /// The maximum error of the delay, in milliseconds.
    #[serde(rename = "uncertainty_ms", with = "MaybeMillis")]
    pub uncertainty: Option<Duration>,
    /// All changes older than this are there, in milliseconds. Null while this is not known, or
    /// changes are missing.
    #[serde(rename = "proof_age_ms", with = "MaybeMillis")]
    pub proof_age: Option<Duration>,
    /// Number of messages in the origin's log after the peer's applied position. Null while the
    /// origin does not report.
    pub backlog: Option<u64>,
    /// Time until the origin's log is trimmed past the peer's position, in seconds.
    #[serde(rename = "runway_s", with = "MaybeSeconds")]
    pub runway: Option<Duration>,
    /// Whether changes are missing until a sync brings them.
    pub needs_sync: bool,
}

impl LagRow {
    /// Whether `region` is one of the pair.
    #[must_use]
    pub fn involves(&self, region: &str) -> bool {
        [self.origin.as_str(), self.peer.as_str()].contains(&region)
    }

    /// Whether both rows are of the same pair and shard.
    #[must_use]
    pub fn is_of_same(&self, other: &Self) -> bool {
        let (one, two) = (self, other);
        (&one.origin, &one.peer, &one.group, one.partition)
            == (&two.origin, &two.peer, &two.group, two.partition)
    }
}
