//! The body of a record with cells.

use bytes::Bytes;
use prost::Message;

use super::{Lacked, wire};
use crate::cell::CellId;
use crate::coordinates::WriterId;
use crate::header::SourceFloors;
use crate::hlc::Hlc;
use crate::names::RegionName;
use crate::store::{Applied, HeldCell, Store};
use crate::time::Wall;
use crate::version::Version;

/// Bytes that are not the body of a record of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the body of a sync record: {0}")]
pub struct InvalidBody(&'static str);

/// What a record of a sync carries.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SyncBody {
    /// Cells that the source has.
    pub rows: Vec<(CellId, HeldCell)>,
    /// Cells that the source lacks.
    pub lacked: Vec<Lacked>,
}

impl SyncBody {
    /// Applies a record's cells at its place. `floor` is the fold's there, `applied_at` the agent's
    /// wall time. Returns what each of the source's cells did, and how many cells were dropped.
    pub fn apply(
        self,
        store: &mut Store,
        floors: SourceFloors,
        floor: Hlc,
        applied_at: Wall,
    ) -> (Vec<(CellId, Applied)>, u64) {
        let rows = self.rows.into_iter().map(|(id, held)| {
            let applied = store.copy(id.clone(), held.cell, floors, applied_at);
            (id, applied)
        });
        let applied: Vec<_> = rows.collect();
        let is_dropped = |lacked: &&Lacked| store.drop_lacked(&lacked.id, &lacked.version, floors, floor);
        let dropped = self.lacked.iter().filter(is_dropped).count();
        (applied, dropped as u64)
    }

    /// Encodes the body.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let lacked = self.lacked.iter().map(|lacked| wire::Lacked {
            name: lacked.id.to_stored().into(),
            hlc: lacked.version.hlc.bits(),
            region: lacked.version.region.as_str().to_owned(),
            writer: lacked.version.writer.0,
        });
        let body = wire::Body {
            rows: self.rows.iter().map(wire::Row::of).collect(),
            lacked: lacked.collect(),
        };
        body.encode_to_vec().into()
    }

    /// Decodes and checks a body.
    ///
    /// # Errors
    /// [`InvalidBody`].
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidBody> {
        let wire = wire::Body::decode(bytes).map_err(|_| InvalidBody("not protobuf"))?;
        let row = |row: &wire::Row| row.read().ok_or(InvalidBody("cell"));
        let lacked = |lacked: &wire::Lacked| {
            Ok(Lacked {
                id: CellId::from_stored(&lacked.name).map_err(|_| InvalidBody("name"))?,
                version: Version {
                    hlc: Hlc::from_bits(lacked.hlc),
                    region: RegionName::parse(&lacked.region).map_err(|_| InvalidBody("region"))?,
                    writer: WriterId(lacked.writer),
                },
            })
        };
        Ok(Self {
            rows: wire.rows.iter().map(row).collect::<Result<_, _>>()?,
            lacked: wire
                .lacked
                .iter()
                .map(lacked)
                .collect::<Result<_, InvalidBody>>()?,
        })
    }
}

impl wire::Row {
    pub(super) fn of((id, held): &(CellId, HeldCell)) -> Self {
        Self {
            name: id.to_stored().into(),
            held: held.to_stored(),
        }
    }

    pub(super) fn read(&self) -> Option<(CellId, HeldCell)> {
        let id = CellId::from_stored(&self.name).ok()?;
        Some((id, HeldCell::from_stored(&self.held).ok()?))
    }
}
