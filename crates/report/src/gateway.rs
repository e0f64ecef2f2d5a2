//! `/v1/status` of a gateway. Field names are published: never renamed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::bounded;
use crate::duration::{MaybeMillis, Millis};
use crate::label::{MaybeKnown, ProcessKind};
use crate::lag::LagRow;
use crate::offset::Offset;
use crate::region::{Epoch, LinkStatus, LogPosition, MemberStatus, ReceivingStatus, RegionReport};

/// The status of a gateway: its own, that of its region, and the last report of every region.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GatewayStatus {
    /// `gateway`.
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
    /// The digest of its set.yaml.
    #[serde(deserialize_with = "bounded::label")]
    pub set_digest: String,
    /// The leader of the region's gateways.
    #[serde(deserialize_with = "bounded::maybe_name")]
    pub leader: Option<String>,
    /// Whether this gateway is the leader.
    pub leading: bool,
    /// The epoch of the leadership.
    pub epoch: Option<Epoch>,
    /// The live processes of the region.
    #[serde(deserialize_with = "bounded::list::<_, _, 4096>")]
    pub members: Vec<MemberStatus>,
    /// The clock that stamps the region's log; null while it is not known.
    pub nats_clock: Option<ClockStatus>,
    /// The outbound links of the leader.
    #[serde(deserialize_with = "bounded::list::<_, _, 64>")]
    pub links: Vec<LinkStatus>,
    /// The inbound links of this gateway.
    #[serde(deserialize_with = "bounded::list::<_, _, 4096>")]
    pub accepted: Vec<AcceptedLinkStatus>,
    /// The position through which this gateway has read the log of each shard.
    #[serde(deserialize_with = "bounded::list::<_, _, 65536>")]
    pub heads: Vec<HeadStatus>,
    /// The state of other regions' changes as they arrive, by origin and shard.
    #[serde(deserialize_with = "bounded::list::<_, _, 1048576>")]
    pub receiving: Vec<ReceivingStatus>,
    /// Results of comparisons with other regions; empty if this gateway is not the leader.
    #[serde(deserialize_with = "bounded::list::<_, _, 1048576>")]
    pub compared: Vec<ComparedShard>,
    /// The streams of the region that are missing.
    #[serde(deserialize_with = "bounded::list::<_, _, 65536>")]
    pub missing_streams: Vec<MissingStream>,
    /// Every pair of regions and every shard that both have, the worst shard of a pair first.
    #[serde(deserialize_with = "bounded::list::<_, _, 1048576>")]
    pub lag: Vec<LagRow>,
    /// The last report of every region.
    #[serde(deserialize_with = "each_region")]
    pub regions: BTreeMap<String, KnownRegion>,
}

/// The last report of a region.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct KnownRegion {
    /// The report.
    #[serde(flatten)]
    pub report: RegionReport,
    /// Its age, in milliseconds; absent for the gateway's own region.
    #[serde(
        rename = "age_ms",
        with = "MaybeMillis",
        skip_serializing_if = "Option::is_none"
    )]
    pub age: Option<Duration>,
}

/// A clock as another one sees it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ClockStatus {
    /// That clock minus this process's clock, in milliseconds.
    #[serde(rename = "offset_ms")]
    pub offset: Offset,
    /// The maximum error of the offset, in milliseconds.
    #[serde(rename = "uncertainty_ms", with = "Millis")]
    pub uncertainty: Duration,
}

/// An inbound link.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AcceptedLinkStatus {
    /// The peer region.
    #[serde(deserialize_with = "bounded::name")]
    pub peer: String,
    /// The peer's address.
    #[serde(deserialize_with = "bounded::label")]
    pub address: String,
    /// The peer gateway, once it has sent its name.
    #[serde(deserialize_with = "bounded::maybe_name")]
    pub gateway: Option<String>,
    /// The protocol version that both ends use.
    pub protocol_version: Option<u32>,
    /// When it was opened, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Its round trip, in milliseconds.
    #[serde(rename = "rtt_ms", with = "MaybeMillis")]
    pub rtt: Option<Duration>,
    /// The peer's clock minus this one, in milliseconds.
    #[serde(rename = "clock_offset_ms")]
    pub clock_offset: Option<Offset>,
    /// The maximum error of that offset, in milliseconds.
    #[serde(rename = "clock_uncertainty_ms", with = "MaybeMillis")]
    pub clock_uncertainty: Option<Duration>,
}

