//! The kinds of log record, and what each one carries in its header. Kinds are persisted: never
//! reuse a number.

use super::{
    Anchor, HeaderError, Hlc, Life, LifeLink, Membership, MessageId, Range, Sequence, SyncRecord, SyncStep,
    WriterId,
};
use crate::{limits, wire};

/// The number of a kind on the wire. A reader that does not know a number stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Kind {
    /// Writes of this region.
    Batch = 1,
    /// A range of another region's log.
    Range = 2,
    /// The record that the steward appends once a second.
    Mark = 3,
    /// A record that a process appends before it serves or leads.
    Barrier = 4,
    /// A new life of this log.
    Life = 5,
    /// Members, fences, groups, clock limits.
    Membership = 6,
    /// What another region's store has and this one lacks.
    Sync = 7,
    /// Writes of this region that were given back after a lost tail.
    Restored = 8,
    /// A range that could not be decoded: its changes are missing here.
    Gap = 9,
}

/// The type of a message, with what the fold needs to know about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// [`Kind::Batch`], under the region's own token.
    Batch(Local),
    /// [`Kind::Range`], under its origin's token.
    Range(Range),
    /// [`Kind::Mark`], under `_agent`.
    Mark(MarkRecord),
    /// [`Kind::Barrier`], under `_agent`.
    Barrier(Barrier),
    /// [`Kind::Life`], under `_agent`.
    Life(LifeRecord),
    /// [`Kind::Membership`], under `_agent`.
    Membership {
        /// This message.
        message_id: MessageId,
        /// The record.
        membership: Membership,
    },
    /// [`Kind::Sync`], under `_agent`.
    Sync(SyncRecord),
    /// [`Kind::Restored`], under `_agent`.
    Restored {
        /// Writer and stamps, as in a batch.
        local: Local,
        /// Whether this agent has given back everything that it held.
        ended: bool,
    },
    /// [`Kind::Gap`], under `_gateway`.
    Gap(Range),
}

/// Writes of this region by one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    /// This message. A retry carries the same identifier.
    pub message_id: MessageId,
    /// The process.
    pub writer: WriterId,
    /// The lowest stamp within.
    pub lowest_stamp: Hlc,
    /// The highest stamp within.
    pub highest_stamp: Hlc,
}

/// The header of a mark. The digest and the fold state are in its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkRecord {
    /// This message.
    pub message_id: MessageId,
    /// The life that the steward reads.
    pub life: Life,
    /// The steward's process.
    pub writer: WriterId,
    /// Its stamp.
    pub hlc: Hlc,
    /// The position that its body describes.
    pub described: Anchor,
    /// The runs of the region's live agents, as the steward knows them; at most
    /// [`limits::MARK_AGENTS`].
    pub agents: Vec<WriterId>,
}

/// A record that a process appends and reads back before it serves or leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// This message.
    pub message_id: MessageId,
    /// The process.
    pub writer: WriterId,
    /// Its stamp.
    pub hlc: Hlc,
}

/// The start of a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LifeRecord {
    /// This message.
    pub message_id: MessageId,
    /// The new life, its parent and the last sequence that both share.
    pub link: LifeLink,
    /// Other regions know lives of this log that it has no record of: it was recreated, and what it
    /// held before is missing here.
    pub lost_before: bool,
}

