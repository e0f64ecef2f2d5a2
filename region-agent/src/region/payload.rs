//! What an agent writes into its leases: JSON for its membership, text for stewardship, so that an operator who looks
//! into the bucket reads it.

use std::collections::BTreeMap;

use bytes::Bytes;
use isthmus_replication::coordinates::{Sequence, Shard, WriterId};
use isthmus_replication::lease::{Beat, Holder, Revision};
use isthmus_replication::names::ProcessName;
use serde::{Deserialize, Serialize};

/// What an agent says of itself in its member lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberPayload {
    /// This run of it.
    pub run: String,
    /// Its door for applications.
    pub http: String,
    /// Its administrative listener.
    pub admin: String,
    /// By shard (`group/partition`): through where a checkpoint holds the region's log.
    pub checkpointed: BTreeMap<String, u64>,
}

impl MemberPayload {
    /// As it is written.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads it; none when it is no agent's payload.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }

    /// Through where this agent has checkpointed `shard`; nothing when it did not say.
    #[must_use]
    pub fn checkpointed(&self, shard: &Shard) -> Sequence {
        Sequence(self.checkpointed.get(&shard.to_string()).copied().unwrap_or(0))
    }
}

pub(super) fn holder(holder: &Holder) -> Bytes {
    format!("{} {}", holder.process, holder.run).into()
}

pub(super) fn read_holder(payload: &[u8]) -> Option<Holder> {
    let (process, run) = std::str::from_utf8(payload).ok()?.split_once(' ')?;
    Some(Holder {
        process: ProcessName::parse(process).ok()?,
        run: WriterId(u64::from_str_radix(run, 16).ok()?),
    })
}

pub(super) fn beat(beat: &Beat) -> Bytes {
    format!("{} {} {}", beat.holder.process, beat.holder.run, beat.revision.0).into()
}

pub(super) fn read_beat(payload: &[u8]) -> Option<Beat> {
    let (holder, revision) = std::str::from_utf8(payload).ok()?.rsplit_once(' ')?;
    Some(Beat {
        holder: read_holder(holder.as_bytes())?,
        revision: Revision(revision.parse().ok()?),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_garbage_is_not() {
        let own = Holder {
            process: ProcessName::parse("agent-1").unwrap(),
            run: WriterId(0xfeed),
        };
        assert_eq!(read_holder(&holder(&own)), Some(own.clone()));
        let told = Beat {
            holder: own,
            revision: Revision(7),
        };
        assert_eq!(read_beat(&beat(&told)), Some(told));
        for garbage in [&b""[..], b"x", b"a b c", b"\xff 1 2", b"agent-1 zz 1"] {
            assert_eq!(read_beat(garbage), None);
            assert_eq!(MemberPayload::decode(garbage), None);
        }
    }
}
