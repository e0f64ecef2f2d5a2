//! The report of a region to other regions. Field names are published: never renamed.
//!
//! A report comes from another region, which may run another version or be faulty. It is read into
//! [`RegionReport`] on arrival, with limits. A report that can't be read leaves only the reason in
//! [`RegionReport::unreadable`], so that only that region becomes unknown.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use isthmus_replication::receiving::lag::Freshness;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bounded;
use crate::duration::{MaybeMillis, Millis, SecondsByName};
use crate::label::{LaneState, LinkState, MaybeKnown, ProcessKind};
use crate::offset::Offset;
use crate::stages::Stages;

mod position;

pub use position::LogPosition;

/// Maximum size of a report, in bytes; a larger one is not read.
pub const REPORT_BYTES: usize = 1024 * 1024;
/// Maximum number of objects and lists in a report. A report of [`REPORT_BYTES`] from a gateway has
/// fewer.
const STRUCTURES: usize = 16 * 1024;
/// Maximum length of the reason why a report can't be read, in bytes.
const REASON_BYTES: usize = 256;

/// The report of a region.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RegionReport {
    /// Why the report can't be read. Nothing else about the region is known in this case.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bounded::maybe_text"
    )]
    pub unreadable: Option<String>,
    /// The gateway that reports.
    #[serde(rename = "told_by", deserialize_with = "bounded::name")]
    pub reporter: String,
    /// The generation of its set.yaml.
    pub generation: u64,
    /// The digest of its set.yaml; empty if not known.
    #[serde(deserialize_with = "bounded::label")]
    pub set_digest: String,
    /// The leader of its gateways.
    #[serde(deserialize_with = "bounded::maybe_name")]
    pub leader: Option<String>,
    /// The epoch of the leadership.
    pub epoch: Option<Epoch>,
    /// Its live processes.
    #[serde(deserialize_with = "bounded::list::<_, _, 4096>")]
    pub members: Vec<MemberStatus>,
    /// The outbound links of its leader.
    #[serde(deserialize_with = "bounded::list::<_, _, 64>")]
    pub links: Vec<LinkStatus>,
    /// The state of other regions' changes as they arrive there, by origin and shard.
    #[serde(deserialize_with = "bounded::list::<_, _, 16384>")]
    pub receiving: Vec<ReceivingStatus>,
    /// The positions of its agents.
    #[serde(deserialize_with = "bounded::list::<_, _, 4096>")]
    pub agents: Vec<AgentPositions>,
}

/// The epoch of a leadership.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Epoch {
    /// The life of the log that contains the lease.
    #[serde(deserialize_with = "bounded::label")]
    pub life: String,
    /// The lease's revision.
    pub revision: u64,
}

/// A live process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MemberStatus {
    /// Its name.
    #[serde(deserialize_with = "bounded::name")]
    pub name: String,
    /// Its kind.
    pub role: MaybeKnown<ProcessKind>,
    /// Its clock minus the log's clock, in milliseconds.
    #[serde(rename = "clock_offset_ms")]
    pub clock_offset: Option<Offset>,
}

/// An outbound link.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LinkStatus {
    /// The peer region.
    #[serde(deserialize_with = "bounded::name")]
    pub peer: String,
    /// Its state.
    pub state: MaybeKnown<LinkState>,
    /// The peer's address.
    #[serde(deserialize_with = "bounded::maybe_label")]
    pub address: Option<String>,
    /// The peer gateway.
    #[serde(deserialize_with = "bounded::maybe_name")]
    pub gateway: Option<String>,
    /// The protocol version that both ends use.
    pub protocol_version: Option<u32>,
    /// When it was opened, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Whether an operator paused it.
    pub paused: bool,
    /// The last reason why it closed or could not be opened.
    #[serde(deserialize_with = "bounded::maybe_text")]
    pub last_error: Option<String>,
    /// Its lanes.
    #[serde(deserialize_with = "bounded::list::<_, _, 8192>")]
    pub lanes: Vec<LaneStatus>,
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

