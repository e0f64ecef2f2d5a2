//! What a member writes into its lease: JSON, so that an operator who looks into the bucket can
//! read it.

use std::collections::BTreeMap;

use bytes::Bytes;
use isthmus_replication::coordinates::{Sequence, Shard};
use serde::{Deserialize, Serialize};

/// What an agent announces in its member lease. Of a gateway's payload, the fields that both have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberPayload {
    /// The identifier of its run.
    pub run: String,
    /// The number of times that this run has acquired its lease.
    #[serde(default)]
    pub term: u64,
    /// Its clock less the log's, in microseconds; none before the first answer.
    #[serde(default)]
    pub clock_offset_us: Option<i64>,
    /// The address of an agent's door for applications.
    pub http: Option<String>,
    /// The address of its admin listener.
    pub admin: String,
    /// By shard (`group/partition`): the sequence through which an agent's checkpoint has the
    /// region's log.
    #[serde(default)]
    pub checkpointed: BTreeMap<String, u64>,
}

impl MemberPayload {
    /// Encodes it as JSON.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Decodes it; none if it is no member's payload.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }

    /// The sequence through which this agent has checkpointed `shard`; none if it announced
    /// nothing.
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
