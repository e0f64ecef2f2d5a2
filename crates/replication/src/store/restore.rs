//! The writes that an agent gives back after its region's log lost a tail (design.md section 5,
//! "Lives").

use super::Store;
use crate::cell::{CellId, Content};
use crate::change::{Change, Op};
use crate::hlc::Hlc;
use crate::names::RegionName;

impl Store {
    /// The writes of `region` stamped above `floor` as the original changes, ordered by name. A
    /// swept cell has no bytes to give back and is left out.
    pub fn stamped_above<'a>(
        &'a self,
        region: &'a RegionName,
        floor: Hlc,
    ) -> impl Iterator<Item = Change> + 'a {
        self.cells
            .iter()
            .filter(move |(_, held)| held.cell.version.region == *region && held.cell.version.hlc > floor)
            .filter_map(|(id, held)| change(id, &held.cell))
    }
}

fn change(id: &CellId, cell: &crate::cell::Cell) -> Option<Change> {
    let op = match &cell.content {
        Content::Value { bytes, content_type } => Op::Put {
            value: bytes.clone(),
            content_type: content_type.clone(),
        },
        Content::Tombstone => Op::Delete,
        Content::Swept(_) => return None,
    };
    Some(Change {
        id: id.clone(),
        version: cell.version.clone(),
        seen: cell.seen.clone(),
        expires_at: cell.expires_at,
        op,
        trace: None,
    })
}
