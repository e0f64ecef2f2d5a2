//! Requests and parts as bytes, checked.

use bytes::Bytes;
use prost::Message;

use super::{Head, History, PartRequest, wire};
use crate::cell::CellId;
use crate::coordinates::{Anchor, MessageId, Sequence, Shard, WriterId};
use crate::fold::{Fold, LogName};
use crate::hlc::Hlc;
use crate::limits;
use crate::names::GroupName;
use crate::store::HeldCell;

/// Bytes that are not a request for a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a request for a part of an image: {0}")]
pub struct InvalidRequest(&'static str);

/// A part that is not what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the part that was asked for: {0}")]
pub struct InvalidPart(pub(super) &'static str);

/// A part as the target reads it.
#[derive(Debug)]
pub(super) struct Part {
    pub head: Option<Head>,
    /// In the order of their names.
    pub rows: Vec<(CellId, HeldCell)>,
    /// The position that the source had applied when it took the part.
    pub through: Anchor,
    pub last: bool,
    /// Tombstones through here are gone at the source.
    pub reclaimed: Hlc,
}

impl PartRequest {
    /// Encodes the request.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let wire = wire::PartRequest {
            group: self.shard.group.as_str().to_owned(),
            partition: u32::from(self.shard.partition),
            begun: self.begun.map(Into::into),
            after: self
                .after
                .as_ref()
                .map(CellId::to_stored)
                .unwrap_or_default()
                .into(),
            floor: self.floor.bits(),
        };
        wire.encode_to_vec().into()
    }

    /// Decodes and checks a request.
    ///
    /// # Errors
    /// [`InvalidRequest`].
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidRequest> {
        let wire = wire::PartRequest::decode(bytes).map_err(|_| InvalidRequest("not protobuf"))?;
        let group = GroupName::parse(&wire.group).map_err(|_| InvalidRequest("group"))?;
        let partition = u16::try_from(wire.partition).ok();
        let partition = partition.filter(|partition| *partition < limits::PARTITIONS);
        let after = (!wire.after.is_empty()).then(|| CellId::from_stored(&wire.after));
        Ok(Self {
            shard: Shard {
                group,
                partition: partition.ok_or(InvalidRequest("partition"))?,
            },
            begun: wire.begun.map(Into::into),
            after: after.transpose().map_err(|_| InvalidRequest("cell"))?,
            floor: Hlc::from_bits(wire.floor),
        })
    }
}

impl Head {
    pub(super) fn to_wire(&self) -> wire::Head {
        let known = self.known_positions.iter();
        wire::Head {
            history: Some(self.history.into()),
            fold: self.fold.encode(),
            known: known
                .flat_map(|anchor| [anchor.sequence.0, anchor.message_id.0])
                .collect(),
            cells: self.cells,
            bytes: self.bytes,
        }
    }

    fn from_wire(log: &LogName, wire: &wire::Head) -> Result<Self, InvalidPart> {
        let (known, rest) = wire.known.as_chunks::<2>();
        if !rest.is_empty() || known.len() > 2 * limits::KEPT_MARKS {
            return Err(InvalidPart("known positions"));
        }
        let known = known.iter().map(|[sequence, id]| Anchor {
            sequence: Sequence(*sequence),
            message_id: MessageId(*id),
        });
        Ok(Self {
            history: wire.history.ok_or(InvalidPart("no history"))?.into(),
            fold: Fold::decode(log.clone(), &wire.fold).map_err(|_| InvalidPart("fold"))?,
            known_positions: known.collect(),
            cells: wire.cells,
            bytes: wire.bytes,
        })
    }
}

impl Part {
    /// Decodes a part of the store of `log`; the inner error is the reason of a source that
    /// refuses.
    ///
    /// # Errors
    /// [`InvalidPart`].
    pub(super) fn decode(log: &LogName, bytes: &[u8]) -> Result<Result<Self, String>, InvalidPart> {
        let wire = wire::Part::decode(bytes).map_err(|_| InvalidPart("not protobuf"))?;
        if !wire.refused.is_empty() {
            return Ok(Err(wire.refused));
        }
        let row = |row: &wire::Row| {
            let id = CellId::from_stored(&row.name).map_err(|_| InvalidPart("cell"))?;
            let held = HeldCell::from_stored(&row.held).map_err(|_| InvalidPart("cell"))?;
            Ok((id, held))
        };
        let rows: Vec<_> = wire.rows.iter().map(row).collect::<Result<_, InvalidPart>>()?;
        if !rows.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err(InvalidPart("cells out of order"));
        }
        let head = wire.head.as_ref().map(|head| Head::from_wire(log, head));
        Ok(Ok(Self {
            head: head.transpose()?,
            rows,
            through: Anchor {
                sequence: Sequence(wire.through),
                message_id: MessageId(wire.through_id),
            },
            last: wire.last,
            reclaimed: Hlc::from_bits(wire.reclaimed),
        }))
    }
}

/// The answer of a source that gives no part.
pub(super) fn refused(reason: &str) -> Bytes {
    let wire = wire::Part {
        refused: reason.to_owned(),
        ..wire::Part::default()
    };
    wire.encode_to_vec().into()
}

impl From<History> for wire::History {
    fn from(history: History) -> Self {
        Self {
            run: history.run.0,
            rewinds: history.rewinds,
        }
    }
}

impl From<wire::History> for History {
    fn from(wire: wire::History) -> Self {
        Self {
            run: WriterId(wire.run),
            rewinds: wire.rewinds,
        }
    }
}
