//! The fold state as it is stored in checkpoints and marks.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;

use super::{
    Anchor, Fold, Hlc, Lineage, LogName, MessageId, Origin, Recent, RegionName, Restoring, Sequence, Syncing,
    Wall, WriterId,
};
use crate::cell::Digest;
use crate::header::{HeaderError, Membership};
use crate::{limits, wire};

/// The bytes are not a fold state or the body of a mark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a fold state: {0}")]
pub struct InvalidState(&'static str);

impl From<HeaderError> for InvalidState {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Malformed(what) => Self(what),
            HeaderError::Unknown { .. } => Self("unknown kind"),
        }
    }
}

const ID_BYTES: usize = 16;

impl Fold {
    /// Encodes the state.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.to_wire().encode_to_vec().into()
    }

    /// Decodes the fold state of `log`.
    ///
    /// # Errors
    /// [`InvalidState`] if the bytes are not a valid fold state.
    pub fn decode(log: LogName, bytes: &[u8]) -> Result<Self, InvalidState> {
        let wire = wire::FoldState::decode(bytes).map_err(|_| InvalidState("not protobuf"))?;
        Self::from_wire(log, wire)
    }

    fn to_wire(&self) -> wire::FoldState {
        let mut recent = Vec::with_capacity(self.recent.ids().len() * ID_BYTES);
        for (stamp, id) in self.recent.ids() {
            recent.extend_from_slice(&stamp.bits().to_le_bytes());
            recent.extend_from_slice(&id.0.to_le_bytes());
        }
        let (mark_described, mark_stamp) = self.last_mark.unwrap_or_default();
        wire::FoldState {
            sequence: self.at.sequence.0,
            message_id: self.at.message_id.0,
            lineage: self.lineage.to_wire(),
            highest_stamp: self.highest_stamp.bits(),
            admission_floor: self.recent.forgotten().bits(),
            membership: self.membership.as_ref().map(Membership::to_wire),
            mark_described: mark_described.0,
            mark_stamp: mark_stamp.bits(),
            origins: self
                .origins
                .iter()
                .map(|(region, origin)| origin_to_wire(region, origin))
                .collect(),
            recent: recent.into(),
            own_appended: self.own_appended.micros(),
            lost_before: self.lost_before,
            collected: (self.collected != Hlc::ZERO).then(|| wire::Collected {
                floor: self.collected.bits(),
            }),
            agents: ids(&self.agents),
            restoring: self.restoring.as_ref().map(|restoring| wire::Restoring {
                floor: restoring.floor.bits(),
                agents: ids(&restoring.agents),
                until: restoring.until.micros(),
            }),
            syncing: self.syncing.as_ref().map(|syncing| wire::Syncing {
                begun: syncing.begun.0,
                source: syncing.source.as_str().to_owned(),
                records: syncing.records,
                heals: syncing
                    .heals
                    .iter()
                    .map(|region| region.as_str().to_owned())
                    .collect(),
            }),
        }
    }

    fn from_wire(log: LogName, wire: wire::FoldState) -> Result<Self, InvalidState> {
        let origins = wire
            .origins
            .iter()
            .map(origin_from_wire)
            .collect::<Result<_, _>>()?;
        let mark = (Sequence(wire.mark_described), Hlc::from_bits(wire.mark_stamp));
        let recent = Recent::restore(read_ids(&wire.recent)?, Hlc::from_bits(wire.admission_floor));
        Ok(Self {
            log,
            at: Anchor {
                sequence: Sequence(wire.sequence),
                message_id: MessageId(wire.message_id),
            },
            lineage: Lineage::from_wire_or_none(&wire.lineage)?,
            highest_stamp: Hlc::from_bits(wire.highest_stamp),
            own_appended: Wall::from_micros(wire.own_appended),
            membership: wire.membership.as_ref().map(Membership::from_wire).transpose()?,
            last_mark: (mark != Default::default()).then_some(mark),
            recent,
            origins,
            lost_before: wire.lost_before,
            collected: wire
                .collected
                .map_or(Hlc::ZERO, |held| Hlc::from_bits(held.floor)),
            agents: read_agents(&wire.agents)?,
            restoring: wire.restoring.as_ref().map(restoring_from_wire).transpose()?,
            syncing: wire
                .syncing
                .as_ref()
                .map(syncing_from_wire)
                .transpose()?
                .map(Box::new),
        })
    }
}

fn ids(agents: &[WriterId]) -> Vec<u64> {
    agents.iter().map(|agent| agent.0).collect()
}

