//! The header of a log message: what the fold judges, and what gateways read without decoding the
//! body.
//!
//! A header is stored in the NATS header `Isthmus-Header` and travels as a field of a link frame;
//! docs/protocol.md has the schema. Reading it never panics: a header that can't be used is
//! [`Malformed`](HeaderError::Malformed) (its message is void) or of an
//! [`Unknown`](HeaderError::Unknown) kind or codec (its shard stops until the reader is upgraded).

use bytes::Bytes;
use prost::Message;

use crate::coordinates::{Anchor, Cursor, Life, MessageId, Position, Sequence, Shard, WriterId};
use crate::hlc::Hlc;
use crate::limits;
use crate::names::{GroupName, RegionName, SetName};
use crate::wire;

mod lineage;
mod membership;
mod range;
mod record;
mod sync;

pub use crate::wire::StageTimes;
pub use lineage::{LifeLink, Lineage};
pub use membership::{ClockLimits, Membership};
pub use range::{Range, Standing};
pub use record::{Barrier, Kind, LifeRecord, Local, MarkRecord, Record};
pub(crate) use sync::read_positions;
pub use sync::{SourceFloors, SourcePosition, SyncRecord, SyncStep};

/// The header of a log message.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The set.
    pub set: SetName,
    /// The shard.
    pub shard: Shard,
    /// What the message is.
    pub record: Record,
    /// What its body has to be.
    pub body: BodySeal,
    /// When it passed each stage.
    pub stages: StageTimes,
}

/// What a header promises about its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BodySeal {
    /// The length of the body as stored, in bytes.
    pub bytes: u32,
    /// crc32c of the bytes as stored.
    pub crc32c: u32,
    /// The number of changes in the body.
    pub changes: u32,
    /// How the stored bytes encode the changes.
    pub codec: Codec,
}

/// How stored bytes encode a body. Numbers are persisted: 0 and 1 are used; 2 to 15 are free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Codec {
    /// The bytes are the body.
    #[default]
    Plain,
    /// zstd. Only a range may use it.
    Zstd {
        /// The length of the body, in bytes.
        plain_bytes: u32,
    },
}

impl Codec {
    const PLAIN: u32 = 0;
    const ZSTD: u32 = 1;

    fn write(self, wire: &mut wire::Header) {
        (wire.codec, wire.plain_bytes) = match self {
            Self::Plain => (Self::PLAIN, wire.body_bytes),
            Self::Zstd { plain_bytes } => (Self::ZSTD, plain_bytes),
        };
    }

    fn read(wire: &wire::Header) -> Result<Self, HeaderError> {
        match wire.codec {
            Self::PLAIN => Ok(Self::Plain),
            Self::ZSTD if wire.kind == Kind::Range as u32 => Ok(Self::Zstd {
                plain_bytes: wire.plain_bytes,
            }),
            number => Err(HeaderError::Unknown {
                what: "codec",
                number,
            }),
        }
    }
}

impl BodySeal {
    /// The seal of a plain `body` with `changes` changes.
    #[must_use]
    pub fn of(body: &[u8], changes: u32) -> Self {
        let bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        Self {
            bytes,
            crc32c: crc32c::crc32c(body),
            changes,
            codec: Codec::Plain,
        }
    }

    /// Checks that `body` is what the header promised.
    ///
    /// # Errors
    /// [`BrokenSeal`] if the length or the checksum differs.
    pub fn check(&self, body: &[u8]) -> Result<(), BrokenSeal> {
        let found = Self {
            codec: self.codec,
            ..Self::of(body, self.changes)
        };
        if found == *self {
            Ok(())
        } else {
            Err(BrokenSeal {
                promised: *self,
                found,
            })
        }
    }
}

/// The body is not what its header promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a body of {} bytes with crc32c {:08x} where the header promises {} bytes with {:08x}",
    found.bytes, found.crc32c, promised.bytes, promised.crc32c)]
pub struct BrokenSeal {
    /// From the header.
    pub promised: BodySeal,
    /// Of the body.
    pub found: BodySeal,
}

/// Why a header can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It is not a header: its message is void.
    #[error("malformed header: {0}")]
    Malformed(&'static str),
    /// It is from a later version: the shard stops.
    #[error("unknown {what} {number}: upgrade needed")]
    Unknown {
        /// "kind" or "codec".
        what: &'static str,
        /// Its number.
        number: u32,
    },
}

impl Header {
    /// The message's identifier. For a range or a gap it is the identifier of the origin's message
    /// at its end.
    #[must_use]
    pub fn message_id(&self) -> MessageId {
        self.record.message_id()
    }

    /// Encodes the header.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut wire = wire::Header {
            set: self.set.as_str().to_owned(),
            group: self.shard.group.as_str().to_owned(),
            partition: u32::from(self.shard.partition),
            body_bytes: self.body.bytes,
            body_crc32c: self.body.crc32c,
            changes: self.body.changes,
            stages: Some(self.stages),
            ..wire::Header::default()
        };
        self.record.write(&mut wire);
        self.body.codec.write(&mut wire);
        wire.encode_to_vec().into()
    }

    /// Decodes and checks a header.
    ///
    /// # Errors
    /// [`HeaderError`] if the bytes are not a valid header, or its kind or codec is unknown.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let wire = wire::Header::decode(bytes).map_err(|_| HeaderError::Malformed("not protobuf"))?;
        let codec = Codec::read(&wire)?;
        let record = Record::read(&wire)?;
        let set = SetName::parse(&wire.set).map_err(|_| HeaderError::Malformed("set"))?;
        let group = GroupName::parse(&wire.group).map_err(|_| HeaderError::Malformed("group"))?;
        let partition = u16::try_from(wire.partition).map_err(|_| HeaderError::Malformed("partition"))?;
        if partition >= limits::PARTITIONS {
            return Err(HeaderError::Malformed("partition"));
        }
        Ok(Self {
            set,
            shard: Shard { group, partition },
            record,
            body: BodySeal {
                bytes: wire.body_bytes,
                crc32c: wire.body_crc32c,
                changes: wire.changes,
                codec,
            },
            stages: wire.stages.unwrap_or_default(),
        })
    }
}

pub(crate) fn region(name: &str) -> Result<RegionName, HeaderError> {
    RegionName::parse(name).map_err(|_| HeaderError::Malformed("region"))
}

impl From<Life> for wire::Life {
    fn from(life: Life) -> Self {
        Self {
            number: life.number,
            nonce: life.nonce,
        }
    }
}

impl From<wire::Life> for Life {
    fn from(life: wire::Life) -> Self {
        Self {
            number: life.number,
            nonce: life.nonce,
        }
    }
}

impl From<Cursor> for wire::Cursor {
    fn from(cursor: Cursor) -> Self {
        Self {
            life: Some(cursor.position.life.into()),
            sequence: cursor.position.sequence.0,
            message_id: cursor.message_id.0,
        }
    }
}

impl TryFrom<wire::Cursor> for Cursor {
    type Error = HeaderError;

    fn try_from(cursor: wire::Cursor) -> Result<Self, HeaderError> {
        let life = cursor
            .life
            .ok_or(HeaderError::Malformed("cursor without life"))?
            .into();
        Ok(Self {
            position: Position {
                life,
                sequence: Sequence(cursor.sequence),
            },
            message_id: MessageId(cursor.message_id),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
