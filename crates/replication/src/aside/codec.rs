//! Entries as bytes.

use bytes::Bytes;
use prost::Message;

use super::wire::{Aside, AsideRange, AsideVersion, AsideWrite};
use super::{Entry, Kept, KeptRange, KeptWrite, Reason, Why};
use crate::cell::{CellId, Field};
use crate::coordinates::{Cursor, Sequence, Shard, WriterId};
use crate::hlc::Hlc;
use crate::names::{BucketName, GroupName, Key, RegionName};
use crate::store::{content_from_parts, content_to_parts};
use crate::time::Wall;
use crate::version::Version;

/// The bytes are not an entry, or its reason is of a later version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an entry of what is set aside: {0}")]
pub struct InvalidEntry(&'static str);

// Persisted, never reused.
const CLOCK: u32 = 1;
const TOO_LATE: u32 = 2;
const UNDECODABLE: u32 = 3;
const CONFLICT: u32 = 4;
const LATE: u32 = 5;

fn tag(reason: Reason) -> u32 {
    match reason {
        Reason::Clock => CLOCK,
        Reason::TooLate => TOO_LATE,
        Reason::Undecodable => UNDECODABLE,
        Reason::Conflict => CONFLICT,
        Reason::Late => LATE,
    }
}

impl Entry {
    /// Encodes the entry.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let (write, range) = match &self.kept {
            Kept::Write(write) => (Some(write_to_wire(write)), None),
            Kept::Range(range) => (None, Some(range_to_wire(range))),
        };
        let aside = Aside {
            group: self.shard.group.as_str().to_owned(),
            partition: u32::from(self.shard.partition),
            reason: tag(self.reason()),
            at: self.at.micros(),
            write,
            range,
        };
        aside.encode_to_vec().into()
    }

    /// Decodes an entry. The value of a write may be a slice of `bytes`.
    ///
    /// # Errors
    /// [`InvalidEntry`] if the bytes are not a valid entry or its reason is unknown.
    pub fn decode(bytes: Bytes) -> Result<Self, InvalidEntry> {
        let aside = Aside::decode(bytes).map_err(|_| InvalidEntry("not protobuf"))?;
        let group = GroupName::parse(&aside.group).map_err(|_| InvalidEntry("group"))?;
        let partition = u16::try_from(aside.partition).map_err(|_| InvalidEntry("partition"))?;
        let kept = match (aside.reason, aside.write, aside.range) {
            (UNDECODABLE, None, Some(range)) => Kept::Range(range_from_wire(range)?),
            (CLOCK | TOO_LATE | CONFLICT | LATE, Some(write), None) => {
                Kept::Write(write_from_wire(aside.reason, write)?)
            }
            _ => return Err(InvalidEntry("reason")),
        };
        Ok(Self {
            shard: Shard { group, partition },
            at: Wall::from_micros(aside.at),
            kept,
        })
    }
}

fn write_to_wire(write: &KeptWrite) -> AsideWrite {
    let (content, content_type, value) = content_to_parts(&write.content);
    AsideWrite {
        bucket: write.id.bucket.as_str().to_owned(),
        key: write.id.key.as_str().to_owned(),
        field: write.id.field.bytes().clone(),
        version: Some(version_to_wire(&write.version)),
        expires_at_ms: write.expires_at.map_or(0, Wall::millis),
        content,
        content_type: content_type.to_owned(),
        value,
        winner: match &write.why {
            Why::Conflict { winner } => Some(version_to_wire(winner)),
            Why::Clock | Why::TooLate | Why::Late => None,
        },
    }
}

fn write_from_wire(reason: u32, write: AsideWrite) -> Result<KeptWrite, InvalidEntry> {
    let why = match (reason, write.winner) {
        (CLOCK, None) => Why::Clock,
        (TOO_LATE, None) => Why::TooLate,
        (LATE, None) => Why::Late,
        (CONFLICT, Some(winner)) => Why::Conflict {
            winner: version_from_wire(&winner)?,
        },
        _ => return Err(InvalidEntry("winner")),
    };
    let version = write.version.ok_or(InvalidEntry("no version"))?;
    let content = content_from_parts(write.content, &write.content_type, write.value);
    Ok(KeptWrite {
        why,
        id: CellId {
            bucket: BucketName::parse(&write.bucket).map_err(|_| InvalidEntry("bucket"))?,
            key: Key::parse(&write.key).map_err(|_| InvalidEntry("key"))?,
            field: Field::new(write.field).ok_or(InvalidEntry("field"))?,
        },
        version: version_from_wire(&version)?,
        expires_at: (write.expires_at_ms != 0).then(|| Wall::from_millis(write.expires_at_ms)),
        content: content.map_err(|_| InvalidEntry("content"))?,
    })
}

fn version_to_wire(version: &Version) -> AsideVersion {
    AsideVersion {
        hlc: version.hlc.bits(),
        region: version.region.as_str().to_owned(),
        writer: version.writer.0,
    }
}

fn version_from_wire(version: &AsideVersion) -> Result<Version, InvalidEntry> {
    Ok(Version {
        hlc: Hlc::from_bits(version.hlc),
        region: region(&version.region)?,
        writer: WriterId(version.writer),
    })
}

fn range_to_wire(range: &KeptRange) -> AsideRange {
    AsideRange {
        origin: range.origin.as_str().to_owned(),
        first: range.first.0,
        through: Some(range.through.into()),
        detail: range.detail.clone(),
        body: range.body.clone(),
    }
}

fn range_from_wire(range: AsideRange) -> Result<KeptRange, InvalidEntry> {
    let through = range.through.ok_or(InvalidEntry("no end"))?;
    Ok(KeptRange {
        origin: region(&range.origin)?,
        first: Sequence(range.first),
        through: Cursor::try_from(through).map_err(|_| InvalidEntry("end"))?,
        detail: range.detail,
        body: range.body,
    })
}

fn region(name: &str) -> Result<RegionName, InvalidEntry> {
    RegionName::parse(name).map_err(|_| InvalidEntry("region"))
}
