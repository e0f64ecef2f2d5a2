//! A change: one write on its way to a cell.

use bytes::Bytes;

use crate::cell::{Cell, CellId, Content, ContentType};
use crate::planted::{self, Planted};
use crate::seen::Seen;
use crate::time::Wall;
use crate::trace::TraceContext;
use crate::version::Version;

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The cell it writes.
    pub id: CellId,
    /// Its version. `version.region` is the region where it was written.
    pub version: Version,
    /// What it replaces, region by region.
    pub seen: Seen,
    /// When its value expires; none if it does not.
    pub expires_at: Option<Wall>,
    /// What it writes.
    pub op: Op,
    /// The trace it belongs to.
    pub trace: Option<TraceContext>,
}

/// What a change does to its cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Sets the value.
    Put {
        /// The bytes. They may be a slice of the message that carried them.
        value: Bytes,
        /// Their media type.
        content_type: ContentType,
    },
    /// Deletes the cell; with the empty field, the whole key.
    Delete,
}

impl Change {
    /// The cell that this change results in. Copies the value out of the message that carried it,
    /// so that a small value does not keep a large message in memory.
    #[must_use]
    pub fn into_cell(self) -> (CellId, Cell) {
        let content = match self.op {
            Op::Put { value, content_type } => Content::Value {
                bytes: Bytes::copy_from_slice(&value),
                content_type,
            },
            Op::Delete => Content::Tombstone,
        };
        let cell = Cell {
            version: self.version,
            seen: self.seen,
            expires_at: self.expires_at.filter(|_| !planted::is(Planted::Expiry)),
            content,
        };
        (self.id, cell)
    }
}
