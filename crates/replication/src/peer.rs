//! The messages between the agents and gateways of one region over its NATS (design.md section 7).
//!
//! Gateways report how far the other regions have this region's log ([`PeerCursors`]). Agents
//! report how far they have applied every region's log ([`AppliedPositions`]). Both messages carry
//! the whole state of one shard and are repeated while nothing changes, so that a lost message
//! costs only a moment and silence means that the sender is gone. No verdict depends on them.
//!
//! The subject is `isthmus.<set>.<region>.peer.` followed by [`PeerCursors::suffix`] or
//! [`AppliedPositions::suffix`].

use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use crate::coordinates::{AppliedThrough, Cursor, Position, Sequence, Shard, WriterId};
use crate::delay::{Delay, Stage};
use crate::limits;
use crate::names::{GroupName, ProcessName, RegionName};
use crate::time::Wall;

mod doubt;
mod wire;

pub use doubt::PeerDoubt;

/// A gateway sends [`PeerCursors`] at least this often, and immediately after a change.
pub const PEER_CURSORS_INTERVAL: Duration = Duration::from_millis(250);
/// A peer that no gateway has reported on for this long counts as unreachable.
pub const PEER_SILENCE: Duration = Duration::from_secs(2);
/// An agent sends [`AppliedPositions`] at most this often while positions move, and at least every
/// [`APPLIED_HEARTBEAT`].
pub const APPLIED_INTERVAL: Duration = Duration::from_millis(50);
/// An agent that is silent for three of these intervals is left out of the region's least applied
/// position.
pub const APPLIED_HEARTBEAT: Duration = Duration::from_secs(1);

/// Bytes that are not a message of a peer of this region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a peer message: {0}")]
pub struct InvalidPeerMessage(pub(crate) &'static str);

/// From the leading gateway to the agents: how far each peer region has this region's log of one
/// shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCursors {
    /// The shard.
    pub shard: Shard,
    /// The gateway.
    pub gateway: ProcessName,
    /// Every peer region that shares the shard, ordered by name.
    pub peers: Vec<PeerCursor>,
}

/// How far one peer region has this region's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCursor {
    /// The peer region.
    pub peer: RegionName,
    /// Whether the link to it is up and answers.
    pub connected: bool,
    /// Its log has this region's log through this cursor; none before its first answer.
    pub cursor: Option<Cursor>,
    /// All its live agents have applied this region's log through this position; none before their
    /// first report.
    pub applied: Option<AppliedThrough>,
    /// Its lane to this region can't bring what is missing here: only a sync can.
    pub stuck: bool,
}

/// From an agent to the gateways and the other agents: how far it has applied one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedPositions {
    /// The shard.
    pub shard: Shard,
    /// The agent.
    pub agent: ProcessName,
    /// The identifier of its current run.
    pub run: WriterId,
    /// It has applied its own region's log through this position; none before that log's first
    /// life.
    pub own: Option<AppliedThrough>,
    /// A checkpoint on its disk covers its own region's log through this sequence.
    pub checkpointed: Sequence,
    /// Whether changes are missing until a sync brings them: such an agent answers no reads.
    pub needs_sync: bool,
    /// Every other region's log, ordered by name.
    pub origins: Vec<OriginApplied>,
    /// The time until its own region's log is trimmed past what each other region has, at the
    /// present rate, ordered by name.
    pub runways: Vec<(RegionName, Duration)>,
}

/// How far an agent has applied another region's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginApplied {
    /// The region.
    pub origin: RegionName,
    /// It has applied that region's log through this position.
    pub applied: AppliedThrough,
    /// When that region's log stored its newest own record among the applied ones, by its own
    /// clock.
    pub appended: Wall,
    /// The delay of the newest record that the agent applied; none before the first.
    pub delay: Option<Delay>,
}

impl PeerCursors {
    /// `cursors.<group>.<partition>`.
    #[must_use]
    pub fn suffix(shard: &Shard) -> String {
        format!("cursors.{}.{}", shard.group, shard.partition)
    }

