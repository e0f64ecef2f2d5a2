//! Encoding of a log message in NATS: the header as base64 in one NATS header, the body as payload
//! (docs/protocol.md).

use async_nats::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use isthmus_replication::coordinates::Sequence;
use isthmus_replication::header::{Header, HeaderError};
use isthmus_replication::time::Wall;

use super::request::wall_of_nanos;
use crate::StoredMessage;
use crate::names::token;

/// The NATS header that contains a message's header. Persisted.
const HEADER: &str = "Isthmus-Header";

pub(super) fn headers(header: &Header) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HEADER, STANDARD_NO_PAD.encode(header.encode()));
    headers
}

/// The bytes that count against max_payload, precise enough to reject a message before it is sent.
pub(super) fn wire_bytes(headers: &HeaderMap, body: &Bytes) -> usize {
    const FRAMING: usize = 16;
    let lines: usize = headers
        .iter()
        .map(|(name, values)| {
            values
                .iter()
                .map(|value| name.to_string().len() + value.as_str().len() + 4)
                .sum::<usize>()
        })
        .sum();
    lines + FRAMING + body.len()
}

fn header(headers: Option<&HeaderMap>) -> Result<Header, HeaderError> {
    let text = headers
        .and_then(|headers| headers.get(HEADER))
        .ok_or(HeaderError::Malformed("none"))?;
    let bytes = STANDARD_NO_PAD
        .decode(text.as_str())
        .map_err(|_| HeaderError::Malformed("not base64"))?;
    Header::decode(&bytes)
}

/// A message delivered by a consumer; `None` if it does not state its position.
pub(super) fn delivered(message: async_nats::jetstream::Message) -> Option<StoredMessage> {
    let (sequence, timestamp) = {
        let info = message.info().ok()?;
        (
            info.stream_sequence,
            wall_of_nanos(info.published.unix_timestamp_nanos()),
        )
    };
    let message = message.message;
    Some(stored(
        sequence,
        timestamp,
        &message.subject,
        message.headers.as_ref(),
        message.payload,
    ))
}

/// A single message that a stream returned.
pub(super) fn answered(message: async_nats::jetstream::message::StreamMessage) -> StoredMessage {
    let timestamp = wall_of_nanos(message.time.unix_timestamp_nanos());
    stored(
        message.sequence,
        timestamp,
        &message.subject,
        Some(&message.headers),
        message.payload,
    )
}

fn stored(
    sequence: u64,
    timestamp: Wall,
    subject: &str,
    headers: Option<&HeaderMap>,
    body: Bytes,
) -> StoredMessage {
    StoredMessage {
        sequence: Sequence(sequence),
        timestamp,
        token: token(subject),
        header: header(headers),
        body,
    }
}
