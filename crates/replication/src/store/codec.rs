//! The encoding of a cell and its name in a checkpoint. Encoded names are ordered as the store
//! orders them.

use bytes::Bytes;
use prost::Message;

use super::{HeldCell, wire};
use crate::cell::{Cell, CellId, Content, ContentHash, ContentType, Field};
use crate::coordinates::WriterId;
use crate::hlc::Hlc;
use crate::limits;
use crate::names::{BucketName, Key, RegionName};
use crate::time::Wall;
use crate::version::Version;
use crate::wire::SeenEntry;

/// Bytes that are not a stored cell or the name of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a stored cell: {0}")]
pub struct InvalidStored(&'static str);

// Persisted, never reused.
const VALUE: u32 = 1;
const TOMBSTONE: u32 = 2;
const SWEPT: u32 = 3;

/// Ends bucket and key in a name: below every character of a bucket, escaped within a key.
const END: u8 = 0;
const ESCAPE: u8 = 1;

impl CellId {
    /// The name as bytes with the same order as names.
    #[must_use]
    pub fn to_stored(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bucket.as_str().len() + self.key.as_str().len() + 2);
        bytes.extend_from_slice(self.bucket.as_str().as_bytes());
        bytes.push(END);
        for byte in self.key.as_str().bytes() {
            if byte <= ESCAPE {
                bytes.push(ESCAPE);
            }
            bytes.push(byte);
        }
        bytes.push(END);
        bytes.extend_from_slice(self.field.bytes());
        bytes
    }

    /// Decodes a name.
    ///
    /// # Errors
    /// [`InvalidStored`].
    pub fn from_stored(bytes: &[u8]) -> Result<Self, InvalidStored> {
        let at = bytes
            .iter()
            .position(|b| *b == END)
            .ok_or(InvalidStored("name"))?;
        let bucket = str::from_utf8(&bytes[..at]).map_err(|_| InvalidStored("bucket"))?;
        let mut rest = bytes[at + 1..].iter().copied();
        let mut key = Vec::new();
        loop {
            match rest.next().ok_or(InvalidStored("name"))? {
                END => break,
                ESCAPE => key.push(rest.next().ok_or(InvalidStored("key"))?),
                byte => key.push(byte),
            }
        }
        let key = str::from_utf8(&key).map_err(|_| InvalidStored("key"))?;
        Ok(Self {
            bucket: BucketName::parse(bucket).map_err(|_| InvalidStored("bucket"))?,
            key: Key::parse(key).map_err(|_| InvalidStored("key"))?,
            field: Field::new(rest.collect::<Vec<u8>>().into()).ok_or(InvalidStored("field"))?,
        })
    }
}

impl HeldCell {
    /// Encodes the cell.
    #[must_use]
    pub fn to_stored(&self) -> Bytes {
        let cell = &self.cell;
        let (content, content_type, value) = content_to_parts(&cell.content);
        let held = wire::Held {
            hlc: cell.version.hlc.bits(),
            region: cell.version.region.as_str().to_owned(),
            writer: cell.version.writer.0,
            seen: SeenEntry::all_of(&cell.seen),
            expires_at_ms: cell.expires_at.map_or(0, Wall::millis),
            content,
            content_type: content_type.to_owned(),
            value,
            applied_at: self.applied_at.micros(),
        };
        held.encode_to_vec().into()
    }

    /// Decodes a cell; its value is a copy.
    ///
    /// # Errors
    /// [`InvalidStored`].
    pub fn from_stored(bytes: &[u8]) -> Result<Self, InvalidStored> {
        let held = wire::Held::decode(bytes).map_err(|_| InvalidStored("not protobuf"))?;
        let region = |name: &str| RegionName::parse(name).map_err(|_| InvalidStored("region"));
        let seen = SeenEntry::read(&held.seen).ok_or(InvalidStored("seen"))?;
        let version = Version {
            hlc: Hlc::from_bits(held.hlc),
            region: region(&held.region)?,
            writer: WriterId(held.writer),
        };
        Ok(Self {
            cell: Cell {
                version,
                seen,
                expires_at: (held.expires_at_ms != 0).then(|| Wall::from_millis(held.expires_at_ms)),
                content: content_from_parts(held.content, &held.content_type, held.value)?,
            },
            applied_at: Wall::from_micros(held.applied_at),
        })
    }
}

/// A write's content as its tag, its media type and its bytes.
pub(crate) fn content_to_parts(content: &Content) -> (u32, &str, Bytes) {
    match content {
        Content::Value { bytes, content_type } => (VALUE, content_type.as_str(), bytes.clone()),
        Content::Tombstone => (TOMBSTONE, "", Bytes::new()),
        Content::Swept(hash) => (SWEPT, "", Bytes::copy_from_slice(&hash.0.to_le_bytes())),
    }
}

/// Decodes a write's content.
///
/// # Errors
/// [`InvalidStored`].
pub(crate) fn content_from_parts(
    tag: u32,
    content_type: &str,
    value: Bytes,
) -> Result<Content, InvalidStored> {
    match tag {
        VALUE if value.len() <= limits::VALUE_BYTES => Ok(Content::Value {
            bytes: value,
            content_type: ContentType::new(content_type).ok_or(InvalidStored("content type"))?,
        }),
        TOMBSTONE => Ok(Content::Tombstone),
        SWEPT => {
            let hash: [u8; 16] = value.as_ref().try_into().map_err(|_| InvalidStored("hash"))?;
            Ok(Content::Swept(ContentHash(u128::from_le_bytes(hash))))
        }
        _ => Err(InvalidStored("content")),
    }
}