/// One shard on an outbound link.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LaneStatus {
    /// The shard's group.
    #[serde(deserialize_with = "bounded::name")]
    pub group: String,
    /// Its partition.
    pub partition: u16,
    /// Its state.
    pub state: MaybeKnown<LaneState>,
    /// The reason for the state, if there is one.
    #[serde(deserialize_with = "bounded::maybe_text")]
    pub reason: Option<String>,
    /// The cursor through which the peer has the log.
    pub cursor: Option<LogPosition>,
    /// The position through which the peer's agents have applied the log.
    pub applied: Option<LogPosition>,
    /// The sequence through which the lane has read the log.
    pub read: Option<u64>,
    /// Number of bytes sent but not acknowledged.
    pub in_flight_bytes: u64,
    /// Maximum number of bytes in flight.
    pub window_bytes: u64,
    /// The minimum by which the peer is behind, in milliseconds.
    #[serde(rename = "lag_ms", with = "MaybeMillis")]
    pub lag: Option<Duration>,
    /// Whether the lag is exact rather than a bound.
    pub lag_proven: bool,
    /// Time since the peer last reported progress in applying, in milliseconds.
    #[serde(rename = "still_ms", with = "Millis")]
    pub still: Duration,
    /// Number of messages in the log after the peer's applied position.
    pub backlog: Option<u64>,
    /// Whether changes are missing there until a sync brings them.
    pub needs_sync: bool,
}

/// The state of one origin's shard as it arrives.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReceivingStatus {
    /// The region where the changes were made.
    #[serde(deserialize_with = "bounded::name")]
    pub origin: String,
    /// The shard's group.
    #[serde(deserialize_with = "bounded::name")]
    pub group: String,
    /// Its partition.
    pub partition: u16,
    /// How current it is.
    pub state: MaybeKnown<Freshness>,
    /// Why it is not live.
    #[serde(deserialize_with = "bounded::maybe_text")]
    pub reason: Option<String>,
    /// The cursor through which the region's log has it.
    pub cursor: Option<LogPosition>,
    /// The delay of the newest applied message, in milliseconds.
    #[serde(rename = "delay_ms", with = "MaybeMillis")]
    pub delay: Option<Duration>,
    /// The parts of the delay, in milliseconds.
    #[serde(rename = "stages_ms")]
    pub stages: Stages,
    /// The maximum error of the delay, in milliseconds.
    #[serde(rename = "uncertainty_ms", with = "MaybeMillis")]
    pub uncertainty: Option<Duration>,
    /// All changes older than this are there, in milliseconds.
    #[serde(rename = "proof_age_ms", with = "MaybeMillis")]
    pub proof_age: Option<Duration>,
    /// The maximum error of that age, in milliseconds.
    #[serde(rename = "proof_uncertainty_ms", with = "MaybeMillis")]
    pub proof_uncertainty: Option<Duration>,
    /// Whether changes are missing until a sync brings them.
    pub needs_sync: bool,
}

/// The positions of an agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AgentPositions {
    /// Its name.
    #[serde(deserialize_with = "bounded::name")]
    pub name: String,
    /// Its positions in each shard.
    #[serde(deserialize_with = "bounded::list::<_, _, 8192>")]
    pub shards: Vec<ShardPositions>,
}

/// The positions of an agent in one shard.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ShardPositions {
    /// The shard's group.
    #[serde(deserialize_with = "bounded::name")]
    pub group: String,
    /// Its partition.
    pub partition: u16,
    /// The position through which it has applied the region's own changes.
    pub own: Option<LogPosition>,
    /// The sequence through which its checkpoint contains the log.
    pub checkpointed: u64,
    /// Whether changes are missing until a sync brings them.
    pub needs_sync: bool,
    /// The positions through which it has applied other regions' changes.
    #[serde(deserialize_with = "bounded::map::<_, _, 64>")]
    pub applied: BTreeMap<String, LogPosition>,
    /// Time until the log is trimmed past each peer's position, in seconds.
    #[serde(rename = "runways_s", with = "SecondsByName")]
    pub runways: BTreeMap<String, Duration>,
}

/// A report that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableReport {
    /// It has this many bytes, more than [`REPORT_BYTES`].
    #[error("a report of {0} bytes, more than {REPORT_BYTES}")]
    TooLong(usize),
    /// It has too many objects and lists.
    #[error("a report of more than {STRUCTURES} objects and lists")]
    TooManyParts,
    /// It is not a JSON object.
    #[error("a report that is not a JSON object")]
    NoObject,
    /// A field differs from what this version expects.
    #[error("a report of an unexpected format: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The region returned none.
    #[error("no report: {0}")]
    Refused(String),
}