/// The progress of a gateway in reading the log of one shard.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HeadStatus {
    /// The shard's group.
    #[serde(deserialize_with = "bounded::name")]
    pub group: String,
    /// Its partition.
    pub partition: u16,
    /// The gateway's state for this log.
    pub state: HeadState,
    /// The position through which it has read; null before the first message.
    pub position: Option<LogPosition>,
}

/// A gateway's state for the log of one shard: `starting`, `reading`, `running`, or the reason why
/// it does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadState {
    /// It has not started to read.
    Starting,
    /// It reads up to the log's end.
    Reading,
    /// It has reached the log's end and reads new messages as they are appended.
    Running,
    /// It does not read; with the reason, or an empty string if none is known.
    Stopped(String),
}

/// Results of comparing one shard with another region.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ComparedShard {
    /// The shard's group.
    #[serde(deserialize_with = "bounded::name")]
    pub group: String,
    /// Its partition.
    pub partition: u16,
    /// The other region.
    #[serde(deserialize_with = "bounded::name")]
    pub peer: String,
    /// Number of parts of the shard in which the regions have different values.
    pub differing_parts: u64,
    /// The time within which every part was compared, in milliseconds.
    #[serde(rename = "compared_within_ms", with = "Millis")]
    pub compared_within: Duration,
    /// Whether every part was compared.
    pub all_compared: bool,
}

/// A stream of the region that is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MissingStream {
    /// The stream's name.
    #[serde(deserialize_with = "bounded::text")]
    pub stream: String,
    /// What is missing, and the fix.
    #[serde(deserialize_with = "bounded::text")]
    pub reason: String,
}

impl GatewayStatus {
    /// Every region with its last report. The report of the gateway's own region, if missing, is
    /// built from its status.
    #[must_use]
    pub fn into_regions(self) -> BTreeMap<String, KnownRegion> {
        let mut regions = self.regions;
        regions.entry(self.region).or_insert_with(|| KnownRegion {
            report: RegionReport {
                reporter: self.name,
                generation: self.generation,
                set_digest: self.set_digest,
                leader: self.leader,
                epoch: self.epoch,
                members: self.members,
                links: self.links,
                receiving: self.receiving,
                ..RegionReport::default()
            },
            age: None,
        });
        regions
    }

    /// Whether this gateway reports that it leads its region.
    #[must_use]
    pub fn names_itself_leader(&self) -> bool {
        self.leader.as_ref() == Some(&self.name)
    }
}

/// An unreadable report does not affect other regions.
fn each_region<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, KnownRegion>, D::Error> {
    let all: BTreeMap<String, Value> = bounded::map::<_, _, 64>(from)?;
    let read = |known: &Value| {
        KnownRegion::deserialize(known).unwrap_or_else(|error| KnownRegion {
            report: RegionReport::of_unreadable(&error),
            age: None,
        })
    };
    Ok(all
        .into_iter()
        .map(|(region, known)| (region, read(&known)))
        .collect())
}

impl HeadState {
    /// The state as it appears in the status.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Starting => "starting",
            Self::Reading => "reading",
            Self::Running => "running",
            Self::Stopped(reason) => reason,
        }
    }
}

impl Default for HeadState {
    fn default() -> Self {
        Self::Stopped(String::new())
    }
}

impl Serialize for HeadState {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.label())
    }
}

impl<'de> Deserialize<'de> for HeadState {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let label = bounded::text(from)?;
        let states = [Self::Starting, Self::Reading, Self::Running];
        let known = states.into_iter().find(|state| state.label() == label);
        Ok(known.unwrap_or(Self::Stopped(label)))
    }
}

impl JsonSchema for HeadState {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "HeadState".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}