fn read_agents(wire: &[u64]) -> Result<Vec<WriterId>, InvalidState> {
    if wire.len() > limits::MARK_AGENTS {
        return Err(InvalidState("too many agents"));
    }
    Ok(wire.iter().copied().map(WriterId).collect())
}

fn restoring_from_wire(wire: &wire::Restoring) -> Result<Restoring, InvalidState> {
    Ok(Restoring {
        floor: Hlc::from_bits(wire.floor),
        agents: read_agents(&wire.agents)?,
        until: Wall::from_micros(wire.until),
    })
}

fn syncing_from_wire(wire: &wire::Syncing) -> Result<Syncing, InvalidState> {
    if wire.heals.len() > limits::REGIONS {
        return Err(InvalidState("too many regions"));
    }
    let heals = wire.heals.iter().map(|name| crate::header::region(name));
    Ok(Syncing {
        begun: MessageId(wire.begun),
        source: crate::header::region(&wire.source)?,
        records: wire.records,
        heals: heals.collect::<Result<_, _>>()?,
    })
}

fn read_ids(bytes: &[u8]) -> Result<BTreeSet<(Hlc, MessageId)>, InvalidState> {
    let (pairs, rest) = bytes.as_chunks::<ID_BYTES>();
    if !rest.is_empty() || pairs.len() > limits::RECENT_IDS {
        return Err(InvalidState("recent identifiers"));
    }
    let half = |pair: &[u8; ID_BYTES], at: usize| u64::from_le_bytes(std::array::from_fn(|i| pair[at + i]));
    Ok(pairs
        .iter()
        .map(|pair| (Hlc::from_bits(half(pair, 0)), MessageId(half(pair, 8))))
        .collect())
}

fn origin_to_wire(region: &RegionName, origin: &Origin) -> wire::OriginState {
    wire::OriginState {
        region: region.as_str().to_owned(),
        cursor: Some(origin.cursor.into()),
        lineage: origin.lineage.to_wire(),
        highest_stamp: origin.highest_stamp.bits(),
        appended: origin.appended.micros(),
        floor: origin.admission_floor.bits(),
        needs_sync: origin.needs_sync(),
        whole: origin.whole.filter(|_| origin.needs_sync()).map(Into::into),
    }
}

fn origin_from_wire(wire: &wire::OriginState) -> Result<(RegionName, Origin), InvalidState> {
    let cursor = wire
        .cursor
        .ok_or(InvalidState("origin without cursor"))?
        .try_into()?;
    let whole = match (wire.needs_sync, wire.whole) {
        (true, whole) => whole.map(TryInto::try_into).transpose()?,
        (false, None) => Some(cursor),
        (false, Some(_)) => return Err(InvalidState("origin without a gap")),
    };
    if wire.needs_sync && whole == Some(cursor) {
        return Err(InvalidState("gap beyond the cursor"));
    }
    let origin = Origin {
        cursor,
        lineage: Lineage::from_wire(&wire.lineage)?,
        highest_stamp: Hlc::from_bits(wire.highest_stamp),
        appended: Wall::from_micros(wire.appended),
        admission_floor: Hlc::from_bits(wire.floor),
        whole,
    };
    Ok((crate::header::region(&wire.region)?, origin))
}

/// The body of a mark: the steward's store and fold at the described position.
#[derive(Debug, Clone, PartialEq)]
pub struct MarkBody {
    /// The steward's wall time when it built the mark.
    pub wall: Wall,
    /// The fold through the described position.
    pub fold: Fold,
    /// The digest of the shard's cells at the described position.
    pub digest: Digest,
    /// The number of cells at the described position, tombstones included.
    pub cells: u64,
}

impl MarkBody {
    /// Encodes the body.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let wire = wire::Mark {
            wall: self.wall.micros(),
            fold: Some(self.fold.to_wire()),
            digest: Bytes::copy_from_slice(&self.digest.0.to_le_bytes()),
            cells: self.cells,
        };
        wire.encode_to_vec().into()
    }

    /// Decodes the body of a mark of `log`.
    ///
    /// # Errors
    /// [`InvalidState`] if the bytes are not the valid body of a mark.
    pub fn decode(log: LogName, bytes: &[u8]) -> Result<Self, InvalidState> {
        let wire = wire::Mark::decode(bytes).map_err(|_| InvalidState("not protobuf"))?;
        let digest: [u8; 16] = wire
            .digest
            .as_ref()
            .try_into()
            .map_err(|_| InvalidState("digest"))?;
        Ok(Self {
            wall: Wall::from_micros(wire.wall),
            fold: Fold::from_wire(log, wire.fold.ok_or(InvalidState("no fold"))?)?,
            digest: Digest(u128::from_le_bytes(digest)),
            cells: wire.cells,
        })
    }
}
