//! What a region tells of itself: one type for who tells and who reads. Field names are published: never renamed.
//!
//! A report comes from another region, which may be of another version or speak untruth. It is read into this type as it arrives: fields that
//! this version does not know are left out, missing ones have their empty value, and everything is [bounded]. One that can't be read
//! says so in [`RegionReport::unreadable`] and nothing else, so that of that region alone nothing is known.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) mod bounded;

/// A longer report is not read, in bytes.
pub const REPORT_BYTES: usize = 1024 * 1024;
/// Objects and lists of a report. One of [`REPORT_BYTES`] that a gateway writes has fewer.
const STRUCTURES: usize = 16 * 1024;
/// So much is repeated of why a report can't be read, in bytes.
const REASON_BYTES: usize = 256;

/// What a region tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegionReport {
    /// Why what it told can't be read; nothing else is known of it then.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bounded::maybe_text"
    )]
    pub unreadable: Option<String>,
    /// The gateway that tells.
    #[serde(deserialize_with = "bounded::name")]
    pub told_by: String,
    /// The generation of its set.yaml.
    pub generation: u64,
    /// The digest of its set.yaml; empty where none was told.
    #[serde(deserialize_with = "bounded::word")]
    pub set_digest: String,
    /// Who leads its gateways.
    #[serde(deserialize_with = "bounded::maybe_name")]
    pub leader: Option<String>,
    /// The life of the lease's log and the revision of the lease that made it leader.
    pub epoch: Option<Epoch>,
    /// Its live processes.
    #[serde(deserialize_with = "bounded::list::<_, _, 4096>")]
    pub members: Vec<MemberStatus>,
    /// The links that its leader makes.
    #[serde(deserialize_with = "bounded::list::<_, _, 64>")]
    pub links: Vec<LinkStatus>,
    /// What arrives there, by origin and shard.
    #[serde(deserialize_with = "bounded::list::<_, _, 16384>")]
    pub receiving: Vec<ReceivingStatus>,
    /// What its agents have applied.
    #[serde(deserialize_with = "bounded::list::<_, _, 4096>")]
    pub agents: Vec<AgentStatus>,
}

/// Which leadership.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Epoch {
    /// The life of the log that the lease is of.
    #[serde(deserialize_with = "bounded::word")]
    pub life: String,
    /// The lease's revision.
    pub revision: u64,
}

/// A live process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberStatus {
    /// Its name.
    #[serde(deserialize_with = "bounded::name")]
    pub name: String,
    /// `agent` or `gateway`.
    #[serde(deserialize_with = "bounded::word")]
    pub role: String,
    /// Its clock less the log's, as it told.
    #[serde(deserialize_with = "bounded::maybe_number")]
    pub clock_offset_ms: Option<f64>,
}

/// An outbound link.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkStatus {
    /// The region at the other end.
    #[serde(deserialize_with = "bounded::name")]
    pub peer: String,
    /// What it is doing, in one word.
    #[serde(deserialize_with = "bounded::word")]
    pub state: String,
    /// Where it goes.
    #[serde(deserialize_with = "bounded::maybe_word")]
    pub address: Option<String>,
    /// The gateway at the other end.
    #[serde(deserialize_with = "bounded::maybe_name")]
    pub gateway: Option<String>,
    /// The version of the protocol that both ends speak.
    pub protocol_version: Option<u32>,
    /// Since when it stands, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Whether an operator paused it.
    pub paused: bool,
    /// Why it fell or could not be made, last.
    #[serde(deserialize_with = "bounded::maybe_text")]
    pub last_error: Option<String>,
    /// Its lanes.
    #[serde(deserialize_with = "bounded::list::<_, _, 8192>")]
    pub lanes: Vec<LaneStatus>,
    /// Its round trip.
    #[serde(deserialize_with = "bounded::maybe_number")]
    pub rtt_ms: Option<f64>,
    /// The peer's clock less this one's.
    #[serde(deserialize_with = "bounded::maybe_number")]
    pub clock_offset_ms: Option<f64>,
    /// How far that may be off.
    #[serde(deserialize_with = "bounded::maybe_number")]
    pub clock_uncertainty_ms: Option<f64>,
}

/// One shard on an outbound link.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LaneStatus {
    /// The shard's group.
    #[serde(deserialize_with = "bounded::name")]
    pub group: String,
    /// Its partition.
    pub partition: u16,
    /// What the lane is doing, in one word.
    #[serde(deserialize_with = "bounded::word")]
    pub state: String,
    /// Why, where that is worth saying.
    #[serde(deserialize_with = "bounded::maybe_text")]
    pub reason: Option<String>,
    /// Through where the peer has the log.
    pub cursor: Option<LogPosition>,
    /// Through where its agents have applied it.
    pub applied: Option<LogPosition>,
    /// Through where the lane has read the log.
    pub read: Option<u64>,
    /// Bytes sent and not acknowledged.
    pub in_flight_bytes: u64,
    /// Bytes that may be in flight.
    pub window_bytes: u64,
    /// The peer is at least so far behind.
    #[serde(deserialize_with = "bounded::maybe_number")]
    pub lag_ms: Option<f64>,
    /// Whether the lag is known rather than a bound.
    pub lag_proven: bool,
    /// The peer has reported nothing more applied for so long.
    #[serde(deserialize_with = "bounded::number")]
    pub still_ms: f64,
    /// Messages of the log after what the peer has applied.
    pub backlog: Option<u64>,
    /// Changes are missing there until a sync brings them.
    pub needs_sync: bool,
}

