//! The keys of `set.yaml`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration as Span;

use isthmus_replication::names::{GroupName, RegionName, SetName};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use super::address::{Address, Name};
use super::units::{ByteSize, Duration};

/// The settings that the regions of a set share: the same bytes in every region.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetFile {
    /// The set's name, part of every subject, stream name and certificate.
    pub set: Name<SetName>,
    /// Incremented with each change of this file.
    pub generation: u64,
    /// The trust domain of the identities in certificates.
    #[serde(default = "trust_domain")]
    pub trust_domain: String,
    /// The member regions by name.
    pub regions: BTreeMap<Name<RegionName>, RegionFile>,
    /// Groups of buckets by name; `default` always exists.
    #[serde(default)]
    pub groups: BTreeMap<Name<GroupName>, GroupFile>,
    /// Buckets by name; `"*"` contains the defaults and determines whether unnamed buckets exist.
    #[serde(default)]
    pub buckets: BTreeMap<String, BucketFile>,
    /// Limits of clocks.
    #[serde(default)]
    pub clock: ClockFile,
    /// Limits of membership.
    #[serde(default)]
    pub membership: MembershipFile,
    /// The lag above which a region counts as behind.
    #[serde(default = "lag_objective")]
    pub lag_objective: Duration,
}

/// One region.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RegionFile {
    /// The addresses of this region's gateways for other regions.
    pub gateways: Vec<Address>,
    /// The CA certificates (PEM) that may vouch for this region, relative to this file.
    pub trust: PathBuf,
    /// The URI in this region's certificates, if it is not the usual SPIFFE form.
    pub identity: Option<String>,
}

/// One group.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupFile {
    /// The number of partitions; fixed for the life of the set.
    #[serde(default = "partitions")]
    pub partitions: u16,
    /// The regions that have the group; all of them by default.
    pub regions: Option<Vec<Name<RegionName>>>,
}

/// One bucket, or the defaults for all.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BucketFile {
    /// The group that contains the bucket.
    pub group: Option<Name<GroupName>>,
    /// The meaning of the bucket's cells.
    pub kind: Option<Kind>,
    /// The time to live of a value unless its write sets another.
    pub ttl: Option<Duration>,
    /// The maximum size of a value.
    pub max_value: Option<ByteSize>,
    /// Only under `"*"`: whether a bucket that is not named exists.
    pub unknown: Option<UnknownBuckets>,
}

/// The treatment of a bucket that set.yaml does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum UnknownBuckets {
    /// It exists, with the defaults.
    Create,
    /// It is refused.
    Refuse,
}

/// The meaning of a bucket's cells (design.md section 4). Fixed for the life of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One value per key: the newer write wins.
    Value,
}

impl Kind {
    /// The kinds that the formats support but this version does not.
    const LATER: [&str; 4] = ["hash", "set", "counter", "siblings"];
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let kind = Cow::<'_, str>::deserialize(deserializer)?;
        match &*kind {
            "value" => Ok(Self::Value),
            later if Self::LATER.contains(&later) => Err(serde::de::Error::custom(format_args!(
                "kind {later} is not available in this version; use kind: value"
            ))),
            other => Err(serde::de::Error::custom(format_args!(
                "kind {other:?} does not exist; use kind: value"
            ))),
        }
    }
}

impl JsonSchema for Kind {
    fn schema_name() -> Cow<'static, str> {
        "Kind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": ["value"] })
    }
}

/// Limits of clocks (design.md sections 5 and 9).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ClockFile {
    /// How far a stamp may be ahead of its message's log timestamp.
    pub max_ahead: Duration,
    /// How far a stamp may be behind the log's highest one.
    pub max_behind: Duration,
    /// How far another region's clock may be ahead before its lane stalls.
    pub max_offset: Duration,
}

impl Default for ClockFile {
    fn default() -> Self {
        Self {
            max_ahead: Duration(isthmus_replication::limits::MAX_AHEAD),
            max_behind: Duration(isthmus_replication::limits::MAX_BEHIND),
            max_offset: Duration(Span::from_secs(2)),
        }
    }
}

/// Limits of membership (design.md section 10).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MembershipFile {
    /// How long a region without contact to a majority continues to accept writes.
    pub max_offline: Duration,
}

impl Default for MembershipFile {
    fn default() -> Self {
        Self {
            max_offline: Duration(Span::from_secs(72 * 3600)),
        }
    }
}

fn trust_domain() -> String {
    "isthmus.local".to_owned()
}

fn lag_objective() -> Duration {
    Duration(Span::from_secs(2))
}

pub(super) fn partitions() -> u16 {
    4
}
