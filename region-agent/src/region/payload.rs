//! What a member writes into its lease: JSON, so that an operator who looks into the bucket reads it.

use std::collections::BTreeMap;

use bytes::Bytes;
use isthmus_replication::coordinates::{Sequence, Shard};
use serde::{Deserialize, Serialize};

/// What an agent says of itself in its member lease; of what a gateway says, the part that both say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberPayload {
    /// This run of it.
    pub run: String,
    /// Which time it is that this run holds its lease.
    #[serde(default)]
    pub term: u64,
    /// Its clock less the log's, in microseconds; none before the first answer.
    #[serde(default)]
    pub clock_offset_us: Option<i64>,
    /// An agent's door for applications.
    pub http: Option<String>,
    /// Its administrative listener.
    pub admin: String,
    /// By shard (`group/partition`): through where an agent's checkpoint holds the region's log.
    #[serde(default)]
    pub checkpointed: BTreeMap<String, u64>,
}

impl MemberPayload {
    /// As it is written.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads it; none when it is no member's payload.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_garbage_is_not() {
        let payload = MemberPayload {
            run: "feed".to_owned(),
            term: 2,
            clock_offset_us: Some(-1500),
            http: Some("127.0.0.1:1".to_owned()),
            admin: "127.0.0.1:2".to_owned(),
            checkpointed: [("default/0".to_owned(), 7)].into(),
        };
        assert_eq!(MemberPayload::decode(&payload.encode()), Some(payload));
        for garbage in [&b""[..], b"x", b"{}", b"\xff 1 2"] {
            assert_eq!(MemberPayload::decode(garbage), None);
        }
    }
}
