//! The cell and the one merge rule (design.md section 4).
//!
//! Problem: regions receive the same writes in different orders, some of them twice, some months
//! late, and must end up equal. Sketch: each cell keeps one write; of two writes the one with the
//! greater [`Version`] stays. Invariant: [`merge`] is total, commutative, associative and
//! idempotent over (version, content), so any set of writes has one outcome, in any order and with
//! any repetition. Failure cases: two different contents under one version (a writer identifier was
//! reused) are settled by content hash and reported; expiry and sweeping must not change what a
//! digest covers, so a swept cell keeps the hash of what it held.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3Default;

use crate::hlc::Hlc;
use crate::limits;
use crate::names::{BucketName, Key};
use crate::planted::{self, Planted};
use crate::seen::Seen;
use crate::time::Wall;
use crate::version::Version;

/// Identifies a cell. A plain value uses the empty field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellId {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: Key,
    /// The field or member; empty for a plain value and for a whole-key tombstone.
    pub field: Field,
}

/// A field's name: any bytes, at most [`limits::FIELD_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Field(Bytes);

impl Field {
    /// The empty field.
    pub const NONE: Self = Self(Bytes::new());

    /// A field with this name; `None` if it is longer than [`limits::FIELD_BYTES`].
    #[must_use]
    pub fn new(bytes: Bytes) -> Option<Self> {
        (bytes.len() <= limits::FIELD_BYTES).then_some(Self(bytes))
    }

    /// The bytes of its name.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether it is the empty field.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }
}

/// A media type as the client gave it; empty if it gave none.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct ContentType(Arc<str>);

impl ContentType {
    /// A content type; `None` if it is longer than [`limits::CONTENT_TYPE_BYTES`] or has control
    /// characters.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = text.len() <= limits::CONTENT_TYPE_BYTES && !text.chars().any(char::is_control);
        fits.then(|| Self(text.into()))
    }

    /// The media type; empty if none was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What a write left in its cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A value.
    Value {
        /// The bytes as the client gave them.
        bytes: Bytes,
        /// Their media type.
        content_type: ContentType,
    },
    /// A delete.
    Tombstone,
    /// An expired value whose bytes were dropped. The hash is the value's.
    Swept(ContentHash),
}

/// xxh3-128 of op, value, content type and expiry, for digests and the tie-break. It never covers
/// `seen` or stage times.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub u128);

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// One cell's state: the write that won.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The version of that write.
    pub version: Version,
    /// What it replaced, region by region.
    pub seen: Seen,
    /// When its value expires: the milliseconds of the stamp plus the ttl.
    pub expires_at: Option<Wall>,
    /// What it left in the cell.
    pub content: Content,
}

impl Cell {
    /// The hash of what the write left. Expiry and sweeping do not change it.
    #[must_use]
    pub fn content_hash(&self) -> ContentHash {
        let mut hash = Xxh3Default::new();
        match &self.content {
            Content::Swept(hash) => return *hash,
            Content::Tombstone => hash.update(&[OP_DELETE]),
            Content::Value { bytes, content_type } => {
                hash.update(&[OP_PUT]);
                hash.update(&(content_type.as_str().len() as u64).to_le_bytes());
                hash.update(content_type.as_str().as_bytes());
                hash.update(bytes);
            }
        }
        hash.update(&self.expires_at.map_or(0, Wall::millis).to_le_bytes());
        ContentHash(hash.digest128())
    }

    /// The value that a reader sees at `wall`. Normal form makes an expired cell a tombstone of the
    /// same version.
    #[must_use]
    pub fn live_value(&self, wall: Wall) -> Option<(&Bytes, &ContentType)> {
        match &self.content {
            Content::Value { bytes, content_type } if !self.expired(wall) => Some((bytes, content_type)),
            _ => None,
        }
    }

    /// Whether the value has expired at `wall`.
    #[must_use]
    pub fn expired(&self, wall: Wall) -> bool {
        self.expires_at.is_some_and(|at| wall >= at)
    }

