//! A peer region's doubt about this region's log, as the leading gateway forwards it.

use bytes::Bytes;
use prost::Message;

use super::{InvalidPeerMessage, process, region, shard, wire};
use crate::coordinates::{Cursor, Shard};
use crate::header::Lineage;
use crate::limits;
use crate::names::{ProcessName, RegionName};

/// From the leading gateway to the agents: a peer region's cursor names a message that this
/// region's log does not have there. The agents check this themselves and begin the log's next
/// life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerDoubt {
    /// The shard.
    pub shard: Shard,
    /// The gateway.
    pub gateway: ProcessName,
    /// The peer region.
    pub peer: RegionName,
    /// The peer's cursor in this region's log.
    pub cursor: Cursor,
    /// Earlier cursors of the peer in this log, newest first ([`crate::link::landmarks`]).
    pub landmarks: Vec<Cursor>,
    /// The lives of the log, as known to the peer.
    pub lineage: Lineage,
}

impl PeerDoubt {
    /// `doubts.<group>.<partition>`.
    #[must_use]
    pub fn suffix(shard: &Shard) -> String {
        format!("doubts.{}.{}", shard.group, shard.partition)
    }

    /// Encodes the message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let wire = wire::PeerDoubt {
            group: self.shard.group.as_str().to_owned(),
            partition: u32::from(self.shard.partition),
            gateway: self.gateway.as_str().to_owned(),
            peer: self.peer.as_str().to_owned(),
            cursor: Some(self.cursor.into()),
            landmarks: self.landmarks.iter().copied().map(Into::into).collect(),
            lineage: self.lineage.to_wire(),
        };
        wire.encode_to_vec().into()
    }

    /// Decodes and checks a message.
    ///
    /// # Errors
    /// [`InvalidPeerMessage`].
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidPeerMessage> {
        let wire = wire::PeerDoubt::decode(bytes).map_err(|_| InvalidPeerMessage("not protobuf"))?;
        if wire.landmarks.len() > limits::LANDMARKS {
            return Err(InvalidPeerMessage("too many landmarks"));
        }
        let cursor =
            |cursor: crate::wire::Cursor| Cursor::try_from(cursor).map_err(|_| InvalidPeerMessage("cursor"));
        let lineage = Lineage::from_wire_or_none(&wire.lineage);
        Ok(Self {
            lineage: lineage.map_err(|_| InvalidPeerMessage("lineage"))?,
            shard: shard(&wire.group, wire.partition)?,
            gateway: process(&wire.gateway)?,
            peer: region(&wire.peer)?,
            cursor: cursor(wire.cursor.ok_or(InvalidPeerMessage("no cursor"))?)?,
            landmarks: wire.landmarks.into_iter().map(cursor).collect::<Result<_, _>>()?,
        })
    }
}
