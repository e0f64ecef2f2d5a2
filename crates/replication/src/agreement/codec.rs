//! Samples as bytes, between processes of a region and in the answer of the call.

use bytes::Bytes;
use prost::Message;

use super::{Included, PARTS, STRETCHES, Sample, wire};
use crate::cell::Digest;
use crate::coordinates::{Position, Sequence, Shard, WriterId};
use crate::limits;
use crate::names::{GroupName, ProcessName, RegionName};
use crate::time::Wall;

/// Bytes per digest.
const DIGEST: usize = 16;

/// The bytes are not a sample, or not a question for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a sample of digests: {0}")]
pub struct InvalidSample(&'static str);

/// The body of the call that asks for the newest sample of a shard.
#[must_use]
pub fn question(shard: &Shard) -> Bytes {
    let wire = wire::Question {
        group: shard.group.as_str().to_owned(),
        partition: shard.partition.into(),
    };
    wire.encode_to_vec().into()
}

/// The shard that the body of a call asks for.
///
/// # Errors
/// [`InvalidSample`] if the body is not a valid question.
pub fn asked(body: &[u8]) -> Result<Shard, InvalidSample> {
    let wire = wire::Question::decode(body).map_err(|_| InvalidSample("not protobuf"))?;
    shard(&wire.group, wire.partition)
}

impl Sample {
    /// `digests.<group>.<partition>`: the subject suffix under which agents publish samples to the
    /// gateways of their region.
    #[must_use]
    pub fn suffix(shard: &Shard) -> String {
        format!("digests.{}.{}", shard.group, shard.partition)
    }

    /// Encodes the sample.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let digests = self.digests.iter().flat_map(|part| part.0.to_le_bytes());
        let wire = wire::Sample {
            group: self.shard.group.as_str().to_owned(),
            partition: self.shard.partition.into(),
            agent: self.agent.as_str().to_owned(),
            run: self.run.0,
            looks: self.looks.iter().map(included_to_wire).collect(),
            since: self.since.clone().into(),
            digests: digests.collect(),
            values_after_ms: self.values_after.millis(),
        };
        wire.encode_to_vec().into()
    }

    /// Decodes and checks a sample.
    ///
    /// # Errors
    /// [`InvalidSample`] if the bytes are not a valid sample.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidSample> {
        let wire = wire::Sample::decode(bytes).map_err(|_| InvalidSample("not protobuf"))?;
        if wire.looks.is_empty() || wire.looks.len() > STRETCHES {
            return Err(InvalidSample("looks"));
        }
        let known = |since: &u8| usize::from(*since) < wire.looks.len();
        if wire.since.len() != PARTS || !wire.since.iter().all(known) {
            return Err(InvalidSample("since"));
        }
        if wire.digests.len() != PARTS * DIGEST {
            return Err(InvalidSample("digests"));
        }
        let mut digests = Box::new([Digest::default(); PARTS]);
        for (part, bytes) in digests.iter_mut().zip(wire.digests.chunks_exact(DIGEST)) {
            let bytes = bytes.try_into().map_err(|_| InvalidSample("digests"))?;
            *part = Digest(u128::from_le_bytes(bytes));
        }
        let looks = wire.looks.iter().map(included_from_wire);
        Ok(Self {
            shard: shard(&wire.group, wire.partition)?,
            agent: ProcessName::parse(&wire.agent).map_err(|_| InvalidSample("agent"))?,
            run: WriterId(wire.run),
            looks: looks.collect::<Result<_, _>>()?,
            since: wire.since.to_vec(),
            digests,
            values_after: Wall::from_millis(wire.values_after_ms),
        })
    }
}

fn included_to_wire(included: &Included) -> wire::Included {
    let regions = included.0.iter().map(|(region, at)| wire::At {
        region: region.as_str().to_owned(),
        life: Some(at.life.into()),
        sequence: at.sequence.0,
    });
    wire::Included {
        regions: regions.collect(),
    }
}

fn included_from_wire(wire: &wire::Included) -> Result<Included, InvalidSample> {
    if wire.regions.len() > limits::REGIONS {
        return Err(InvalidSample("too many regions"));
    }
    let regions = wire.regions.iter().map(|at| {
        let region = RegionName::parse(&at.region).map_err(|_| InvalidSample("region"))?;
        let life = at.life.ok_or(InvalidSample("position without life"))?.into();
        let sequence = Sequence(at.sequence);
        Ok((region, Position { life, sequence }))
    });
    regions.collect::<Result<_, _>>().map(Included)
}

fn shard(group: &str, partition: u32) -> Result<Shard, InvalidSample> {
    let group = GroupName::parse(group).map_err(|_| InvalidSample("group"))?;
    let partition = u16::try_from(partition).ok().filter(|p| *p < limits::PARTITIONS);
    let partition = partition.ok_or(InvalidSample("partition"))?;
    Ok(Shard { group, partition })
}