    /// Whether this write, which wins, did not know of `loser`: a true conflict. A process knows
    /// what it wrote before.
    #[must_use]
    pub fn overwrites_unseen(&self, loser: &Version) -> bool {
        self.version.writer != loser.writer && !self.seen.covers(loser)
    }

    /// The collected floor from which the cell counts as absent: a tombstone's stamp, or the later
    /// one of a value's stamp and expiry. None for a value without expiry.
    #[must_use]
    pub fn absent_from(&self) -> Option<Hlc> {
        let stamp = self.version.hlc;
        match (&self.content, self.expires_at) {
            (Content::Tombstone, _) => Some(stamp),
            (_, Some(at)) => Some(stamp.max(Hlc::at(at))),
            (_, None) => None,
        }
    }

    /// Whether the cell counts as absent at this collected floor.
    #[must_use]
    pub fn is_absent_at(&self, floor: Hlc) -> bool {
        self.absent_from().is_some_and(|from| from <= floor)
    }

    /// Drops the bytes of a value and keeps version and hash.
    pub fn sweep(&mut self) {
        if matches!(self.content, Content::Value { .. }) {
            self.content = Content::Swept(self.content_hash());
        }
    }

    /// What this cell adds to a digest: xxh3-128 of its name, version and content hash.
    #[must_use]
    pub fn digest(&self, id: &CellId) -> Digest {
        let mut hash = Xxh3Default::new();
        let mut part = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(id.bucket.as_str().as_bytes());
        part(id.key.as_str().as_bytes());
        part(id.field.bytes());
        part(self.version.region.as_str().as_bytes());
        hash.update(&self.version.hlc.bits().to_le_bytes());
        hash.update(&self.version.writer.0.to_le_bytes());
        hash.update(&self.content_hash().0.to_le_bytes());
        Digest(hash.digest128())
    }
}

const OP_PUT: u8 = 1;
const OP_DELETE: u8 = 2;

/// The digest of a set of cells: the wrapping sum of the cells' digests, so cells can be added and
/// removed in any order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Digest(pub u128);

impl Digest {
    /// Adds a cell's digest.
    pub fn add(&mut self, cell: Self) {
        self.0 = self.0.wrapping_add(cell.0);
    }

    /// Removes a cell's digest.
    pub fn remove(&mut self, cell: Self) {
        self.0 = self.0.wrapping_sub(cell.0);
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a merge did to the held cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// The incoming write won; `replaced` is what was held.
    Won {
        /// The cell it replaced, if any.
        replaced: Option<Cell>,
    },
    /// The held write stays.
    Superseded,
    /// The same write arrived again.
    Same,
    /// One version has two contents: a writer identifier was reused. The greater hash was kept.
    Clash,
}

/// Merges a write into the held cell: the greater version stays, and nothing else decides.
pub fn merge(held: &mut Option<Cell>, incoming: Cell) -> Merged {
    let Some(cell) = held else {
        *held = Some(incoming);
        return Merged::Won { replaced: None };
    };
    if planted::is(Planted::TieRule)
        && incoming.version.hlc == cell.version.hlc
        && incoming.version != cell.version
    {
        return Merged::Superseded;
    }
    match incoming.version.cmp(&cell.version) {
        std::cmp::Ordering::Greater => Merged::Won {
            replaced: held.replace(incoming),
        },
        std::cmp::Ordering::Less => Merged::Superseded,
        std::cmp::Ordering::Equal => merge_equal(cell, incoming),
    }
}

fn merge_equal(cell: &mut Cell, mut incoming: Cell) -> Merged {
    let (ours, theirs) = (cell.content_hash(), incoming.content_hash());
    let swept = matches!(incoming.content, Content::Swept(_));
    incoming.seen.join(&cell.seen);
    if theirs > ours || (theirs == ours && swept) {
        *cell = incoming;
    } else {
        cell.seen = incoming.seen;
    }
    if theirs == ours {
        Merged::Same
    } else {
        Merged::Clash
    }
}

#[cfg(test)]
mod tests;