impl Record {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Batch(_) => Kind::Batch,
            Self::Range(_) => Kind::Range,
            Self::Mark(_) => Kind::Mark,
            Self::Barrier(_) => Kind::Barrier,
            Self::Life(_) => Kind::Life,
            Self::Membership { .. } => Kind::Membership,
            Self::Sync(_) => Kind::Sync,
            Self::Restored { .. } => Kind::Restored,
            Self::Gap(_) => Kind::Gap,
        }
    }

    pub(super) fn message_id(&self) -> MessageId {
        match self {
            Self::Batch(local) | Self::Restored { local, .. } => local.message_id,
            Self::Range(range) | Self::Gap(range) => range.through.message_id,
            Self::Mark(mark) => mark.message_id,
            Self::Barrier(barrier) => barrier.message_id,
            Self::Life(life) => life.message_id,
            Self::Membership { message_id, .. } => *message_id,
            Self::Sync(sync) => sync.message_id,
        }
    }

    pub(super) fn write(&self, wire: &mut wire::Header) {
        wire.kind = self.kind() as u32;
        wire.message_id = self.message_id().0;
        match self {
            Self::Batch(local) => write_local(local, wire),
            Self::Restored { local, ended } => {
                write_local(local, wire);
                wire.ended = *ended;
            }
            Self::Range(range) | Self::Gap(range) => range.write(wire),
            Self::Mark(mark) => {
                wire.life = Some(mark.life.into());
                wire.writer = mark.writer.0;
                wire.lowest_stamp = mark.hlc.bits();
                wire.highest_stamp = mark.hlc.bits();
                wire.described = mark.described.sequence.0;
                wire.described_id = mark.described.message_id.0;
                wire.agents = mark.agents.iter().map(|agent| agent.0).collect();
            }
            Self::Barrier(barrier) => {
                wire.writer = barrier.writer.0;
                wire.lowest_stamp = barrier.hlc.bits();
                wire.highest_stamp = barrier.hlc.bits();
            }
            Self::Life(life) => {
                wire.life = Some(life.link.life.into());
                wire.lineage = vec![life.link.to_wire()];
                wire.lost_before = life.lost_before;
            }
            Self::Membership { membership, .. } => wire.membership = Some(membership.to_wire()),
            Self::Sync(sync) => {
                wire.life = Some(sync.life.into());
                wire.sync = Some(sync.to_wire());
                if let SyncStep::Begin { writer, hlc, .. } = sync.step {
                    wire.writer = writer.0;
                    wire.lowest_stamp = hlc.bits();
                    wire.highest_stamp = hlc.bits();
                }
            }
        }
    }

    pub(super) fn read(wire: &wire::Header) -> Result<Self, HeaderError> {
        let message_id = MessageId(wire.message_id);
        Ok(match wire.kind {
            1 => Self::Batch(read_local(wire)?),
            2 => Self::Range(Range::read(wire)?),
            3 => Self::Mark(MarkRecord {
                message_id,
                life: wire
                    .life
                    .ok_or(HeaderError::Malformed("mark without life"))?
                    .into(),
                writer: WriterId(wire.writer),
                hlc: Hlc::from_bits(wire.highest_stamp),
                described: Anchor {
                    sequence: Sequence(wire.described),
                    message_id: MessageId(wire.described_id),
                },
                agents: read_agents(&wire.agents)?,
            }),
            4 => Self::Barrier(Barrier {
                message_id,
                writer: WriterId(wire.writer),
                hlc: Hlc::from_bits(wire.highest_stamp),
            }),
            5 => {
                let [link] = wire.lineage.as_slice() else {
                    return Err(HeaderError::Malformed("life record without one life"));
                };
                Self::Life(LifeRecord {
                    message_id,
                    link: LifeLink::from_wire(link)?,
                    lost_before: wire.lost_before,
                })
            }
            6 => {
                let membership = wire
                    .membership
                    .as_ref()
                    .ok_or(HeaderError::Malformed("no membership"))?;
                Self::Membership {
                    message_id,
                    membership: Membership::from_wire(membership)?,
                }
            }
            7 => Self::Sync(SyncRecord::read(wire)?),
            8 => Self::Restored {
                local: read_local(wire)?,
                ended: wire.ended,
            },
            9 => Self::Gap(Range::read(wire)?),
            number => return Err(HeaderError::Unknown { what: "kind", number }),
        })
    }
}

fn read_agents(wire: &[u64]) -> Result<Vec<WriterId>, HeaderError> {
    if wire.len() > limits::MARK_AGENTS {
        return Err(HeaderError::Malformed("too many agents"));
    }
    Ok(wire.iter().copied().map(WriterId).collect())
}

fn write_local(local: &Local, wire: &mut wire::Header) {
    wire.writer = local.writer.0;
    wire.lowest_stamp = local.lowest_stamp.bits();
    wire.highest_stamp = local.highest_stamp.bits();
}

fn read_local(wire: &wire::Header) -> Result<Local, HeaderError> {
    if wire.lowest_stamp > wire.highest_stamp {
        return Err(HeaderError::Malformed("lowest stamp above highest"));
    }
    Ok(Local {
        message_id: MessageId(wire.message_id),
        writer: WriterId(wire.writer),
        lowest_stamp: Hlc::from_bits(wire.lowest_stamp),
        highest_stamp: Hlc::from_bits(wire.highest_stamp),
    })
}
