//! The records of a sync: what another region's store has and this one lacks, written into this
//! region's log (docs/decisions/0024-sync.md).

use super::{Cursor, HeaderError, Hlc, Life, Lineage, MessageId, RegionName, WriterId};
use crate::time::Wall;
use crate::{limits, wire};

/// One record of a sync.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncRecord {
    /// This message.
    pub message_id: MessageId,
    /// The life of the log that it is written into.
    pub life: Life,
    /// The message that began the sync.
    pub begun: MessageId,
    /// What it does.
    pub step: SyncStep,
}

/// What a record of a sync does. Numbers are persisted, never reused.
#[derive(Debug, Clone, PartialEq)]
pub enum SyncStep {
    /// It begins: the cursors of other regions move to the source's. What they skip is missing here
    /// until the sync ends.
    Begin {
        /// The process that writes the sync.
        writer: WriterId,
        /// Its stamp.
        hlc: Hlc,
        /// The region whose store is compared.
        source: RegionName,
        /// How far the source had included each region's log, its own too, ordered by region.
        positions: Vec<SourcePosition>,
    },
    /// Cells that the source has, and names of cells that it lacks.
    Cells {
        /// How many such records of this sync come before it.
        number: u32,
        /// The source's floors.
        floors: SourceFloors,
    },
    /// The whole store was compared.
    End {
        /// How many records with cells there are.
        records: u32,
        /// Every other member was the source of a sync in this life of the log: what the log held
        /// before is here.
        all_members: bool,
    },
}

/// The floors of the source of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceFloors {
    /// The stamp through which it had collected tombstones when the sync began.
    pub collected: Hlc,
    /// The stamp at or below which its log accepts no more changes, when it read the cells.
    pub floor: Hlc,
}

/// How far a source has included a region's log.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePosition {
    /// The region.
    pub region: RegionName,
    /// Everything through here is included.
    pub cursor: Cursor,
    /// The lives of that log, as the source knows them.
    pub lineage: Lineage,
    /// That log's own highest stamp there.
    pub highest_stamp: Hlc,
    /// When that log stored its newest own record there, by its own clock.
    pub appended: Wall,
    /// That log's own admission floor there; zero if the source does not know it.
    pub admission_floor: Hlc,
}

const BEGIN: u32 = 1;
const CELLS: u32 = 2;
const END: u32 = 3;

impl SyncRecord {
    pub(super) fn to_wire(&self) -> wire::Sync {
        let begun = self.begun.0;
        match &self.step {
            SyncStep::Begin {
                source, positions, ..
            } => wire::Sync {
                begun,
                step: BEGIN,
                source: source.as_str().to_owned(),
                positions: positions.iter().map(SourcePosition::to_wire).collect(),
                ..wire::Sync::default()
            },
            SyncStep::Cells { number, floors } => wire::Sync {
                begun,
                step: CELLS,
                number: *number,
                collected: floors.collected.bits(),
                floor: floors.floor.bits(),
                ..wire::Sync::default()
            },
            SyncStep::End { records, all_members } => wire::Sync {
                begun,
                step: END,
                number: *records,
                all_members: *all_members,
                ..wire::Sync::default()
            },
        }
    }

    pub(super) fn read(wire: &wire::Header) -> Result<Self, HeaderError> {
        let sync = wire.sync.as_ref().ok_or(HeaderError::Malformed("no sync"))?;
        let step = match sync.step {
            BEGIN => SyncStep::Begin {
                writer: WriterId(wire.writer),
                hlc: Hlc::from_bits(wire.highest_stamp),
                source: super::region(&sync.source)?,
                positions: read_positions(&sync.positions)?,
            },
            CELLS => SyncStep::Cells {
                number: sync.number,
                floors: SourceFloors {
                    collected: Hlc::from_bits(sync.collected),
                    floor: Hlc::from_bits(sync.floor),
                },
            },
            END => SyncStep::End {
                records: sync.number,
                all_members: sync.all_members,
            },
            number => {
                return Err(HeaderError::Unknown {
                    what: "step of a sync",
                    number,
                });
            }
        };
        Ok(Self {
            message_id: MessageId(wire.message_id),
            life: wire
                .life
                .ok_or(HeaderError::Malformed("sync without life"))?
                .into(),
            begun: MessageId(sync.begun),
            step,
        })
    }
}

/// Reads positions, which are ordered by region.
pub(crate) fn read_positions(wire: &[wire::OriginState]) -> Result<Vec<SourcePosition>, HeaderError> {
    if wire.len() > limits::REGIONS {
        return Err(HeaderError::Malformed("too many regions"));
    }
    let positions: Vec<_> = wire
        .iter()
        .map(SourcePosition::from_wire)
        .collect::<Result<_, _>>()?;
    if !positions.is_sorted_by(|one, next| one.region < next.region) {
        return Err(HeaderError::Malformed("regions out of order"));
    }
    Ok(positions)
}

impl SourcePosition {
    pub(crate) fn to_wire(&self) -> wire::OriginState {
        wire::OriginState {
            region: self.region.as_str().to_owned(),
            cursor: Some(self.cursor.into()),
            lineage: self.lineage.to_wire(),
            highest_stamp: self.highest_stamp.bits(),
            appended: self.appended.micros(),
            floor: self.admission_floor.bits(),
            needs_sync: false,
            whole: None,
        }
    }

    fn from_wire(wire: &wire::OriginState) -> Result<Self, HeaderError> {
        let cursor: Cursor = wire
            .cursor
            .ok_or(HeaderError::Malformed("position without cursor"))?
            .try_into()?;
        let lineage = Lineage::from_wire(&wire.lineage)?;
        Ok(Self {
            region: super::region(&wire.region)?,
            cursor,
            lineage,
            highest_stamp: Hlc::from_bits(wire.highest_stamp),
            appended: Wall::from_micros(wire.appended),
            admission_floor: Hlc::from_bits(wire.floor),
        })
    }
}