/// A position in a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogPosition {
    /// The log's life.
    #[serde(deserialize_with = "bounded::word")]
    pub life: String,
    /// The sequence.
    pub sequence: u64,
    /// The message there, where that is known.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bounded::maybe_word"
    )]
    pub message_id: Option<String>,
}

/// One origin's shard as it arrives.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    /// `live`, `stalled` or `unknown`.
    #[serde(deserialize_with = "bounded::word")]
    pub state: String,
    /// Why it is not live.
    #[serde(deserialize_with = "bounded::maybe_text")]
    pub reason: Option<String>,
    /// Through where the region's log has it.
    pub cursor: Option<LogPosition>,
    /// How long the newest message took that was applied.
    #[serde(deserialize_with = "bounded::maybe_number")]
    pub delay_ms: Option<f64>,
    /// The parts of that, by the names of the stages.
    #[serde(deserialize_with = "bounded::numbers::<_, 16>")]
    pub stages_ms: BTreeMap<String, f64>,
    /// How far the delay may be off.
    #[serde(deserialize_with = "bounded::maybe_number")]
    pub uncertainty_ms: Option<f64>,
    /// Everything that is older than this is there.
    #[serde(deserialize_with = "bounded::maybe_number")]
    pub proof_age_ms: Option<f64>,
    /// How far that may be off.
    #[serde(deserialize_with = "bounded::maybe_number")]
    pub proof_uncertainty_ms: Option<f64>,
    /// Changes are missing until a sync brings them.
    pub needs_sync: bool,
}

/// An agent that told what it has applied.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentStatus {
    /// Its name.
    #[serde(deserialize_with = "bounded::name")]
    pub name: String,
    /// What it told of each shard.
    #[serde(deserialize_with = "bounded::list::<_, _, 8192>")]
    pub shards: Vec<AgentShard>,
}

/// One shard of an agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentShard {
    /// The shard's group.
    #[serde(deserialize_with = "bounded::name")]
    pub group: String,
    /// Its partition.
    pub partition: u16,
    /// Through where it has applied the region's own changes.
    pub own: Option<LogPosition>,
    /// Through where its checkpoint holds the log.
    pub checkpointed: u64,
    /// Changes are missing until a sync brings them.
    pub needs_sync: bool,
    /// Through where it has applied other regions' changes.
    #[serde(deserialize_with = "bounded::map::<_, _, 64>")]
    pub applied: BTreeMap<String, LogPosition>,
    /// How long until the log is trimmed past what each peer has.
    #[serde(deserialize_with = "bounded::numbers::<_, 64>")]
    pub runways_s: BTreeMap<String, f64>,
}

/// A report that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableReport {
    /// It is too long.
    #[error("a report of {0} bytes, more than {REPORT_BYTES}")]
    TooLong(usize),
    /// It has too many parts.
    #[error("a report of more than {STRUCTURES} objects and lists")]
    TooManyParts,
    /// It is a list, or nothing.
    #[error("a report that is no JSON object")]
    NoObject,
    /// Something in it is not what this version expects.
    #[error("a report of another form: {0}")]
    Malformed(#[from] serde_json::Error),
    /// There is none.
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
        Ok(serde_json::from_slice(body)?)
    }

    /// The report of a region that can't be read.
    #[must_use]
    pub fn of_unreadable(why: &impl Display) -> Self {
        Self {
            unreadable: Some(bounded::cleaned(&why.to_string(), REASON_BYTES)),
            ..Self::default()
        }
    }
}

/// Reads the reports of several regions; that one can't be read is said of it alone.
///
/// # Errors
/// [`UnreadableReport`] where it is no report of several regions at all.
pub fn read_all(
    body: &[u8],
) -> Result<BTreeMap<String, Result<RegionReport, UnreadableReport>>, UnreadableReport> {
    check_size(body)?;
    let all: BTreeMap<String, Value> = serde_json::from_slice(body)?;
    let one = |report: Value| match report.is_object() {
        true => Ok(RegionReport::deserialize(&report)?),
        false => Err(UnreadableReport::NoObject),
    };
    Ok(all
        .into_iter()
        .map(|(region, report)| (region, one(report)))
        .collect())
}

/// The reports of several regions as one that [`read_all`] reads: the first one, and of the others those that there is room for.
#[must_use]
pub fn write_all<'a>(
    own: (&str, &RegionReport),
    others: impl Iterator<Item = (&'a str, &'a RegionReport)>,
) -> Vec<u8> {
    let text = |report: &RegionReport| serde_json::to_string(report).unwrap_or_default();
    let mut others: Vec<(&str, String)> = others.map(|(region, report)| (region, text(report))).collect();
    others.sort_by_key(|(_, text)| text.len());
    let mut all = format!("{{\"{}\":{}", own.0, text(own.1));
    for (at, (region, told)) in others.iter().enumerate() {
        // Each of those that follow may have to be left out.
        let left_out = (others.len() - at) * (2 * REASON_BYTES);
        let fits = all.len() + told.len() + left_out <= REPORT_BYTES;
        let none = RegionReport {
            unreadable: Some(format!(
                "a report of {} bytes is not passed on within the region",
                told.len()
            )),
            ..RegionReport::default()
        };
        let told = if fits { told.clone() } else { text(&none) };
        all.push_str(&format!(",\"{region}\":{told}"));
    }
    all.push('}');
    all.into_bytes()
}

/// What is told in few bytes may take many in memory.
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