    /// Encodes the message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let wire = wire::PeerCursors {
            group: self.shard.group.as_str().to_owned(),
            partition: u32::from(self.shard.partition),
            gateway: self.gateway.as_str().to_owned(),
            peers: self.peers.iter().map(peer_to_wire).collect(),
        };
        wire.encode_to_vec().into()
    }

    /// Decodes and checks a message.
    ///
    /// # Errors
    /// [`InvalidPeerMessage`].
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidPeerMessage> {
        let wire = wire::PeerCursors::decode(bytes).map_err(|_| InvalidPeerMessage("not protobuf"))?;
        if wire.peers.len() > limits::REGIONS {
            return Err(InvalidPeerMessage("too many regions"));
        }
        Ok(Self {
            shard: shard(&wire.group, wire.partition)?,
            gateway: process(&wire.gateway)?,
            peers: wire
                .peers
                .into_iter()
                .map(peer_from_wire)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl AppliedPositions {
    /// `applied.<group>.<partition>`.
    #[must_use]
    pub fn suffix(shard: &Shard) -> String {
        format!("applied.{}.{}", shard.group, shard.partition)
    }

    /// Encodes the message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let origins = self.origins.iter().map(|origin| wire::OriginApplied {
            origin: origin.origin.as_str().to_owned(),
            applied: Some(origin.applied.0.into()),
            appended: origin.appended.micros(),
            delay: origin.delay.as_ref().map(delay_to_wire),
        });
        let wire = wire::AppliedPositions {
            group: self.shard.group.as_str().to_owned(),
            partition: u32::from(self.shard.partition),
            agent: self.agent.as_str().to_owned(),
            run: self.run.0,
            own: self.own.map(|own| own.0.into()),
            checkpointed: self.checkpointed.0,
            needs_sync: self.needs_sync,
            origins: origins.collect(),
            runways: self.runways.iter().map(runway_to_wire).collect(),
        };
        wire.encode_to_vec().into()
    }

    /// Decodes and checks a message.
    ///
    /// # Errors
    /// [`InvalidPeerMessage`].
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidPeerMessage> {
        let wire = wire::AppliedPositions::decode(bytes).map_err(|_| InvalidPeerMessage("not protobuf"))?;
        if wire.origins.len().max(wire.runways.len()) > limits::REGIONS {
            return Err(InvalidPeerMessage("too many regions"));
        }
        let origin = |wire: wire::OriginApplied| {
            let applied = wire.applied.ok_or(InvalidPeerMessage("no position"))?;
            Ok(OriginApplied {
                origin: region(&wire.origin)?,
                applied: AppliedThrough(position(applied)?),
                appended: Wall::from_micros(wire.appended),
                delay: wire.delay.map(delay_from_wire).transpose()?,
            })
        };
        Ok(Self {
            shard: shard(&wire.group, wire.partition)?,
            agent: process(&wire.agent)?,
            run: WriterId(wire.run),
            own: wire.own.map(position).transpose()?.map(AppliedThrough),
            checkpointed: Sequence(wire.checkpointed),
            needs_sync: wire.needs_sync,
            origins: wire
                .origins
                .into_iter()
                .map(origin)
                .collect::<Result<_, InvalidPeerMessage>>()?,
            runways: wire
                .runways
                .into_iter()
                .map(|wire| Ok((region(&wire.peer)?, Duration::from_millis(wire.millis))))
                .collect::<Result<_, InvalidPeerMessage>>()?,
        })
    }
}

fn peer_to_wire(peer: &PeerCursor) -> wire::PeerCursor {
    wire::PeerCursor {
        peer: peer.peer.as_str().to_owned(),
        connected: peer.connected,
        cursor: peer.cursor.map(Into::into),
        applied: peer.applied.map(|applied| applied.0.into()),
        stuck: peer.stuck,
    }
}

fn peer_from_wire(wire: wire::PeerCursor) -> Result<PeerCursor, InvalidPeerMessage> {
    let cursor = wire.cursor.map(Cursor::try_from).transpose();
    Ok(PeerCursor {
        peer: region(&wire.peer)?,
        connected: wire.connected,
        cursor: cursor.map_err(|_| InvalidPeerMessage("cursor"))?,
        applied: wire.applied.map(position).transpose()?.map(AppliedThrough),
        stuck: wire.stuck,
    })
}

fn runway_to_wire((peer, runway): &(RegionName, Duration)) -> wire::Runway {
    wire::Runway {
        peer: peer.as_str().to_owned(),
        millis: u64::try_from(runway.as_millis()).unwrap_or(u64::MAX),
    }
}

fn delay_to_wire(delay: &Delay) -> wire::Delay {
    let stages = delay.stages().map(|(stage, took)| wire::StageTook {
        stage: stage as u32,
        micros: micros(took),
    });
    wire::Delay {
        stages: stages.collect(),
        uncertainty: delay.uncertainty.map(micros),
    }
}

fn delay_from_wire(wire: wire::Delay) -> Result<Delay, InvalidPeerMessage> {
    let stage = |sent: wire::StageTook| {
        let stage = Stage::ALL.get(sent.stage as usize);
        Some((*stage?, Duration::from_micros(sent.micros)))
    };
    let stages: Option<Vec<_>> = wire.stages.into_iter().map(stage).collect();
    Ok(Delay::of_stages(
        stages.ok_or(InvalidPeerMessage("stage"))?,
        wire.uncertainty.map(Duration::from_micros),
    ))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn shard(group: &str, partition: u32) -> Result<Shard, InvalidPeerMessage> {
    let group = GroupName::parse(group).map_err(|_| InvalidPeerMessage("group"))?;
    let partition = u16::try_from(partition).ok().filter(|p| *p < limits::PARTITIONS);
    Ok(Shard {
        group,
        partition: partition.ok_or(InvalidPeerMessage("partition"))?,
    })
}

fn process(name: &str) -> Result<ProcessName, InvalidPeerMessage> {
    ProcessName::parse(name).map_err(|_| InvalidPeerMessage("process"))
}

fn region(name: &str) -> Result<RegionName, InvalidPeerMessage> {
    RegionName::parse(name).map_err(|_| InvalidPeerMessage("region"))
}

fn position(wire: wire::Position) -> Result<Position, InvalidPeerMessage> {
    Ok(Position {
        life: wire
            .life
            .ok_or(InvalidPeerMessage("position without life"))?
            .into(),
        sequence: Sequence(wire.sequence),
    })
}

impl From<Position> for wire::Position {
    fn from(position: Position) -> Self {
        Self {
            life: Some(position.life.into()),
            sequence: position.sequence.0,
        }
    }
}

#[cfg(test)]
mod tests;