impl RegionReport {
    /// Reads the report of a region.
    ///
    /// # Errors
    /// [`UnreadableReport`].
    pub fn read(body: &[u8]) -> Result<Self, UnreadableReport> {
        check_size(body)?;
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(UnreadableReport::NoObject);
        }
        Ok(serde_json::from_slice::<Self>(body)?.without_controls())
    }

    /// Replaces each control character in its texts by a space: another region may have sent
    /// anything.
    fn without_controls(mut self) -> Self {
        let links = self.links.iter_mut();
        let of_links = links.flat_map(|link| {
            let lanes = link.lanes.iter_mut().map(|lane| &mut lane.reason);
            lanes.chain([&mut link.last_error])
        });
        let of_receiving = self.receiving.iter_mut().map(|received| &mut received.reason);
        let texts = of_links.chain(of_receiving).chain([&mut self.unreadable]);
        for text in texts.flatten() {
            *text = bounded::without_controls(text);
        }
        self
    }

    /// The report of a region whose report can't be read.
    #[must_use]
    pub fn of_unreadable(why: &impl Display) -> Self {
        Self {
            unreadable: Some(reason_of(why)),
            ..Self::default()
        }
    }

    /// The link to `peer`.
    #[must_use]
    pub fn link(&self, peer: &str) -> Option<&LinkStatus> {
        self.links.iter().find(|link| link.peer == peer)
    }
}

impl LinkStatus {
    /// The lane of one shard.
    #[must_use]
    pub fn lane(&self, group: &str, partition: u16) -> Option<&LaneStatus> {
        let mut lanes = self.lanes.iter();
        lanes.find(|lane| lane.group == group && lane.partition == partition)
    }
}

/// Reads the reports of several regions. A report that can't be read is an error of that region
/// only.
///
/// # Errors
/// [`UnreadableReport`] if the whole is not a map of reports.
pub fn read_all(
    body: &[u8],
) -> Result<BTreeMap<String, Result<RegionReport, UnreadableReport>>, UnreadableReport> {
    check_size(body)?;
    let all: BTreeMap<String, Value> = serde_json::from_slice(body)?;
    let one = |report: Value| match report.is_object() {
        true => Ok(RegionReport::deserialize(&report)?.without_controls()),
        false => Err(UnreadableReport::NoObject),
    };
    Ok(all
        .into_iter()
        .map(|(region, report)| (region, one(report)))
        .collect())
}

/// Writes the reports of several regions as one text for [`read_all`]: the own report, and as many
/// others as fit.
#[must_use]
pub fn write_all<'a>(
    own: (&str, &RegionReport),
    others: impl Iterator<Item = (&'a str, &'a RegionReport)>,
) -> Vec<u8> {
    let text = |report: &RegionReport| serde_json::to_string(report).unwrap_or_default();
    let mut others: Vec<(&str, String)> = others.map(|(region, report)| (region, text(report))).collect();
    others.sort_by_key(|(_, text)| text.len());
    let mut all = format!("{{\"{}\":{}", own.0, text(own.1));
    for (at, (region, report)) in others.iter().enumerate() {
        // Each of the following reports may have to be left out.
        let left_out = (others.len() - at) * (2 * REASON_BYTES);
        let fits = all.len() + report.len() + left_out <= REPORT_BYTES;
        let none = RegionReport {
            unreadable: Some(format!(
                "a report of {} bytes is not passed on within the region",
                report.len()
            )),
            ..RegionReport::default()
        };
        let report = if fits { report.clone() } else { text(&none) };
        all.push_str(&format!(",\"{region}\":{report}"));
    }
    all.push('}');
    all.into_bytes()
}

fn reason_of(why: &impl Display) -> String {
    let reason = bounded::without_controls(&why.to_string());
    reason[..reason.floor_char_boundary(REASON_BYTES)].to_owned()
}

/// Limits the number of structures: a few bytes of JSON may take many in memory.
fn check_size(body: &[u8]) -> Result<(), UnreadableReport> {
    if body.len() > REPORT_BYTES {
        return Err(UnreadableReport::TooLong(body.len()));
    }
    let opens = |byte: &&u8| matches!(**byte, b'{' | b'[');
    match body.iter().filter(opens).nth(STRUCTURES) {
        Some(_) => Err(UnreadableReport::TooManyParts),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
